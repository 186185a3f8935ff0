"""Tables of public logs, read by their documented columns and checked cell by cell.

A public log comes as csv or parquet with the columns its publisher describes. A reader says which
of them it needs and what each may hold; whatever else a table has is not read. Cells are read as
text and cast here, so that a cell that does not fit is named with file, column and row instead of
turning a whole column into text or into nulls.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import polars as pl

from offline_actrep.files.faults import refusal

_TYPES = {
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "text": pl.String(),
    "time": pl.Datetime("us", "UTC"),
}
_WORDS = {
    "integer": "a 64-bit integer",
    "number": "a finite number",
    "text": "text",
    "time": "a time",
}
_RENAMED = re.compile(r"(.+)_duplicated_\d+")
_SHOWN = 80


@dataclass(frozen=True)
class Column:
    """What a documented column may hold.

    Attributes:
        name: as the header has it.
        kind: `integer` (64 bits with a sign), `number` (float64, finite), `text`, or `time` (in
            UTC, also where the file names no zone).
        low: the least value of an integer or number.
        high: the largest.
        among: the only values, if they are few.
        may_be_null: whether a cell may be empty.
        longest: most characters of a text.
        written: how a time is written where it is text, as `strftime` has it.
    """

    name: str
    kind: Literal["integer", "number", "text", "time"]
    low: float | int | None = None
    high: float | int | None = None
    among: tuple[str, ...] | tuple[int, ...] | None = None
    may_be_null: bool = False
    longest: int = 300
    written: str = ""

    @property
    def expected(self) -> str:
        """In words."""
        said = _WORDS[self.kind]
        if self.among is not None:
            said = "one of " + ", ".join(repr(value) for value in self.among)
        elif self.kind == "text":
            said += f" of at most {self.longest} characters"
        elif self.kind == "time" and self.written:
            said += f" written {self.written}"
        if self.low is not None:
            said += f", at least {self.low:g}"
        if self.high is not None:
            said += f", at most {self.high:g}"
        return said + (", or nothing" if self.may_be_null else "")


@dataclass(frozen=True)
class Layout:
    """How a text table is laid out.

    Attributes:
        separator: between cells; may be longer than a character.
        header: the first line names the columns; else the columns are those asked for, in order.
        quoted: double quotes may stand around a cell.
        encoding: of the text.
    """

    separator: str = ","
    header: bool = True
    quoted: bool = True
    encoding: str = "utf-8"


CSV = Layout()


def find_table(folder: str | Path, names: Sequence[str], source: str) -> Path:
    """The first of the named files that the folder holds.

    Raises:
        ValueError: none is there; says where to get it.
    """
    path = present_table(folder, names)
    if path is None:
        raise ValueError(f"{folder} holds no {' or '.join(names)}; {source}")
    return path


def present_table(folder: str | Path, names: Sequence[str]) -> Path | None:
    """As `find_table`, None where there is none."""
    return next((Path(folder) / n for n in names if (Path(folder) / n).is_file()), None)


def read_table(path: Path, columns: Sequence[Column], layout: Layout = CSV) -> pl.DataFrame:
    """The columns of a csv or parquet file, in the order asked for, in their types.

    Raises:
        ValueError: a file that cannot be read or has no rows, a column that is absent or stands
            twice, a cell that does not fit; says file, column, row from 0, what was expected, what
            there is, and how to mend it.
    """
    try:
        raw = _scan(path, [column.name for column in columns], layout)
        present = {name: _form(given) for name, given in raw.collect_schema().items()}
        _check_names(path, columns, present)
        cells = raw.select([column.name for column in columns])
        good = [_fits(c, present).alias(f"{c.name} fits") for c in columns]
        typed = [_cast(c, present).alias(c.name) for c in columns]
        # polars passes over a row with too many cells where it reads only some columns of a csv
        whole = pl.QueryOptFlags(projection_pushdown=path.suffix == ".parquet")
        read = cells.select(*typed, *good).collect(optimizations=whole)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} cannot be read as a table: {said}. To mend it: get the file again from its "
            "publisher."
        ) from error
    if not len(read):
        raise ValueError(f"{path} has a header and no rows, expected at least one row")
    for column in columns:
        bad = ~read[f"{column.name} fits"]
        if bad.any():
            row = int(bad.arg_true()[0])
            cell = cells.select(column.name).slice(row, 1).collect().item()
            raise _misfit(path, column, row, cell, int(bad.sum()))
    return read.select(column.name for column in columns)


def refuse_rows(
    path: Path, column: str, bad: pl.Series, expected: str, found: pl.Series, mend: str
) -> None:
    """Refuses the first row that is marked.

    Raises:
        ValueError: there is one; says file, column, row, what was expected, what there is.
    """
    if bad.any():
        row = int(bad.arg_true()[0])
        more = f" ({int(bad.sum())} such rows in all)" if bad.sum() > 1 else ""
        raise refusal(path, column, expected, f"{_show(found[row])}{more}", mend, row)


def refuse_repeats(path: Path, key: pl.Series) -> None:
    """Refuses a table in which a key stands twice.

    Raises:
        ValueError: says the later row of the first that does.
    """
    refuse_rows(path, key.name, ~key.is_first_distinct(), "each once", key, "drop the repeated row")


def refuse_unknown(path: Path, key: pl.Series, known: pl.Series, table: Path) -> None:
    """Refuses a row that names what the other table does not have.

    Raises:
        ValueError: says row, what it names, and the table that lacks it.
    """
    unknown = ~key.is_in(known.implode())
    mend = "take both files of one release, or drop the rows"
    refuse_rows(path, key.name, unknown, f"one that {table.name} has", key, mend)


def _form(given: object) -> str:
    """What a column's type means for casting it."""
    if isinstance(given, pl.String):
        return "text"
    if isinstance(given, pl.Float32 | pl.Float64):
        return "float"
    if isinstance(given, pl.Datetime):
        return "time" if given.time_zone is None else "zoned time"
    nested = isinstance(given, pl.List | pl.Array | pl.Struct | pl.Object)
    return "nested values" if nested else "other"


def _scan(path: Path, names: list[str], layout: Layout) -> pl.LazyFrame:
    """Text tables have text in every column; parquet has its own types."""
    if path.suffix == ".parquet":
        return pl.scan_parquet(path)
    source: Path | BytesIO = path
    separator = layout.separator
    if len(separator) > 1 or layout.encoding != "utf-8":
        text = path.read_bytes().decode(layout.encoding)
        source = BytesIO(text.replace(separator, "\x1f").encode())
        separator = "\x1f"
    return pl.scan_csv(
        source,
        separator=separator,
        has_header=layout.header,
        new_columns=None if layout.header else names,
        quote_char='"' if layout.quoted else None,
        infer_schema=False,
        glob=False,
    )


def _check_names(path: Path, columns: Sequence[Column], present: dict[str, str]) -> None:
    wanted = {column.name for column in columns}
    twice = [match[1] for name in present if (match := _RENAMED.fullmatch(name))]
    for name in twice:
        if name in wanted:
            raise ValueError(f"{path} has the column {name!r} more than once, expected it once")
    lacking = [column.name for column in columns if column.name not in present]
    if lacking:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(lacking)}; it has {_names(list(present))}"
        )
    for column in columns:
        if present[column.name] == "nested values":
            mend = "unpack the column"
            raise refusal(path, column.name, column.expected, "nested values", mend)


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:30])
    return f"{shown}, .. ({len(names)} in all)" if len(names) > 30 else shown


def _cast(column: Column, present: dict[str, str]) -> pl.Expr:
    given = present[column.name]
    cell, target = pl.col(column.name), _TYPES[column.kind]
    if column.kind != "time" or given not in ("text", "time", "zoned time"):
        return cell.cast(target, strict=False)
    has_zone = given == "zoned time"
    if given == "text":
        cell = cell.str.to_datetime(column.written, time_unit="us", strict=False)
        has_zone = "%z" in column.written or "%:z" in column.written
    return (cell if has_zone else cell.dt.replace_time_zone("UTC")).cast(target, strict=False)


def _fits(column: Column, present: dict[str, str]) -> pl.Expr:
    """Whether a cell is what the column may hold; a null that may not be does not fit."""
    cell = pl.col(column.name)
    typed = _cast(column, present)
    good = typed.is_not_null()
    if column.kind == "number":
        good = good & typed.is_finite()
    if column.kind == "integer" and present[column.name] == "float":
        good = good & (cell == cell.round())
    if column.kind == "text":
        good = good & (typed.str.len_chars() <= column.longest)
    if column.low is not None:
        good = good & (typed >= column.low)
    if column.high is not None:
        good = good & (typed <= column.high)
    if column.among is not None:
        good = good & typed.is_in(list(column.among))
    good = good.fill_null(False)
    return good | cell.is_null() if column.may_be_null else good


def _misfit(path: Path, column: Column, row: int, cell: object, count: int) -> ValueError:
    more = f" ({count} such rows in all)" if count > 1 else ""
    mend = "drop the row, or get the file again if it should hold a value"
    return refusal(path, column.name, column.expected, f"{_show(cell)}{more}", mend, row)


def _show(cell: object) -> str:
    if cell is None:
        return "nothing"
    said = repr(cell.to_list() if isinstance(cell, pl.Series) else cell)
    return said if len(said) <= _SHOWN else f"{said[:_SHOWN]}.."
