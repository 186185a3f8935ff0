"""What learns on another device comes to what it comes to on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

from offline_actrep.offline.learner import CONTINUOUS, DISCRETE
from offline_actrep.representations.catalog import METHODS

SCRIPT = Path(__file__).parent / "on_standin.py"
WAYS = ("ensemble", "gaussian", "bilinear", "table", "factors", "sampled", "rows")
CASES = {*METHODS, *(f"merlion {way}" for way in WAYS), *CONTINUOUS, *DISCRETE, "fqe"}
DRAWN = ("random_table", "random_spread", "external")
"""Representations that learn nothing."""
OTHER_ORDER = ("merlion rows",)
"""Sums of the same numbers in another order than on the CPU."""


def wrong(case: str, result: dict[str, float | str]) -> str | None:
    """What is not as it should be."""
    if "error" in result:
        return f"{case}: {result['error']}"
    if not float(result["apart"]) <= (1e-5 if case in OTHER_ORDER else 0.0):  # no number either
        return f"{case}: {result['apart']} apart"
    if (result["operations"] == 0) != (case in DRAWN):
        return f"{case}: {result['operations']} operations on the device"
    return None


def test_the_device_does_not_matter() -> None:
    """The stand-in computes as the CPU does, and refuses to mix with it."""
    done = subprocess.run(
        [sys.executable, SCRIPT], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == CASES
    mistakes = [said for case, result in found.items() if (said := wrong(case, result))]
    assert not mistakes, "\n".join(mistakes)


def test_what_is_wrong_is_told() -> None:
    fine: dict[str, float | str] = {"apart": 0.0, "operations": 9}
    assert wrong("cql", fine) is None
    assert wrong("cql", {"error": "on the CPU"}) == "cql: on the CPU"
    assert wrong("cql", fine | {"apart": 1e-9}) == "cql: 1e-09 apart"
    assert wrong("cql", fine | {"apart": float("nan")}) == "cql: nan apart"
    assert wrong("cql", fine | {"operations": 0}) == "cql: 0 operations on the device"
    assert wrong("merlion rows", fine | {"apart": 1e-6}) is None
