"""Moments of parts, joined, are those of the whole."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.files import moments as moments_module
from offline_actrep.files.moments import Moments


def by_hand(rows: np.ndarray) -> list[np.ndarray]:
    wide = rows.astype(np.float64)
    return [wide.mean(axis=0), wide.std(axis=0), wide.min(axis=0), wide.max(axis=0)]


def told(found: Moments) -> list[np.ndarray]:
    return [found.mean, found.std, found.min, found.max]


@given(
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=5),
    size=st.sampled_from([1, 3, 16, 1500]),
    scale=st.sampled_from([1e-3, 1.0, 1e30]),
    shift=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_parts_joined_are_the_whole(
    cuts: list[int], size: int, scale: float, shift: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = ((random.standard_normal((sum(cuts), size)) + shift) * scale).astype(np.float32)
    found = None
    for part in np.split(rows, np.cumsum(cuts)[:-1]):
        one = Moments.of(part)
        found = one if found is None else found.joined(one)
    assert found is not None and found.count == len(rows)
    for one, other in zip(told(found), by_hand(rows), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * scale * (shift + 1))


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).standard_normal((1000, 3), np.float32)
    monkeypatch.setattr(moments_module, "ROWS_AT_ONCE", 7)
    for one, other in zip(told(Moments.of(rows)), by_hand(rows), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_column_that_never_changes_has_no_deviation() -> None:
    found = Moments.of(np.full((100_000, 2), 0.1, np.float32))
    assert found.std.tolist() == [0, 0]
    assert found.mean.tolist() == [float(np.float32(0.1))] * 2


def test_json_keeps_every_bit() -> None:
    found = Moments.of(np.random.default_rng(0).standard_normal((99, 4), np.float32))
    again = Moments.from_json(json.loads(json.dumps(found.to_json())))
    assert again.count == found.count
    for one, other in zip(told(again), told(found), strict=True):
        assert one.tolist() == other.tolist()
