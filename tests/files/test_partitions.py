"""Partitions: every row once, whole keys together, whatever the order and the files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_actrep.files import partitions
from offline_actrep.files.partitions import (
    KEY,
    Layout,
    Reader,
    bucket,
    scattered,
    spill,
    stretches,
    survey,
)
from offline_actrep.files.sources import find_sources

SCHEMA = pl.Schema({"key": pl.Int64, "value": pl.Int64, "unread": pl.String})


@dataclass(frozen=True)
class Plain:
    """A mapping that takes the column `key` for the partition's key."""

    def rows(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        return frame.select(pl.col("key").alias(KEY), "value", "source_file", "source_row")


def reader(folder: Path, keys: list[int | None], files: int, form: str = "parquet") -> Reader:
    folder.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(
        {"key": keys, "value": range(len(keys)), "unread": ["x"] * len(keys)}, schema=SCHEMA
    )
    for old in folder.iterdir():
        old.unlink()
    for number, rows in enumerate(np.array_split(np.arange(len(keys)), files)):
        path = folder / f"{number:03d}.{form}"
        if form == "parquet":
            frame[rows].write_parquet(path, row_group_size=3)
        elif form == "arrow":
            frame[rows].write_ipc(path)
        else:
            frame[rows].write_csv(path)
    found = [one for one in find_sources(folder) if one.size]
    return Reader(found, SCHEMA, Plain())


def partitions_of(read: Reader, layout: Layout, folder: Path) -> list[pl.DataFrame]:
    if not layout.by_buckets:
        return list(stretches(read, layout.counts, layout.cuts.tolist()))
    spill(read, layout, folder)
    found = [bucket(folder, number) for number in range(layout.partitions)]
    return [frame for frame in found if frame is not None]


keys_of_any_order = st.lists(st.none() | st.integers(-3, 12), min_size=1, max_size=60)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys_of_any_order, st.integers(1, 4), st.integers(1, 12), st.booleans())
def test_every_row_is_in_one_partition_with_all_of_its_key(
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[int | None],
    files: int,
    rows: int,
    ordered: bool,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    if ordered:
        keys = sorted(keys, key=lambda key: (key is None, key or 0))
    read = reader(folder / "logs", keys, files)
    layout = survey(read, rows)
    runs = 1 + sum(a != b for a, b in zip(keys[1:], keys, strict=False))
    assert layout.in_order == (runs == len(set(keys)))
    assert layout.rows == len(keys)
    parts = partitions_of(read, layout, folder / "buckets")
    values = [value for part in parts for value in part["value"].to_list()]
    assert sorted(values) == list(range(len(keys)))
    homes = [set(part[KEY].to_list()) for part in parts]
    assert sum(map(len, homes)) == len(set().union(*homes)) == len(set(keys))
    for part in parts:
        assert part["value"].is_sorted(), "in the order of the input"
        numbers = layout.starts[part["source_file"].to_numpy()] + part["source_row"].to_numpy()
        assert numbers.tolist() == part["value"].to_list()


def test_partitions_are_not_much_larger_than_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys = np.repeat(np.arange(500), 4)
    for order in (np.arange(2000), rng.permutation(2000)):
        read = reader(tmp_path / "logs", keys[order].tolist(), 3)
        layout = survey(read, 100)
        sizes = [len(part) for part in partitions_of(read, layout, tmp_path / str(order[0]))]
        assert len(sizes) == layout.partitions == 20
        assert max(sizes) <= 110 and sum(sizes) == 2000


def test_one_key_of_many_rows_stays_whole(tmp_path: Path) -> None:
    keys = [7] * 300 + [1] * 5 + [7] * 5 + [9] * 5
    read = reader(tmp_path / "logs", keys, 2)
    layout = survey(read, 50)
    parts = partitions_of(read, layout, tmp_path / "buckets")
    assert not layout.in_order
    assert [part[KEY].to_list().count(7) for part in parts if 7 in part[KEY]] == [305]


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
def test_reading_begins_at_any_row_in_any_format(form: str, tmp_path: Path) -> None:
    read = reader(tmp_path / "logs", list(range(40)), 3, form)
    counts = np.array([14, 13, 13])
    cuts = [0, 5, 14, 26, 27, 39]
    whole = [part["value"].to_list() for part in stretches(read, counts, cuts)]
    ends = [*cuts[1:], 40]
    assert whole == [list(range(a, b)) for a, b in zip(cuts, ends, strict=True)]
    for first in range(len(cuts)):
        some = [part["value"].to_list() for part in stretches(read, counts, cuts, first)]
        assert some == whole[first:]
    assert list(stretches(read, counts, cuts, len(cuts))) == []


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    read = reader(tmp_path / "logs", [1, 2], 1)
    assert read.used([KEY]) == ["key"]
    assert read.used([KEY, "value", "source_row"]) == ["key", "value"]


def test_a_file_of_fewer_rows_than_before_is_refused(tmp_path: Path) -> None:
    read = reader(tmp_path / "logs", [1, 2, 3], 1)
    with pytest.raises(ValueError, match=r"000\.parquet: expected 4 rows.*got 3"):
        list(stretches(read, np.array([4]), [0]))


def test_units_that_are_there_are_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "UNIT_ROWS", 10)
    rng = np.random.default_rng(0)
    read = reader(tmp_path / "logs", rng.permutation(np.repeat(range(12), 3)).tolist(), 2)
    layout = survey(read, 8)
    assert layout.unit_rows == 10
    spill(read, layout, tmp_path / "whole")
    spill(read, layout, tmp_path / "part")
    names = sorted(path.name for path in (tmp_path / "part").iterdir())
    assert names == ["000000", "000001", "000002", "000003"]
    (tmp_path / "part" / "000003").rename(tmp_path / "part" / "000003.tmp")
    before = (tmp_path / "part" / "000001").stat().st_mtime_ns
    spill(read, layout, tmp_path / "part")
    assert (tmp_path / "part" / "000001").stat().st_mtime_ns == before
    for number in range(layout.partitions):
        one, other = (bucket(tmp_path / name, number) for name in ("whole", "part"))
        assert one is not None and other is not None and one.equals(other)


def test_more_keys_than_are_remembered_count_as_in_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MOST_HASHES", 5)
    falling = reader(tmp_path / "a", list(range(20, 0, -1)), 3)
    assert not survey(falling, 4).in_order
    rising = reader(tmp_path / "b", list(range(20)), 3)
    assert survey(rising, 4).in_order


def test_the_sample_of_keys_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "MOST_SAMPLES", 16)
    read = reader(tmp_path / "logs", (list(range(100)) * 5), 3)
    layout = survey(read, 100)
    assert layout.bounds.to_list() == pytest.approx([20, 40, 60, 80], abs=12)


@pytest.mark.parametrize("keys", [[3, 1, 3, 2, 1], [1, 2, 3]])
def test_a_layout_is_read_as_it_was_written(keys: list[int | None], tmp_path: Path) -> None:
    layout = survey(reader(tmp_path / "logs", keys, 1), 1)
    assert Layout.load(tmp_path) is None
    layout.save(tmp_path)
    read = Layout.load(tmp_path)
    assert read is not None and read.in_order == layout.in_order
    assert read.bounds.equals(layout.bounds) and read.cuts.tolist() == layout.cuts.tolist()
    assert read.counts.tolist() == layout.counts.tolist()


def test_rows_that_came_early_and_late_are_told_apart() -> None:
    numbers = np.array([4, 5, 9, 6, 1, 2])
    firsts = np.array([True, False, False, False, True, False])
    back, apart = scattered(numbers, firsts)
    assert (back.tolist(), apart.tolist()) == ([3], [2])
