"""The door to a bench's statistics and figures: rliable is loaded when they are made."""

import importlib
from pathlib import Path

from offline_actrep.bench.job import Job


def draw(job: Job) -> Path:
    """See `report.draw`, which this is.

    Raises:
        ValueError: rliable is not installed, or there are no rows.
    """
    try:
        report = importlib.import_module("offline_actrep.bench.report")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith(("offline_actrep", "torch", "matplotlib")):
            raise
        raise ValueError(
            f"intervals and figures of a bench need {error.name}, which is not installed: "
            'pip install "offline_actrep[bench]"'
        ) from error
    return report.draw(job)
