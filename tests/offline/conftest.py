"""Data for learners."""

import pytest

from offline_actrep.core.log import Log
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import fit


@pytest.fixture(scope="session")
def points(maze_log: Log) -> Relabelled:
    """The tiny maze log with random points of 2 coordinates."""
    return relabel(maze_log, fit("random_table", maze_log, seed=0, dim=2))
