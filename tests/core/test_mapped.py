"""Columns in files are walked, drawn from and let go as columns in memory are."""

from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core import mapped
from offline_actrep.core.mapped import blocks, release, take, take_runs, whole_blocks


@pytest.mark.parametrize(("n", "size", "expected"), [(0, 3, []), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_blocks_cover_every_row_once(n: int, size: int, expected: list[int]) -> None:
    found = list(blocks(n, size))
    assert [len(range(n)[rows]) for rows in found] == expected
    assert [row for rows in found for row in range(n)[rows]] == list(range(n))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 100])
def test_whole_blocks_cut_no_group(size: int) -> None:
    offsets = np.array([0, 1, 4, 5, 6, 7, 9])
    found = list(whole_blocks(offsets, size))
    assert [group for groups in found for group in range(6)[groups]] == list(range(6))
    for groups, after in zip(found, [*found[1:], slice(6, 6)], strict=True):
        rows = offsets[groups.stop] - offsets[groups.start]
        assert rows <= size or groups.stop - groups.start == 1
        more = offsets[min(after.start + 1, 6)] - offsets[groups.start]
        assert more > size or after.start == 6  # another group would not have gone in
    assert list(whole_blocks(np.array([0]))) == []


def test_runs_are_taken_one_behind_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = np.arange(3000, dtype=np.int64).reshape(1000, 3)
    column.tofile(tmp_path / "column")
    file = np.asarray(np.memmap(tmp_path / "column", "<i8", "r", shape=(1000, 3)))
    draws = np.random.default_rng(0)
    starts, counts = draws.integers(900, size=300), draws.integers(5, size=300)
    expected = np.concatenate([column[s : s + n] for s, n in zip(starts, counts, strict=True)])
    np.testing.assert_array_equal(take_runs(column, starts, counts), expected)
    monkeypatch.setattr(mapped, "_SMALL", 0)
    np.testing.assert_array_equal(take_runs(file, starts, counts), expected)
    assert take_runs(file, starts[:0], counts[:0]).shape == (0, 3)


def test_take_is_indexing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    column = np.arange(3000, dtype=np.int64).reshape(1000, 3)
    column.tofile(tmp_path / "column")
    file = np.asarray(np.memmap(tmp_path / "column", "<i8", "r", shape=(1000, 3)))
    rows = np.random.default_rng(0).integers(1000, size=200)
    np.testing.assert_array_equal(take(column, rows), column[rows])
    np.testing.assert_array_equal(take(file, rows), column[rows])
    monkeypatch.setattr(mapped, "_SMALL", 0)
    np.testing.assert_array_equal(take(file, rows), column[rows])
    assert take(file, rows[:0]).shape == (0, 3)
    assert take(file, rows).flags.writeable


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_release_loses_nothing(tmp_path: Path, mode: str) -> None:
    np.arange(5000).tofile(tmp_path / "column")
    column = np.memmap(tmp_path / "column", "<i8", mode, shape=(5000,))  # type: ignore[call-overload]
    if mode != "r":
        column[7] = -1  # with "c" this is in memory alone
    expected = np.array(column)
    part = np.asarray(column)[3:4000]
    release(column, part, None, np.zeros(3))
    np.testing.assert_array_equal(column, expected)
    np.testing.assert_array_equal(part, expected[3:4000])
