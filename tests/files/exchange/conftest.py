"""What tests of importers share: where real files lie, and what every imported log keeps."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log

State = Callable[[Log, int], dict[str, float]]


@pytest.fixture
def real_data() -> Path:
    """The folder of real files that the environment names."""
    named = os.environ.get("OFFLINE_ACTREP_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip("OFFLINE_ACTREP_DATA names no folder with the real files")
    return Path(named)


@pytest.fixture
def state() -> State:
    """The columns of a row's observation that are not zero."""

    def columns(log: Log, row: int) -> dict[str, float]:
        pairs = zip(log.observation_names, log.observations[row], strict=True)
        return {name: float(value) for name, value in pairs if value}

    return columns


@pytest.fixture
def keeps_the_rules() -> Callable[[Log], None]:
    """What holds of every imported log, beyond what `Log` itself checks."""

    def check(log: Log) -> None:
        inner = np.flatnonzero(log.has_next)
        assert np.array_equal(log.next_observations[inner], log.observations[inner + 1])
        assert not (log.has_next & log.terminated).any()
        assert len(np.unique(log.episode_ids)) == log.n_episodes
        assert len(set(log.observation_names)) == log.observation_size
        features = log.action_set.features
        if features is not None:
            assert np.isfinite(features).all()
            assert len(log.action_set.feature_names) == features.shape[1]
        assert np.isin(np.arange(len(log.action_set)), log.actions).any()

    return check


@pytest.fixture
def does_not_leak() -> Callable[[Log, Log, int], None]:
    """Two logs that differ in what was done and earned at one row, and in nothing before it."""

    def check(one: Log, other: Log, row: int) -> None:
        assert one.observation_names == other.observation_names
        mine, its = one.action_set.ids[one.actions], other.action_set.ids[other.actions]
        assert mine[row] != its[row]
        assert one.rewards[row] != other.rewards[row]
        assert np.array_equal(one.observations[: row + 1], other.observations[: row + 1])
        assert not np.array_equal(one.observations[row + 1], other.observations[row + 1])

    return check
