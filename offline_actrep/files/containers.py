"""Parquet and Arrow IPC: is the file whole and of a sane shape, and its rows batch by batch."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.io.plugins import register_io_source
from pyarrow import ipc

from offline_actrep.files.messages import sizes_of_file, sizes_of_stream
from offline_actrep.files.table import check_version
from offline_actrep.files.types import Schema

Open = Callable[[], pa.NativeFile]
"""Opens a file for random access."""

PARQUET, ARROW, GOES_ON = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_STREAM_END = GOES_ON + b"\0\0\0\0"

MOST_ROWS = 1 << 26
"""Rows of a row group or batch; pyarrow writes no larger groups either."""
MOST_VALUES = 1 << 30
"""Values of a row group in all its columns."""
MOST_BYTES = 1 << 32
"""Bytes that a row group or batch unpacks to."""
MOST_GROUPS = 100_000
"""Row groups of a file."""

_ROWS_AT_ONCE = 1 << 16
_ANEW = "write the file anew; what was cut off is lost"


def typed_schema(url: str, form: str, opening: Open) -> Schema:
    """The columns of a parquet or IPC file, once its frame is known to be sound.

    Raises:
        ValueError: wrong magic, truncated, two columns of one name, absurd row groups, a later
            schema version; pyarrow's own errors for what lies deeper.
    """
    with opening() as opened:
        schema = _parquet_schema(url, opened) if form == "parquet" else _ipc_schema(url, opened)
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise ValueError(
                f"{url}, column {name!r}: expected one column of that name, got "
                f"{schema.names.count(name)}. To mend it: rename or drop all but one."
            )
    return pl.Schema(_frame(schema.empty_table()).schema)


def scan_batches(form: str, opening: Open, schema: Schema, row: str) -> pl.LazyFrame:
    """A parquet or IPC file through pyarrow, whatever filesystem it lies in."""

    def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
        with opening() as opened:
            if form == "parquet":
                with pq.ParquetFile(opened) as file:
                    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                        yield _frame(pa.Table.from_batches([batch]))
            else:
                for batch in _ipc_batches(opened):
                    yield _frame(pa.Table.from_batches([batch]).select(columns))

    return scan_frames(frames, schema, row)


def scan_frames(
    frames: Callable[[list[str]], Iterator[pl.DataFrame]], schema: Schema, row: str
) -> pl.LazyFrame:
    """A lazy frame of what `frames(columns)` yields, with the rows numbered from 0."""
    full = pl.Schema({**schema, row: pl.Int64()})

    def produce(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        rows: int | None,
        _size: int | None,
    ) -> Iterator[pl.DataFrame]:
        wanted = list(full) if columns is None else columns
        # without a column of its own nothing would say how many rows there are
        read = [name for name in schema if columns is None or name in columns]
        at = 0
        for frame in frames(read or list(schema)[:1]):
            index = pl.int_range(at, at + frame.height, dtype=pl.Int64, eager=True).alias(row)
            at += frame.height
            part = frame.select(pl.col(name).cast(schema[name]) for name in read)
            part = part.with_columns(index) if read else index.to_frame()
            part = part if rows is None else part.head(max(0, rows - (at - frame.height)))
            part = part.select(wanted)
            yield part if predicate is None else part.filter(predicate)
            if rows is not None and at >= rows:
                return

    return register_io_source(produce, schema=full, is_pure=True)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _ends(opened: pa.NativeFile) -> tuple[bytes, bytes]:
    """The first and the last eight bytes."""
    size = opened.size()
    ends = opened.read_at(min(8, size), 0), opened.read_at(min(8, size), max(0, size - 8))
    opened.seek(0)
    return ends


def _parquet_schema(url: str, opened: pa.NativeFile) -> pa.Schema:
    start, end = _ends(opened)
    if start[:4] == b"PARE" or end[-4:] == b"PARE":
        raise _broken(url, "a parquet file that can be read", "an encrypted one", "decrypt it")
    if start[:4] != PARQUET:
        raise _broken(
            url, f"the {PARQUET!r} that parquet begins with", repr(start[:4]), _rename(start)
        )
    whole = opened.size() >= 12 and end[-4:] == PARQUET
    length = struct.unpack("<I", end[:4])[0] if whole else 0
    if not 0 < length <= opened.size() - 12:
        found = f"{end[-4:]!r} after {opened.size()} bytes: the file is truncated"
        if whole:
            found = f"a footer that says it is {length} bytes long, in {opened.size()}"
        raise _broken(url, f"a footer and {PARQUET!r} at the end of parquet", found, _ANEW)
    with pq.ParquetFile(opened) as file:
        check_version(Path(url), file.schema_arrow)
        _check_groups(url, file.metadata, opened.size())
        return file.schema_arrow


def _rename(start: bytes) -> str:
    for magic, form in ((PARQUET, ".parquet"), (ARROW, ".arrow"), (GOES_ON, ".arrows")):
        if start.startswith(magic):
            return f"rename it to {form}, for that is what it looks like"
    return "name the file after what it holds"


def _check_groups(url: str, metadata: pq.FileMetaData, size: int) -> None:
    mend = "write the file anew, with row groups of some 100,000 rows"
    if metadata.num_row_groups > MOST_GROUPS:
        found = f"{metadata.num_row_groups}"
        raise _broken(url, f"at most {MOST_GROUPS} row groups", found, mend)
    flat = [
        metadata.schema.column(n).max_repetition_level == 0 for n in range(metadata.num_columns)
    ]
    rows = 0
    for n in range(metadata.num_row_groups):
        group = metadata.row_group(n)
        columns = [group.column(k) for k in range(group.num_columns)]
        values = sum(column.num_values for column in columns)
        unpacked = sum(column.total_uncompressed_size for column in columns)
        place = f"{url}, row group {n}"
        if not 0 <= group.num_rows <= MOST_ROWS or not 0 <= values <= MOST_VALUES:
            found = f"{group.num_rows} rows and {values} values"
            expected = f"at most {MOST_ROWS} rows and {MOST_VALUES} values in all columns"
            raise _broken(place, expected, found, mend)
        if not 0 <= unpacked <= MOST_BYTES:
            raise _broken(place, f"at most {MOST_BYTES} bytes unpacked", f"{unpacked}", mend)
        for column, single in zip(columns, flat, strict=True):
            where = f"{place}, column {column.path_in_schema!r}"
            if single and column.num_values != group.num_rows:
                found = f"{column.num_values} values for {group.num_rows} rows"
                raise _broken(where, "a value a row", found, "write the file anew")
            if not group.num_rows:  # an empty shard may have no pages, at no place
                continue
            begin = min(
                column.data_page_offset,
                column.dictionary_page_offset
                if column.has_dictionary_page
                else column.data_page_offset,
            )
            if begin < 4 or not 0 <= column.total_compressed_size <= size - begin:
                found = f"bytes {begin} to {begin + column.total_compressed_size}"
                raise _broken(where, f"pages within the {size} bytes of the file", found, _ANEW)
        rows += group.num_rows
    if rows != metadata.num_rows:
        raise _broken(url, f"{metadata.num_rows} rows", f"{rows} in its row groups", _ANEW)


def _ipc_schema(url: str, opened: pa.NativeFile) -> pa.Schema:
    start, end = _ends(opened)
    if start.startswith(ARROW):
        if not end.endswith(ARROW):
            found = f"{end[-6:]!r} after {opened.size()} bytes: the file is truncated"
            raise _broken(url, f"{ARROW!r} at the end of an Arrow file", found, _ANEW)
    elif not start.startswith(GOES_ON):
        expected = f"the {ARROW!r} of an Arrow file or the {GOES_ON!r} of a stream"
        raise _broken(url, expected, repr(start[:6]), _rename(start))
    elif end != _STREAM_END:
        found = f"{end!r}: it is truncated, or was not closed"
        raise _broken(url, f"the mark {_STREAM_END!r} that ends a stream", found, _ANEW)
    mend = "write the file anew, in batches of some 100,000 rows"
    sizes = sizes_of_file(opened) if start.startswith(ARROW) else sizes_of_stream(opened)
    for n, (rows, unpacked) in enumerate(sizes):
        if not 0 <= rows <= MOST_ROWS or not 0 <= unpacked <= MOST_BYTES:
            expected = f"at most {MOST_ROWS} rows and {MOST_BYTES} bytes unpacked"
            found = f"{rows} rows and {unpacked} bytes"
            raise _broken(f"{url}, batch {n}", expected, found, mend)
    opened.seek(0)
    return (ipc.open_file if start.startswith(ARROW) else ipc.open_stream)(opened).schema


def _ipc_batches(opened: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    start, _ = _ends(opened)
    if start.startswith(ARROW):
        file = ipc.open_file(opened)
        batches = (file.get_batch(n) for n in range(file.num_record_batches))
    else:
        batches = iter(ipc.open_stream(opened))
    for batch in batches:
        batch.validate(full=True)
        yield batch


def _broken(place: str, expected: str, found: str, mend: str) -> ValueError:
    return ValueError(f"{place}: expected {expected}, got {found}. To mend it: {mend}.")
