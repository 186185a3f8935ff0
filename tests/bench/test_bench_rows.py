"""Rows on disk: the same when they come back, refused when somebody changed them."""

from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest
from invented import a_row

from offline_actrep.bench.plan import Cell
from offline_actrep.bench.rows import DIGEST, LATER, SCHEMA, read_rows, write_rows
from offline_actrep.files.artifact import digest

CELL = Cell("maze", "medium")


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [
        a_row("b", CELL, 2, 1 / 3),
        a_row("a", Cell("maze", "medium", "actuators=3"), 1, 0.1, curve_steps=[], curve_returns=[]),
        a_row("a", CELL, 1, 0.2, fqe=None, chosen_step=None, fit_seconds=None),
    ]
    write_rows(tmp_path / "rows.parquet", rows)
    found = read_rows(tmp_path / "rows.parquet")
    assert set(found) == {row.key for row in rows}
    assert all(found[row.key] == row for row in rows)
    assert not list(tmp_path.glob("*.tmp"))


def test_the_order_of_writing_does_not_matter(tmp_path: Path) -> None:
    rows = [a_row(name, CELL, seed, 0.5) for name in "ab" for seed in (1, 2)]
    write_rows(tmp_path / "one.parquet", rows)
    write_rows(tmp_path / "two.parquet", rows[::-1])
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert read_rows(tmp_path / "rows.parquet") == {}


@pytest.mark.parametrize("column", [name for name in SCHEMA if name != DIGEST])
def test_a_changed_row_is_refused(tmp_path: Path, column: str) -> None:
    file = tmp_path / "rows.parquet"
    write_rows(file, [a_row("a", CELL, 1, 0.5), a_row("b", CELL, 1, 0.5)])
    table = pl.read_parquet(file)
    kind = SCHEMA[column]
    other = "x" if kind == pl.String else [7] if kind == pl.List(pl.Int64) else None
    if kind == pl.List(pl.Float64):
        other = [7.0]
    if kind in (pl.Int64, pl.Float64):
        other = 7
    changed = [*table[column].to_list()[:1], other]
    table.with_columns(pl.Series(column, changed, dtype=kind)).write_parquet(file)
    with pytest.raises(ValueError, match=r"row 1 \(.*was changed after it was written"):
        read_rows(file)


def test_a_file_of_another_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    write_rows(file, [a_row("a", CELL, 1, 0.5)])
    pl.read_parquet(file).drop("fqe").write_parquet(file)
    with pytest.raises(ValueError, match="column 'fqe'"):
        read_rows(file)


def test_rows_of_before_choices_were_counted_are_as_good(tmp_path: Path) -> None:
    """They have no such columns; their digests, and those of rows that know nothing, agree."""
    file = tmp_path / "rows.parquet"
    row = a_row("a", CELL, 1, 0.5)
    before = asdict(row)
    for name in LATER:
        assert before.pop(name) is None
    table = pl.DataFrame([before | {DIGEST: digest("row", before)}])
    table.cast({name: SCHEMA[name] for name in table.columns}).write_parquet(file)
    assert read_rows(file) == {row.key: row}
    counted = replace(row, distinct_actions=3, largest_share=0.5, repeated=0.25)
    assert counted.digest() != row.digest()
    write_rows(file, [counted])
    pl.read_parquet(file).drop(LATER).write_parquet(file)
    with pytest.raises(ValueError, match="was changed after it was written"):
        read_rows(file)


def test_a_row_says_what_it_cost() -> None:
    row = a_row("a", CELL, 1, 0.5, fit_seconds=30.0, relabel_seconds=2.0, train_seconds=60.0)
    assert row.seconds == 92.0
    assert replace(row, fit_seconds=None, relabel_seconds=None).seconds == 60.0
