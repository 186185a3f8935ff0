"""What the columns of a file may be typed as, and the one type each is cast to.

Whatever wrote a file chose among many types for the same thing (list or array, int32 or uint8,
string or categorical). Everything behind this module sees one form a column.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from offline_actrep.files.faults import refusal

VECTOR = pa.large_list(pa.float32())


@dataclass(frozen=True)
class Form:
    """What a column may be.

    Attributes:
        expected: in words.
        target: the type to cast to, or None for a type that does not fit.
        mend: how to come from a type that does not fit to one that does.
    """

    expected: str
    target: Callable[[pa.DataType], pa.DataType | None]
    mend: str


def cast(file: Path, name: str, column: pa.ChunkedArray, form: Form) -> pa.ChunkedArray:
    """A column in its canonical type, in one chunk at most.

    Raises:
        ValueError: a type that does not fit, or integers beyond 64 bits with a sign.
    """
    target = form.target(column.type)
    if target is None:
        raise refusal(file, name, form.expected, str(column.type), form.mend)
    whole = pa.types.is_integer(target) or pa.types.is_large_list(target)
    try:
        return column.cast(target, safe=whole and target != VECTOR)
    except pa.ArrowException as error:
        found = f"{column.type} ({error})"
        raise refusal(file, name, f"{form.expected}, as {target}", found, form.mend) from error


def join_scalars(columns: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Scalar columns side by side as one column of lists; a list is null where all of it is."""
    nulls = np.stack([column.is_null().to_numpy() for column in columns], axis=1)
    values = np.stack([column.cast(pa.float32(), safe=False).to_numpy() for column in columns], 1)
    flat = pa.array(values.ravel(), pa.float32(), mask=nulls.ravel(), from_pandas=False)
    lists = pa.FixedSizeListArray.from_arrays(flat, len(columns), mask=pa.array(nulls.all(axis=1)))
    return pa.chunked_array([lists.cast(VECTOR)])


def _plain(given: pa.DataType) -> pa.DataType:
    return given.value_type if pa.types.is_dictionary(given) else given


def _is_string(given: pa.DataType) -> bool:
    kind = _plain(given)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_number(given: pa.DataType) -> bool:
    """Whether a type holds numbers; booleans count as 0 and 1."""
    types = pa.types
    return (
        types.is_boolean(given)
        or types.is_integer(given)
        or types.is_floating(given)
        or types.is_decimal(given)
    )


def is_list(given: pa.DataType) -> bool:
    """Whether a type holds lists, of one length or of many."""
    types = pa.types
    return types.is_list(given) or types.is_large_list(given) or types.is_fixed_size_list(given)


def _string(given: pa.DataType) -> pa.DataType | None:
    return pa.large_string() if _is_string(given) else None


def _integer(given: pa.DataType) -> pa.DataType | None:
    return pa.int64() if pa.types.is_integer(given) else None


def _id(given: pa.DataType) -> pa.DataType | None:
    return _string(given) or _integer(_plain(given))


def _ids(given: pa.DataType) -> pa.DataType | None:
    element = _id(given.value_type) if is_list(given) else None
    return None if element is None else pa.large_list(element)


def _boolean(given: pa.DataType) -> pa.DataType | None:
    return given if pa.types.is_boolean(given) else None


def _time(given: pa.DataType) -> pa.DataType | None:
    types = pa.types
    plain = types.is_integer(given) or types.is_floating(given)
    return given if plain or types.is_timestamp(given) or types.is_date(given) else _string(given)


def _vector(given: pa.DataType) -> pa.DataType | None:
    return VECTOR if is_list(given) and is_number(given.value_type) else None


ID = Form("integers or strings", _id, "cast the ids to integers or to strings")
STRING = Form("strings", _string, "cast the column to strings")
NUMBER = Form(
    "numbers", lambda given: pa.float32() if is_number(given) else None, "cast it to float32"
)
VECTORS = Form(
    "lists of numbers",
    _vector,
    "flatten each entry to one list of float32, or name the columns",
)
END = Form("booleans", _boolean, "cast the column to booleans, for example by `column == 1`")

FORMS = {
    "episode_id": ID,
    "step": Form("integers", _integer, "number the rows of every episode 0, 1, 2, ..."),
    "observation": VECTORS,
    "action": ID,
    "reward": NUMBER,
    "terminated": END,
    "truncated": END,
    "next_observation": VECTORS,
    "action_probability": Form(
        "numbers",
        lambda given: pa.float64() if is_number(given) else None,
        "cast it to float64",
    ),
    "allowed_actions": Form("lists of action ids", _ids, "log a list of action ids a row"),
    "timestamp": Form(
        "integers, floats, strings, dates or timestamps", _time, "cast it to one of them"
    ),
    "split": STRING,
}
"""The form of every canonical column."""
