"""A log of any size as partitions of whole keys, one in memory at a time.

A survey reads one column, the key of what must stay together. Where every key's rows follow one
another already, partitions are stretches of the input, cut between keys, and nothing is shuffled.
Where not, rows go to buckets on the disk by ranges of the key (polars' partitioned sink, a unit of
rows at a time, whole or absent), and a bucket is a partition. Ranges, not hashes, so that the
result does not hang on a hash function: it is in the order of the keys.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Int64

from offline_actrep.files.artifact import write_json
from offline_actrep.files.containers import scan_frames
from offline_actrep.files.sources import SOURCE_ROW, SourceFile, check_there, reading, scan
from offline_actrep.files.types import Schema

KEY = "partition_key"
SOURCE_FILE = "source_file"
BATCH_ROWS = 1 << 16
"""Rows that are read and mapped at once, where they are not wide."""
UNIT_ROWS = 1 << 19
"""Most rows that are sent to their buckets at once; no more is lost to a kill."""
UNIT_PARTITIONS = 3
"""And so many partitions' rows at most."""
MOST_HASHES = 1 << 23
"""Keys that the survey remembers; with more, in no order, it does not ask whether they return."""
MOST_SAMPLES = 1 << 18
_BUCKET = "bucket"

OnRows = Callable[[int, int], None]
"""Is told rows done and rows in all."""


@runtime_checkable
class Rows(Protocol):
    """What the mapping does to raw rows, each for itself."""

    def rows(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """Canonical columns, `partition_key`, `source_file` and `source_row`."""
        ...


@dataclass(frozen=True, eq=False)
class Reader:
    """The rows of all sources as the mapping leaves them, from any row on.

    Attributes:
        sources: in their order.
        schema: in which all are read.
        mapping: is asked of every batch.
        batch_rows: that are read and mapped at once.
    """

    sources: Sequence[SourceFile]
    schema: Schema
    mapping: Rows
    batch_rows: int = BATCH_ROWS

    def used(self, wanted: Sequence[str]) -> list[str]:
        """The raw columns that some mapped columns are made of, in the schema's order."""
        asked: set[str] = set()

        def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
            asked.update(columns)
            yield pl.DataFrame(schema={name: self.schema[name] for name in columns})

        empty = scan_frames(frames, self.schema, SOURCE_ROW)
        self._mapped(empty, 0).select(wanted).collect()
        return [name for name in self.schema if name in asked]

    def batches(
        self, number: int, start: int = 0, wanted: Sequence[str] | None = None
    ) -> Iterator[pl.DataFrame]:
        """Mapped rows of one source from row `start` on, some at a time.

        Raises:
            ValueError: the file cannot be read, or is no longer what was listed.
        """
        check_there(self.sources[number])
        empty = pl.LazyFrame(schema={**self.schema, SOURCE_ROW: pl.Int64})
        columns = list(wanted or self._mapped(empty, number).collect_schema())
        raw = self._raw(self.sources[number], start, self.used(columns))
        with reading([self.sources[number]]):
            for frame in raw:
                yield self._mapped(frame.lazy(), number).select(columns).collect()

    def _mapped(self, frame: pl.LazyFrame, number: int) -> pl.LazyFrame:
        """Columns that were not read are null: the mapping asks for all, and none looks there."""
        have = frame.collect_schema()
        return self.mapping.rows(
            frame.with_columns(
                *(pl.lit(None, kind).alias(n) for n, kind in self.schema.items() if n not in have),
                pl.lit(number, pl.Int32).alias(SOURCE_FILE),
            )
        )

    def _raw(self, source: SourceFile, start: int, columns: list[str]) -> Iterator[pl.DataFrame]:
        if source.format == "parquet":
            return self._parquet(source, start, columns)
        frame = scan(source, self.schema).select(*columns, SOURCE_ROW)
        return iter(
            frame.slice(start).collect_batches(chunk_size=self.batch_rows, maintain_order=True)
        )

    def _parquet(
        self, source: SourceFile, start: int, columns: list[str]
    ) -> Iterator[pl.DataFrame]:
        """By pyarrow without its cache: flat in memory, whatever the row groups."""
        hive = dict(source.hive)
        held = [name for name in columns if name not in hive]
        with (
            source.open() as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=1 << 20) as file,
        ):
            ends = np.cumsum(
                [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            )
            first = int(np.searchsorted(ends, start, side="right"))
            groups = list(range(first, file.num_row_groups))
            at = int(ends[first - 1]) if first else 0
            for batch in file.iter_batches(self.batch_rows, row_groups=groups, columns=held):
                if at + batch.num_rows > start:
                    yield self._frame(batch, hive, columns, at).slice(max(0, start - at))
                at += batch.num_rows

    def _frame(
        self, batch: pa.RecordBatch, hive: dict[str, str], columns: list[str], at: int
    ) -> pl.DataFrame:
        """A batch in the types of the schema, its folders beside it, its rows numbered."""
        numbers = pl.int_range(at, at + batch.num_rows, dtype=pl.Int64, eager=True)
        frame = pl.DataFrame({SOURCE_ROW: numbers})
        if batch.num_columns:
            found = pl.from_arrow(pa.Table.from_batches([batch]))
            frame = pl.concat([pl.DataFrame(found), frame], how="horizontal")
        folders = {name: folder_value(hive[name]) for name in columns if name in hive}
        return frame.select(
            *(
                (pl.lit(folders[name]) if name in folders else pl.col(name))
                .cast(self.schema[name])
                .alias(name)
                for name in columns
            ),
            SOURCE_ROW,
        )


def folder_value(text: str) -> str | None:
    """What the value of a `key=value` folder stands for."""
    return None if text == "__HIVE_DEFAULT_PARTITION__" else text


@dataclass(frozen=True, eq=False)
class Layout:
    """How a log falls into partitions.

    Attributes:
        counts: `[F]` rows of every file.
        in_order: whether the rows of every key follow one another in the input.
        cuts: where in order, or few: `[P]` the first row of each partition, counted over all files.
        bounds: elsewhere: `[P - 1]` the least key of every bucket but the first, ascending.
        unit_rows: that are sent to the buckets at once.
    """

    counts: Int64[np.ndarray, " F"]
    in_order: bool
    cuts: Int64[np.ndarray, " C"]
    bounds: pl.Series
    unit_rows: int

    @property
    def rows(self) -> int:
        """Of all files."""
        return int(self.counts.sum())

    @property
    def by_buckets(self) -> bool:
        """Whether rows have to be gathered on the disk: they are in no order, and many."""
        return not self.in_order and len(self.bounds) > 0

    @property
    def partitions(self) -> int:
        """P."""
        return len(self.bounds) + 1 if self.by_buckets else len(self.cuts)

    @property
    def starts(self) -> Int64[np.ndarray, " F_plus_1"]:
        """The number of every file's first row, all files one after another."""
        return np.append(0, np.cumsum(self.counts)).astype(np.int64)

    def save(self, folder: Path) -> None:
        """As `layout.json` and, before it, `bounds.parquet`."""
        self.bounds.to_frame(KEY).write_parquet(folder / "bounds.parquet")
        write_json(
            folder / "layout.json",
            {
                "counts": self.counts.tolist(),
                "in_order": self.in_order,
                "cuts": self.cuts.tolist(),
                "unit_rows": self.unit_rows,
            },
        )

    @staticmethod
    def load(folder: Path) -> "Layout | None":
        """What `save` wrote, or None where it did not come to an end."""
        if not (folder / "layout.json").is_file():
            return None
        found = json.loads((folder / "layout.json").read_text())
        bounds = pl.read_parquet(folder / "bounds.parquet")[KEY]
        counts, cuts = (np.array(found[name], np.int64) for name in ("counts", "cuts"))
        return Layout(counts, found["in_order"], cuts, bounds, found["unit_rows"])


def survey(reader: Reader, partition_rows: int, on_rows: OnRows | None = None) -> Layout:
    """Reads the keys, and decides.

    Args:
        reader: of the whole log.
        partition_rows: rows that a partition should have; one has more where a key does.
        on_rows: is told rows seen and the rows in all, of which it is told 0.

    Raises:
        ValueError: there is no row.
    """
    counts = np.zeros(len(reader.sources), np.int64)
    runs, sample, cuts = _Runs(), _Sample(), _Cuts(partition_rows)
    for number in range(len(reader.sources)):
        for frame in reader.batches(number, wanted=[KEY]):
            keys = frame[KEY]
            first = runs.see(keys)
            sample.see(keys)
            cuts.see(int(counts.sum()), first)
            counts[number] += len(keys)
            if on_rows is not None:
                on_rows(int(counts.sum()), 0)
    rows = int(counts.sum())
    if not rows:
        raise ValueError(
            f"expected at least one row, got none in {len(reader.sources)} files, the first "
            f"{reader.sources[0].url}. To mend it: name the files that hold the log."
        )
    in_order = runs.apart()
    bounds = sample.bounds(1 if in_order else -(-rows // partition_rows))
    found = cuts.found if in_order else [0]
    unit_rows = min(UNIT_ROWS, UNIT_PARTITIONS * partition_rows)
    return Layout(counts, in_order, np.array(found, np.int64), bounds, unit_rows)


class _Runs:
    """Whether a key returns after others came between."""

    def __init__(self) -> None:
        self._last: pl.Series | None = None
        self._ascending = True
        self._hashes: list[np.ndarray] = []
        self._kept = 0

    def see(self, keys: pl.Series) -> Int64[np.ndarray, " R"]:
        """The rows of the batch at which another key begins."""
        if not len(keys):
            return np.zeros(0, np.int64)
        joined = keys if self._last is None else pl.concat([self._last, keys])
        changed = joined.ne_missing(joined.shift()).to_numpy().copy()
        changed[0] = self._last is None
        heads = joined.filter(pl.Series(changed))
        first = np.flatnonzero(changed) - (self._last is not None)
        if self._ascending:
            told = heads if self._last is None else pl.concat([self._last, heads])
            rises = told[1:] > told[:-1]
            self._ascending = not told.null_count() and bool(rises.all())
        if self._kept <= MOST_HASHES:
            self._hashes.append(heads.hash(0).to_numpy())
            self._kept += len(heads)
        self._last = keys[-1:]
        return first.astype(np.int64)

    def apart(self) -> bool:
        """Whether none does, as far as can be told: a doubt is a no."""
        if self._ascending:
            return True
        if self._kept > MOST_HASHES:
            return False
        hashes = np.sort(np.concatenate(self._hashes))
        return not bool((hashes[1:] == hashes[:-1]).any())


class _Sample:
    """Every k-th key; k doubles when there are too many."""

    def __init__(self) -> None:
        self._stride = 1
        self._seen = 0
        self._kept: pl.Series | None = None

    def see(self, keys: pl.Series) -> None:
        part = keys.gather_every(self._stride, -self._seen % self._stride)
        self._seen += len(keys)
        self._kept = part if self._kept is None else pl.concat([self._kept, part])
        while len(self._kept) > MOST_SAMPLES:
            self._kept = self._kept.gather_every(2)
            self._stride *= 2

    def bounds(self, buckets: int) -> pl.Series:
        """Keys that cut the sample into so many parts, fewer where a key has many rows."""
        assert self._kept is not None
        ranked = self._kept.drop_nulls().sort()
        places = np.arange(1, buckets) * len(ranked) // buckets
        chosen = ranked.gather(places).unique().sort()
        return chosen.filter(chosen > ranked[0]) if len(chosen) else chosen


class _Cuts:
    """Where partitions begin: at the first key that begins so many rows after the last cut."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self.found: list[int] = [0]

    def see(self, offset: int, first: Int64[np.ndarray, " R"]) -> None:
        begins = first + offset
        while True:
            place = int(np.searchsorted(begins, self.found[-1] + self._rows))
            if place == len(begins):
                return
            self.found.append(int(begins[place]))


def stretches(
    reader: Reader, counts: Int64[np.ndarray, " F"], cuts: Sequence[int], first: int = 0
) -> Iterator[pl.DataFrame]:
    """Rows `cuts[k]:cuts[k + 1]` of all files one after another, for every k from `first` on.

    The last stretch goes to the end.
    """
    starts = np.append(0, np.cumsum(counts))
    stops = [*(int(cut) for cut in cuts[1:]), int(starts[-1])]
    if first >= len(stops):
        return
    at, place, held = int(cuts[first]), first, []
    number = int(np.searchsorted(starts, at, side="right")) - 1
    for source in range(number, len(counts)):
        seen = at - int(starts[source])
        for frame in reader.batches(source, seen):
            seen += len(frame)
            while len(frame) and place < len(stops):
                part = frame[: stops[place] - at]
                frame = frame[len(part) :]
                at += len(part)
                held.append(part)
                if at == stops[place]:
                    yield pl.concat(held)
                    held, place = [], place + 1
        if seen != counts[source]:
            raise ValueError(
                f"{reader.sources[source].url}: expected {counts[source]} rows, as when it was "
                f"first read, got {seen}. To mend it: let nothing write there while the job "
                "runs, and start it anew."
            )


def spill(reader: Reader, layout: Layout, folder: Path, on_rows: OnRows | None = None) -> None:
    """Sends all rows to the buckets below `folder`; units that are there are not done again."""
    units = list(range(0, layout.rows, layout.unit_rows))
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    while (folder / f"{done:06d}").is_dir():
        done += 1
    for number, unit in enumerate(stretches(reader, layout.counts, units, done), start=done):
        draft = folder / f"{number:06d}.tmp"
        if draft.exists():
            shutil.rmtree(draft)
        _sink(unit, layout.bounds, draft)
        os.replace(draft, folder / f"{number:06d}")
        if on_rows is not None:
            on_rows(units[number] + len(unit), layout.rows)


def bucket(folder: Path, number: int) -> pl.DataFrame | None:
    """The rows of a bucket as they came, or None where it has none."""
    files = sorted(folder.glob(f"*/{_BUCKET}={number}/*"))
    if not files:
        return None
    return pl.concat(pl.read_parquet(file) for file in files).sort(SOURCE_FILE, SOURCE_ROW)


def _sink(unit: pl.DataFrame, bounds: pl.Series, folder: Path) -> None:
    numbers = bounds.search_sorted(unit[KEY], side="right").fill_null(0).cast(pl.UInt32)
    numbers = pl.select(pl.when(unit[KEY].is_null()).then(0).otherwise(numbers).alias(_BUCKET))[
        _BUCKET
    ]
    folder.mkdir(parents=True)
    unit.with_columns(numbers).lazy().sink_parquet(
        pl.PartitionBy(folder, key=_BUCKET, include_key=False),
        compression="lz4",
        statistics=False,
        mkdir=True,
    )
    for name in sorted(folder.rglob("*.parquet")):
        with name.open("rb") as file:
            os.fsync(file.fileno())


def scattered(
    numbers: Int64[np.ndarray, " N"], firsts: Bool[np.ndarray, " N"]
) -> tuple[Int64[np.ndarray, " K"], Int64[np.ndarray, " L"]]:
    """Rows that came before the one they follow, and rows that came later with others between.

    Args:
        numbers: the row's number in the input, all files one after another.
        firsts: whether an episode begins here.
    """
    rises = np.diff(numbers, prepend=numbers[:1])
    return np.flatnonzero(~firsts & (rises < 0)), np.flatnonzero(~firsts & (rises > 1))


def about_rows(frame: Any) -> int:
    """Bytes that a row of a frame takes, at least 1."""
    return max(1, int(frame.estimated_size() // max(1, frame.height)))
