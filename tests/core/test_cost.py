"""A cost is what it says: seconds without pauses, and the peak of the block alone."""

import time
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.cost import costing


def test_seconds_leave_pauses_out() -> None:
    began = time.perf_counter()
    with costing() as cost:
        time.sleep(0.01)
        cost.pauses += 0.01
    assert 0 < cost.seconds < time.perf_counter() - began - 0.009
    assert cost.as_dict().keys() == {"seconds", "peak_mb"}


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_the_peak_is_of_this_block() -> None:
    with costing() as large:
        np.ones(25_000_000).sum()
    with costing() as small:
        np.ones(1000).sum()
    assert large.peak_mb is not None and small.peak_mb is not None
    assert large.peak_mb - small.peak_mb > 150


def test_a_cost_is_filled_when_the_work_fails() -> None:
    with pytest.raises(RuntimeError), costing() as cost:
        raise RuntimeError
    assert cost.seconds > 0
