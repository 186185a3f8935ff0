"""One observation from many columns: numbers, lists, categories one-hot or as given vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from offline_actrep.files.casting import ID, SINGLE, Cast, Lost, cast_list, cast_scalar
from offline_actrep.files.toml import Strict
from offline_actrep.files.types import Kind, Schema, element_type, named

Category = StrictBool | StrictInt | StrictStr
Vector = Annotated[tuple[float, ...], Field(min_length=1)]


class Part(Strict):
    """An entry of `[[observation]]`: one column, and how it becomes numbers.

    Alone, `column` is a number, or a list of `size` numbers. Categories are compared as text, so
    3, 3.0 and "3" are one. A null is never a category: give it a name by an expression, such as
    `COALESCE(country, 'none')`.
    """

    column: str
    """Of the files, or derived."""
    size: Annotated[int, Field(ge=1)] | None = None
    """How many numbers each list holds; needed for lists among other parts."""
    one_hot: Annotated[tuple[Category, ...], Field(min_length=1)] | None = None
    """The categories, each a number of the observation that is 1 or 0."""
    vectors: Annotated[dict[str, Vector], Field(min_length=1)] | None = None
    """The vector of every category; or a parquet or csv file of them, with the categories in the
    column `category` and a number of the vector in every other one."""
    other: bool | Vector = False
    """What a category not listed becomes: true for a number of its own after the one-hot ones, a
    vector beside `vectors`; false makes it a fault of its row."""

    @field_validator("vectors", mode="before")
    @classmethod
    def _load(cls, given: Any) -> Any:
        return read_vectors(Path(given)) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _consistent(self) -> "Part":
        ways = [w for w in ("size", "one_hot", "vectors") if getattr(self, w) is not None]
        if len(ways) > 1:
            raise ValueError(f"column {self.column!r}: {' and '.join(ways)}; choose one of them")
        if len(set(self.categories)) < len(self.categories):
            twice = next(c for c in self.categories if self.categories.count(c) > 1)
            raise ValueError(f"column {self.column!r}: the category {twice!r} stands twice")
        if self.vectors is not None:
            vectors = [*self.vectors.values(), *([] if self.other is False else [self.other])]
            lengths = sorted({len(v) if isinstance(v, tuple) else 0 for v in vectors})
            if len(lengths) > 1:
                raise ValueError(
                    f"column {self.column!r}: vectors and other must all be lists of numbers of "
                    f"one length; there are {lengths}"
                )
        elif self.other is not False and (self.one_hot is None or self.other is not True):
            raise ValueError(
                f"column {self.column!r}: other is true beside one_hot, a vector beside vectors"
            )
        return self

    @property
    def categories(self) -> list[str]:
        """As text, in order."""
        if self.one_hot is not None:
            return [str(c).lower() if isinstance(c, bool) else str(c) for c in self.one_hot]
        return list(self.vectors or ())

    @property
    def names(self) -> list[str]:
        """A name for every number, as far as the part itself says how many there are."""
        if self.one_hot is not None:
            others = ["other"] if self.other else []
            return [f"{self.column}={c}" for c in self.categories + others]
        if self.vectors is not None:
            size: int | None = len(next(iter(self.vectors.values())))
        else:
            size = self.size
        return [self.column] if size is None else [f"{self.column}[{i}]" for i in range(size)]


def read_vectors(file: Path) -> dict[str, tuple[float, ...]]:
    """A table of vectors.

    Raises:
        ValueError: no such file, no column `category`, or a column that is not numbers.
    """
    try:
        table = pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"{file}: cannot be read as a table of vectors: {error}") from error
    rest = [name for name in table.columns if name != "category"]
    numbers = all(table.schema[name].is_numeric() for name in rest)
    if "category" not in table.columns or not rest or not numbers:
        raise ValueError(
            f"{file}: expected a column 'category' and columns of numbers, got "
            f"{', '.join(f'{n} ({named(k)})' for n, k in table.schema.items())}"
        )
    keys = table["category"].cast(pl.String).to_list()
    if len(set(keys)) < len(keys) or None in keys:
        raise ValueError(f"{file}, column 'category': expected every category once, and no null")
    values = table.select(pl.col(rest).cast(pl.Float64)).rows()
    if any(value is None for row in values for value in row):
        raise ValueError(f"{file}: expected a number in every place, got a null")
    return dict(zip(keys, values, strict=True))


@dataclass(frozen=True)
class Observed:
    """How an observation is put together.

    Attributes:
        codes: columns to compute first, by name.
        cast: `pl.Array(Float32)` made of raw columns and these; null where a part is no list of
            its size.
        names: a name for every number.
    """

    codes: Mapping[str, pl.Expr]
    cast: Cast
    names: tuple[str, ...]


def observe(parts: Sequence[Part], schema: Schema, label: str) -> Observed:
    """The observation of the parts, in their order.

    Args:
        parts: at least one; their columns are in the schema.
        schema: of the raw and derived columns.
        label: `observation` or `next_observation`; for messages and names of codes.

    Raises:
        ValueError: a column of a type that the part cannot use, or a list without `size`.
    """
    codes: dict[str, pl.Expr] = {}
    numbers: list[pl.Expr] = []
    lost: list[Lost] = []
    for n, part in enumerate(parts):
        place, kind = f"{label}.{part.column}", schema[part.column]
        if part.categories:
            code = f"_oar_{label}_{n}"
            text = cast_scalar(place, *_as_text(pl.col(part.column), kind, place), ID)
            codes[code] = _code(part, text.values)
            unknown = pl.col(part.column).is_not_null() & pl.col(code).is_null()
            lost.append(Lost(place, unknown, pl.col(part.column).cast(pl.String)))
            numbers += _category(part, pl.col(code))
            continue
        cast = _plain(part, kind, place)
        numbers.append(cast.values)
        lost += cast.lost
    names = tuple(name for part in parts for name in part.names)
    return Observed(codes, Cast(pl.concat_arr(numbers), tuple(lost)), names)


def _plain(part: Part, kind: Kind, place: str) -> Cast:
    """A column of numbers, or of lists of a known size."""
    column = pl.col(part.column)
    if part.size is None and element_type(kind) is None:
        return cast_scalar(place, column, kind, SINGLE)
    if part.size is None:
        size = f"size = {kind.size}" if isinstance(kind, pl.Array) else "size = ..."
        raise ValueError(
            f"{place}: expected a number, got {named(kind)}. To mend it: say how many numbers "
            f"each list holds: {size}."
        )
    cast = cast_list(place, column, kind, SINGLE)
    fits = cast.values.list.len() == part.size
    odd = column.is_not_null() & ~fits.fill_null(False)
    found = pl.format("a list of {}", cast.values.list.len().fill_null(0))
    right = pl.when(fits).then(cast.values).list.to_array(part.size)
    return Cast(right, (*cast.lost, Lost(place, odd, found)))


def _as_text(column: pl.Expr, kind: Kind, place: str) -> tuple[pl.Expr, Kind]:
    """A column of categories, and its type, where truths count as text."""
    if kind == pl.Boolean:
        return column.cast(pl.String), pl.String()
    if kind.is_nested():
        raise ValueError(
            f"{place}: expected single values as categories, got {named(kind)}. To mend it: "
            "derive a column of one value in [derived]."
        )
    return column, kind


def _code(part: Part, values: pl.Expr) -> pl.Expr:
    known = part.categories
    code = values.cast(pl.String).replace_strict(
        known, range(len(known)), default=None, return_dtype=pl.Int32
    )
    if part.other is False:
        return code
    return pl.when(values.is_not_null()).then(code.fill_null(len(known)))


def _category(part: Part, code: pl.Expr) -> list[pl.Expr]:
    """The numbers of a category's code; null where it is."""
    if part.vectors is None:
        return [(code == n).cast(pl.Float32) for n in range(len(part.names))]
    vectors = [*part.vectors.values()]
    if isinstance(part.other, tuple):
        vectors.append(part.other)
    return [
        code.replace_strict(
            range(len(vectors)), list(numbers), default=None, return_dtype=pl.Float32
        )
        for numbers in zip(*vectors, strict=True)
    ]
