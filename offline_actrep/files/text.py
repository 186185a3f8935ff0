"""csv and JSONL: settle the types by looking at every value, then read in those types."""

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from offline_actrep.files.containers import Open, scan_frames
from offline_actrep.files.types import Kind, Schema, common_type, named

LONGEST_LINE = 1 << 26
"""Bytes of a line of JSON, or of the header of a csv file."""

_KINDS: dict[str, Kind] = {
    "null": pl.Null(),
    "whole": pl.Int64(),
    "number": pl.Float64(),
    "truth": pl.Boolean(),
    "text": pl.String(),
}
_GLANCE = 1000
_EXACT = (1 << 53) - 1
_BLOCK = 1 << 23
_SEPARATORS = ",\t;|"
_BINARY = {
    b"PAR1": "parquet",
    b"ARROW1": "an Arrow file",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}

# csv


def csv_schema(url: str, opening: Open, local: Path | None, as_text: Collection[str]) -> Schema:
    """The columns of a csv file, each of the narrowest type that holds all of its values.

    Raises:
        ValueError: no header, a name twice, or bytes that are no text; polars' own errors for
            rows that cannot be cut into fields.
    """
    separator, names = _header(url, opening)
    text = _raw_csv(opening, local, separator, names)
    asked = [name for name in names if name not in as_text]
    guess = _narrowest(text.head(_GLANCE), dict.fromkeys(asked, tuple(_KINDS)))
    held = _narrowest(text, {name: (kind,) for name, kind in guess.items() if kind != "text"})
    refuted = [name for name, kind in held.items() if kind == "text"]
    again = _narrowest(text, dict.fromkeys(refuted, tuple(_KINDS)))
    kinds = dict.fromkeys(names, "text") | held | again
    return pl.Schema({name: _KINDS[kind] for name, kind in kinds.items()})


def scan_csv(url: str, opening: Open, local: Path | None, schema: Schema, row: str) -> pl.LazyFrame:
    """A csv file in types that hold all of its values, and the number of each row from 0."""
    separator, names = _header(url, opening)
    frame = _raw_csv(opening, local, separator, names, row)
    return frame.select(
        *(
            (_truth(pl.col(name)) if kind == pl.Boolean else pl.col(name).cast(kind)).alias(name)
            for name, kind in schema.items()
        ),
        pl.col(row),
    )


def too_long(url: str, opening: Open) -> str:
    """Where a csv file has more fields than its header names, in words; nothing if nowhere.

    Rows are counted as records: quoted line ends do not begin a row.
    """
    separator, names = _header(url, opening)
    with opening() as opened, io.TextIOWrapper(opened, "utf-8", newline="") as text:
        for number, fields in enumerate(csv.reader(text, delimiter=separator), start=-1):
            if len(fields) > len(names):
                return f"row {number} has {len(fields)} fields, the header {len(names)}"
    return ""


def _header(url: str, opening: Open) -> tuple[str, list[str]]:
    """The separator, which is the one most frequent in the header, and the names."""
    with opening() as opened:
        start = opened.read_at(min(opened.size(), _BLOCK), 0)
    _refuse_binary(url, start)
    start = start.removeprefix(b"\xef\xbb\xbf")
    line = start.split(b"\n", 1)[0]
    try:
        header = line.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{url}, header: expected UTF-8, got {line[error.start : error.end]!r} at byte "
            f"{error.start}. To mend it: write the file in UTF-8."
        ) from error
    separator = max(_SEPARATORS, key=lambda one: (header.count(one), -_SEPARATORS.index(one)))
    try:
        names = next(csv.reader([header], delimiter=separator), [])
    except csv.Error as error:
        raise ValueError(
            f"{url}, header: expected the names of the columns, got {header[:80]!r} ({error}). To "
            "mend it: write the names as one line that a line feed ends."
        ) from error
    if not names or not any(names) or header.count('"') % 2:
        raise ValueError(
            f"{url}: expected a header of column names in the first line, got {header[:80]!r}. "
            "To mend it: write the names of the columns there."
        )
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{url}, column {name!r}: expected one column of that name, got "
                f"{names.count(name)}. To mend it: rename or drop all but one."
            )
    return separator, names


def _refuse_binary(url: str, start: bytes) -> None:
    for magic, form in _BINARY.items():
        if start.startswith(magic):
            raise ValueError(
                f"{url}: expected text in UTF-8, got {form}. To mend it: unpack or convert it, or "
                "name the file after what it holds."
            )
    if b"\0" in start:
        raise ValueError(
            f"{url}: expected text in UTF-8, got a zero byte at {start.index(0)}. "
            "To mend it: write the file anew as text."
        )


def _raw_csv(
    opening: Open, local: Path | None, separator: str, names: list[str], row: str | None = None
) -> pl.LazyFrame:
    """All columns as text; an empty field is null."""
    if local is not None:
        return pl.scan_csv(
            local,
            separator=separator,
            infer_schema=False,
            glob=False,
            row_index_name=row,
            schema=dict.fromkeys(names, pl.String()),
        )
    strings = dict.fromkeys(names, pa.large_string())
    convert = arrow_csv.ConvertOptions(
        column_types=strings,
        strings_can_be_null=True,
        null_values=[""],
        quoted_strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True)

    def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
        with opening() as opened:
            reader = arrow_csv.open_csv(opened, parse_options=parse, convert_options=convert)
            for batch in reader:
                frame = pl.from_arrow(pa.Table.from_batches([batch]).select(columns))
                yield frame if isinstance(frame, pl.DataFrame) else frame.to_frame()

    schema = pl.Schema(dict.fromkeys(names, pl.String()))
    return scan_frames(frames, schema, row or "source_row")


def _narrowest(text: pl.LazyFrame, asked: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The first of the kinds asked of each column that holds all of its values, else text."""
    tests = {
        f"{kind} {name}": _holds(pl.col(name), kind)
        for name, kinds in asked.items()
        for kind in kinds
        if kind != "text"
    }
    if not tests:
        return {}
    found = text.select(**tests).collect(engine="streaming").row(0, named=True)
    return {
        name: next((kind for kind in kinds if found.get(f"{kind} {name}")), "text")
        for name, kinds in asked.items()
    }


def _holds(column: pl.Expr, kind: str) -> pl.Expr:
    """Whether a kind holds all values of a column of text as they are written."""
    if kind == "null":
        return column.is_null().all()
    if kind == "truth":
        return (column.is_null() | column.str.to_lowercase().is_in(["true", "false"])).all()
    whole = column.cast(pl.Int64, strict=False)
    as_written = (whole.cast(pl.String) == column).fill_null(False)
    if kind == "whole":
        return (column.is_null() | as_written).all()
    number = column.cast(pl.Float64, strict=False).is_not_null()
    digits = column.str.contains(r"^[+-]?(0\d|\d{16,}$)")
    exact = (as_written & whole.is_between(-_EXACT, _EXACT)) | (number & ~digits)
    return (column.is_null() | exact).all()


def _truth(column: pl.Expr) -> pl.Expr:
    lower = column.str.to_lowercase()
    return pl.when(lower.is_in(["true", "false"])).then(lower == "true")


# JSONL


def json_schema(url: str, opening: Open, as_text: Collection[str]) -> Schema:
    """The columns of a file of JSON objects, one a line, of types that hold all their values.

    Raises:
        ValueError: a line that is no object, names a key twice, holds half a surrogate pair or
            is too long; or lists where other lines hold single values.
    """
    kinds: dict[str, Kind] = {}
    for line, block in _blocks(url, opening):
        found = _parse(url, line, block, None).schema
        _check_keys(url, line, block, list(found))
        for name, kind in found.items():
            before = kinds.get(name, pl.Null())
            both = common_type(before, kind, lax=True)
            if both is None:
                raise ValueError(
                    f"{url}, column {name!r}, lines from {line}: expected {named(before)}, as in "
                    f"the lines before, got {named(kind)}. To mend it: write one type a column."
                )
            kinds[name] = both
    if not kinds:
        raise ValueError(
            f"{url}: expected JSON objects with keys, one a line, got none. "
            "To mend it: write the rows, or leave the file out."
        )
    return pl.Schema({n: pl.String() if n in as_text else kind for n, kind in kinds.items()})


def scan_json(url: str, opening: Open, schema: Schema, row: str) -> pl.LazyFrame:
    """A file of JSON objects in types that hold all their values, and the number of each row."""

    def frames(columns: list[str]) -> Iterator[pl.DataFrame]:
        wanted = pl.Schema({name: schema[name] for name in columns})
        for line, block in _blocks(url, opening):
            yield _parse(url, line, block, wanted)

    return scan_frames(frames, schema, row)


def _blocks(url: str, opening: Open) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some megabytes at once, with the number of the first from 0."""
    line, rest = 0, b""
    with opening() as opened:
        while True:
            read = opened.read(_BLOCK)
            if line == 0 and not rest:
                _refuse_binary(url, read)
                read = read.removeprefix(b"\xef\xbb\xbf")
            whole, newline, tail = (rest + read).rpartition(b"\n")
            if not read:
                if rest.strip():
                    yield line, rest
                return
            if newline:
                yield line, whole + newline
                line += whole.count(b"\n") + 1
            rest = tail
            if len(rest) > LONGEST_LINE:
                raise ValueError(
                    f"{url}, line {line}: expected at most {LONGEST_LINE} bytes, got a longer "
                    "line. To mend it: write one object a line."
                )


def _parse(url: str, line: int, block: bytes, schema: Schema | None) -> pl.DataFrame:
    if not block.strip():
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(io.BytesIO(block), schema=schema, infer_schema_length=None)
    except (pl.exceptions.PolarsError, RecursionError) as error:
        place, said = _first_bad_line(block)
        raise ValueError(
            f"{url}, line {line + place}: expected a JSON object, got {said or error}. "
            "To mend it: write one object a line, all with values of the same kind under a key."
        ) from error


def _first_bad_line(block: bytes) -> tuple[int, str]:
    for n, text in enumerate(block.split(b"\n")):
        if text.strip():
            try:
                if not isinstance(json.loads(text), dict):
                    return n, repr(text[:60])
            except (ValueError, RecursionError) as error:
                return n, f"{text[:60]!r} ({error})"
    return 0, ""


def _check_keys(url: str, line: int, block: bytes, names: Collection[str]) -> None:
    """Refuses a key twice in an object and half a surrogate pair, which polars would let pass."""
    lines = pl.Series(block.decode().split("\n"))
    odd = lines.str.contains(r"\\u[dD][89a-fA-F]|\\u[^\"]*\"\s*:")
    for name in names:
        told = re.escape(json.dumps(name, ensure_ascii=False))
        odd |= lines.str.count_matches(rf"{told}\s*:") > 1
    for n in odd.arg_true():
        try:
            content = json.loads(lines[n], object_pairs_hook=_once)
            json.dumps(content, ensure_ascii=False).encode()
        except ValueError as error:
            raise ValueError(
                f"{url}, line {line + n}: expected a JSON object in UTF-8 with every key once, "
                f"got {str(error)[:200]}. To mend it: write the line anew, or leave it out."
            ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} twice")
    return record
