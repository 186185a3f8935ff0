"""Raw values -> the type that a field has: what does not fit becomes null and is remembered.

A value is never changed to fit. A float is an id only where it is whole and below 2^53, so that
no two ids become one; text is a number only where all of it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from offline_actrep.files.types import Kind, element_type, named

EXACT = 1 << 53
"""Whole floats below it stand for one whole number each."""

_BETWEEN = "\x1f"
_ITEM = r"""(?:"[^"\\]*"|'[^'\\]*'|[^,"'\s][^,]*)"""
_ITEMS = rf"^\s*{_ITEM}\s*(?:,\s*{_ITEM}\s*)*$"
_QUOTED = r"""^(?:"(.*)"|'(.*)')$"""


@dataclass(frozen=True)
class Lost:
    """Values of one column that a field could not take.

    Attributes:
        label: what to call the column: a field, or `observation.` and a column's name.
        rows: a boolean a row, true where the value is lost.
        value: the value as text.
    """

    label: str
    rows: pl.Expr
    value: pl.Expr


@dataclass(frozen=True)
class Cast:
    """A column in its field's type.

    Attributes:
        values: an expression of that type; null where there is nothing, or nothing that fits.
        lost: what did not fit; empty where the type of the column says that all does.
    """

    values: pl.Expr
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a field takes.

    Attributes:
        expected: in words.
        convert: `(column, its type)` -> the column in the field's type, null where a value does
            not fit, or None for a type of which no value does.
        takes_all: whether all values of a type fit.
    """

    expected: str
    convert: Callable[[pl.Expr, Kind], pl.Expr | None]
    takes_all: Callable[[Kind], bool]


def cast_scalar(label: str, column: pl.Expr, kind: Kind, target: Target) -> Cast:
    """A column of single values.

    Raises:
        ValueError: its type is none that the target takes.
    """
    if kind == pl.Null:
        column, kind = column.cast(pl.String), pl.String()
    values = target.convert(column, kind)
    if values is None:
        raise _unfit(label, target.expected, kind)
    if target.takes_all(kind):
        return Cast(values)
    gone = column.is_not_null() & values.is_null()
    return Cast(values, (Lost(label, gone, as_shown(column, kind)),))


def cast_list(label: str, column: pl.Expr, kind: Kind, target: Target) -> Cast:
    """A column of lists, of arrays, or of text like `[1, 2]`; what does not fit is null in it.

    Raises:
        ValueError: its type is none of these, or its elements' none that the target takes.
    """
    if kind == pl.Null:
        column, kind = column.cast(pl.String), pl.String()
    lists, inner = column, element_type(kind)
    if isinstance(kind, pl.Array):
        lists = column.arr.to_list()
    elif kind == pl.String:
        lists, inner = _listed(column), pl.String()
    if inner == pl.Null:
        lists, inner = lists.cast(pl.List(pl.String)), pl.String()
    elements = None if inner is None else target.convert(pl.element(), inner)
    if inner is None or elements is None:
        raise _unfit(label, f"lists of {target.expected}", kind)
    values = lists.list.eval(elements)
    if kind != pl.String and target.takes_all(inner):
        return Cast(values)
    fewer = values.list.drop_nulls().list.len() < lists.list.drop_nulls().list.len()
    gone = fewer.fill_null(False) | (column.is_not_null() & values.is_null())
    return Cast(values, (Lost(label, gone, as_shown(column, kind)),))


def told(lost: tuple[Lost, ...]) -> tuple[pl.Expr, pl.Expr]:
    """Two columns of lists of text: the labels of what a row lost, and the values, in one order.

    Both are null in a row that lost nothing.
    """
    if not lost:
        nothing = pl.lit(None, pl.List(pl.String))
        return nothing, nothing
    some = pl.any_horizontal(one.rows for one in lost)
    labels = [pl.when(one.rows).then(pl.lit(one.label.replace(_BETWEEN, " "))) for one in lost]
    values = [
        pl.when(one.rows).then(
            one.value.fill_null("null").str.slice(0, 80).str.replace_all(_BETWEEN, " ")
        )
        for one in lost
    ]
    # joined and split again: some ten times as fast as a list of each row's own
    labelled, valued = (
        pl.when(some).then(pl.concat_str(texts, separator=_BETWEEN, ignore_nulls=True))
        for texts in (labels, values)
    )
    return labelled.str.split(_BETWEEN), valued.str.split(_BETWEEN)


def as_shown(column: pl.Expr, kind: Kind) -> pl.Expr:
    """Values as text for messages."""
    if element_type(kind) is None:
        return column.cast(pl.String, strict=False)
    lists = column.arr.to_list() if isinstance(kind, pl.Array) else column
    return pl.format("[{}]", lists.cast(pl.List(pl.String), strict=False).list.join(", "))


# What fields take.


def _fits_64_bits(kind: Kind) -> bool:
    return kind.is_integer() and kind not in (pl.UInt64, pl.Int128, pl.UInt128)


def _is_number(kind: Kind) -> bool:
    return kind.is_numeric() or kind == pl.Boolean


def _whole(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    if kind.is_float():
        exact = column.is_finite() & (column == column.floor()) & (column.abs() < EXACT)
        return pl.when(exact).then(column).cast(pl.Int64, strict=False)
    known = kind.is_integer() or kind == pl.String
    return column.cast(pl.Int64, strict=False) if known else None


def _id(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    return column if kind == pl.String else _whole(column, kind)


def _text(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    return column if kind == pl.String else None


def _single(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    double = _double(column, kind)
    if kind == pl.Float32:
        return column
    return None if double is None else double.cast(pl.Float32, strict=False)


def _double(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    known = kind == pl.String or _is_number(kind)
    return column.cast(pl.Float64, strict=False) if known else None


def _truth(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    if kind == pl.Boolean:
        return column
    if kind == pl.String:
        lower = column.str.to_lowercase()
        yes, no = lower.is_in(["true", "1"]), lower.is_in(["false", "0"])
    elif kind.is_numeric():
        yes, no = column == 1, column == 0
    else:
        return None
    return pl.when(yes).then(True).when(no).then(False)


def _logged_time(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    if isinstance(kind, pl.Datetime):
        return _in_utc(column, kind)
    if kind.is_integer():
        return column.cast(pl.Int64, strict=False)
    return column if kind.is_float() or kind in (pl.String, pl.Date) else None


def _order(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    if kind.is_integer():
        return column.cast(pl.Int64, strict=False)
    if kind.is_float():
        return pl.when(column.is_finite()).then(column).cast(pl.Float64)
    return _time(column, kind)


def _time(column: pl.Expr, kind: Kind) -> pl.Expr | None:
    if isinstance(kind, pl.Datetime):
        return _in_utc(column, kind)
    if kind == pl.Date:
        return column.cast(pl.Datetime("us"))
    return iso_time(column) if kind == pl.String else None


def iso_time(column: pl.Expr) -> pl.Expr:
    """Text in ISO 8601 as Datetime in microseconds: with a zone in UTC, else as it stands."""
    told = column.str.replace(" ", "T", literal=True).str.replace(r"\s*(Z|UTC)$", "+00:00")
    zoned = (
        told.str.to_datetime(form, time_unit="us", time_zone="UTC", strict=False)
        for form in ("%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z")
    )
    return pl.coalesce(
        told.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False),
        *(times.dt.replace_time_zone(None) for times in zoned),
        told.str.to_datetime("%Y-%m-%dT%H:%M", time_unit="us", strict=False),
        told.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us")),
    )


def _in_utc(column: pl.Expr, kind: Kind) -> pl.Expr:
    if kind.time_zone is None:
        return column
    return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)


def _listed(column: pl.Expr) -> pl.Expr:
    """Text like `[1, 2]` or `["a", "b, c"]` as lists of text; null where it is none."""
    inside = column.str.extract(r"^\s*\[(.*)\]\s*$", 1)
    cut = inside.str.split(",").list.eval(pl.element().str.strip_chars())
    quoted = pl.when(inside.str.contains("[\"']")).then(inside)
    whole = pl.when(quoted.str.contains(_ITEMS)).then(quoted)
    items = whole.str.extract_all(_ITEM).list.eval(
        pl.element().str.strip_chars().str.replace(_QUOTED, "$1$2")
    )
    empty = pl.lit([], pl.List(pl.String))
    cut = pl.when(quoted.is_null()).then(cut).otherwise(items)
    return pl.when(inside.str.strip_chars() == "").then(empty).otherwise(cut)


ID = Target("ids (text or whole numbers)", _id, lambda k: k == pl.String or _fits_64_bits(k))
WHOLE = Target("whole numbers", _whole, _fits_64_bits)
TEXT = Target("text", _text, lambda kind: kind == pl.String)
SINGLE = Target("numbers", _single, _is_number)
DOUBLE = Target("numbers", _double, _is_number)
TRUTH = Target("true or false (or 1 and 0)", _truth, lambda kind: kind == pl.Boolean)
LOGGED_TIME = Target(
    "numbers, text, dates or times",
    _logged_time,
    lambda kind: not kind.is_integer() or _fits_64_bits(kind),
)
ORDER = Target(
    "whole numbers, numbers, dates, times, or text in ISO 8601",
    _order,
    lambda kind: kind.is_temporal() or _fits_64_bits(kind),
)
TIME = Target("dates, times, or text in ISO 8601", _time, lambda kind: kind.is_temporal())
ANYTHING = Target(
    "single values",
    lambda column, kind: None if kind.is_nested() else column.cast(pl.String, strict=False),
    lambda kind: not kind.is_nested(),
)

DECLARED = {
    "bool": TRUTH,
    "int64": WHOLE,
    "float64": DOUBLE,
    "string": ANYTHING,
    "datetime": TIME,
}
"""What `[types]` may declare; `datetime` may be followed by a format such as `%d.%m.%Y`."""


def declared(form: str) -> Target:
    """The target of a declared type."""
    word, _, pattern = form.partition(" ")
    if not pattern:
        return DECLARED[word]

    def in_format(column: pl.Expr, kind: Kind) -> pl.Expr | None:
        if kind != pl.String:
            return _time(column, kind)
        return column.str.to_datetime(pattern, time_unit="us", strict=False)

    return Target(f"text like {pattern}", in_format, TIME.takes_all)


def _unfit(label: str, expected: str, kind: Kind) -> ValueError:
    return ValueError(
        f"{label}: expected {expected}, got {named(kind)}. To mend it: name another column in "
        "[columns], or derive one in [derived]."
    )
