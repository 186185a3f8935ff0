"""What learns on another device comes to what it comes to on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.representations.catalog import METHODS

SCRIPT = Path(__file__).parent / "on_standin.py"
WAYS = ("ensemble", "gaussian", "bilinear", "table", "factors", "sampled", "rows")
DRAWN = ("random_table", "random_spread", "external")
"""Representations that learn nothing."""
OTHER_ORDER = ("merlion rows",)
"""Sums of the same numbers in another order than on the CPU."""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float | str]]:
    """Every case on both devices, in a process of its own."""
    done = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "case", [*METHODS, *(f"merlion {way}" for way in WAYS), *CONTINUOUS, *DISCRETE, "fqe"]
)
def test_the_device_does_not_matter(case: str, found: dict[str, dict[str, float | str]]) -> None:
    """The stand-in computes as the CPU does, and refuses to mix with it."""
    result = found[case]
    assert "error" not in result, result["error"]
    assert float(result["apart"]) <= (1e-5 if case in OTHER_ORDER else 0.0)
    assert (result["operations"] == 0) == (case in DRAWN)
