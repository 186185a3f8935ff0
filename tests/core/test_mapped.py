"""Columns in files are walked, drawn from and let go as columns in memory are."""

from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core import mapped
from offline_actrep.core.mapped import blocks, release, take


@pytest.mark.parametrize(("n", "size", "expected"), [(0, 3, []), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_blocks_cover_every_row_once(n: int, size: int, expected: list[int]) -> None:
    found = list(blocks(n, size))
    assert [len(range(n)[rows]) for rows in found] == expected
    assert [row for rows in found for row in range(n)[rows]] == list(range(n))


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
