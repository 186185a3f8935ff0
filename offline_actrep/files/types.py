"""Types of raw columns: what one type holds the values of two, and what they are called.

In annotations types are `Kind` and `Schema`, for beartype can read neither polars class.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

Kind = Any
"""A `pl.DataType`, or None where one says so."""

Schema = Mapping[str, Kind]
"""The type of every column, in their order; a `pl.Schema`."""

_BITS = {8: pl.Int8, 16: pl.Int16, 32: pl.Int32, 64: pl.Int64, 128: pl.Int128}


def without_categories(kind: Kind) -> Kind:
    """The type with text in the place of categories, in lists and structs too."""
    if isinstance(kind, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(kind, pl.List):
        return pl.List(without_categories(_inner(kind)))
    if isinstance(kind, pl.Array):
        return pl.Array(without_categories(_inner(kind)), kind.size)
    if isinstance(kind, pl.Struct):
        return pl.Struct({f.name: without_categories(_typed(f.dtype)) for f in kind.fields})
    return kind


def common_type(one: Kind, other: Kind, *, lax: bool) -> Kind:
    """A type that holds the values of both, or None.

    Args:
        one: a type.
        other: a type.
        lax: the values come from text, in which a type is only what the values look like: whole
            numbers beside others become floats, anything scalar beside text becomes text, and
            records need not name the same fields.
    """
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if one.is_integer() and other.is_integer():
        return _wider(one, other)
    numbers = one.is_numeric() and other.is_numeric()
    if numbers and (lax or (one.is_float() and other.is_float())):
        return pl.Float64()
    if isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        return _common_record(one, other, lax)
    if isinstance(one, pl.List | pl.Array) and isinstance(other, pl.List | pl.Array):
        inner = common_type(_inner(one), _inner(other), lax=lax)
        return None if inner is None else pl.List(inner)
    scalars = all(kind.is_numeric() or kind in (pl.String, pl.Boolean) for kind in (one, other))
    return pl.String() if lax and scalars else None


def element_type(kind: Kind) -> Kind:
    """What lists or arrays of this type hold; None for a type of single values."""
    return _inner(kind) if isinstance(kind, pl.List | pl.Array) else None


def named(kind: Kind) -> str:
    """A type in the words of a message."""
    return str(kind)[:80]


def _inner(kind: Kind) -> Kind:
    return _typed(kind.inner)


def _typed(kind: Kind) -> Kind:
    return kind if isinstance(kind, pl.DataType) else kind()


def _bits(kind: Kind) -> int:
    return int(str(kind).removeprefix("U").removeprefix("Int"))


def _wider(one: Kind, other: Kind) -> Kind:
    """The integer type that holds both."""
    if one.is_signed_integer() == other.is_signed_integer():
        return max(one, other, key=_bits)
    signed, unsigned = (one, other) if one.is_signed_integer() else (other, one)
    return _BITS[min(128, max(_bits(signed), 2 * _bits(unsigned)))]()


def _common_record(one: Kind, other: Kind, lax: bool) -> Kind:
    mine = {field.name: _typed(field.dtype) for field in one.fields}
    theirs = {field.name: _typed(field.dtype) for field in other.fields}
    if set(mine) != set(theirs) and not lax:
        return None
    fields = {
        name: common_type(mine.get(name, pl.Null()), theirs.get(name, pl.Null()), lax=lax)
        for name in mine | theirs
    }
    kept = {name: kind for name, kind in fields.items() if kind is not None}
    return pl.Struct(kept) if len(kept) == len(fields) else None
