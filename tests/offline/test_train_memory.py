"""Training reads a log of any size without holding it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_the_columns_of_a_large_store_are_not_held() -> None:
    """A row has 128 bytes of observations; what may be held of it are a few small columns."""
    script = [sys.executable, BENCHMARKS / "train_memory.py", "--steps", "30", "--json"]
    script += ["--rows", "160000", "1440000", "--limit", "0"]
    told = subprocess.run(script, capture_output=True, check=True, text=True).stdout
    found = json.loads(told.splitlines()[-1])
    assert found.keys() == {"ids", "points", "d3rlpy"}
    for name, line in found.items():
        assert line["bytes_a_row"] < 64, name
