"""What is said of rows that break a rule: file, column, row, expected, found, how to mend."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64

Labels = Mapping[str, str | list[str]]
"""Canonical column -> the user's column, or columns, for those that are there."""


@dataclass(frozen=True, eq=False)
class Fault:
    """Rows that break one rule.

    Attributes:
        rule: its name in `rules.RULES`.
        column: the user's name of the column.
        rows: `[K]` the rows of the log, ascending.
        expected: what the first of them should hold.
        found: what it holds.
        mend: what to do about it.
    """

    rule: str
    column: str
    rows: Int64[np.ndarray, " K"]
    expected: str
    found: str
    mend: str


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the rows of a log lie: file f holds rows `starts[f]:starts[f + 1]`."""

    files: tuple[Path, ...]
    starts: Int64[np.ndarray, " F_plus_1"]

    def locate(self, row: int) -> tuple[Path, int]:
        """The file of a row, and the row's number within it, from 0."""
        file = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.files[file], row - int(self.starts[file])


def refusal(
    file: Path, column: str, expected: str, found: str, mend: str, row: int | None = None
) -> ValueError:
    """The error for a column of a file, or for a row of it."""
    place = f"{file}, column {column!r}" + ("" if row is None else f", row {row}")
    return ValueError(f"{place}: expected {expected}, got {found}. To mend it: {mend}.")


def refuse(faults: Iterable[Fault], origin: Origin) -> None:
    """Raises the first fault.

    Raises:
        ValueError: there is one; says file, column, row, what was expected, what there is.
    """
    for fault in faults:
        file, row = origin.locate(int(fault.rows[0]))
        more = f" ({len(fault.rows)} such rows in all)" if len(fault.rows) > 1 else ""
        raise refusal(file, fault.column, fault.expected, fault.found + more, fault.mend, row)


def label(names: str | list[str]) -> str:
    """The user's column, or several with commas, as one name."""
    return names if isinstance(names, str) else ", ".join(names)


def find_faults(
    rule: str,
    column: str,
    bad: Bool[np.ndarray, " N"],
    tell: Callable[[int], tuple[str, str]],
    mend: str,
) -> Iterator[Fault]:
    """One fault for the marked rows, if any; `tell(row)` gives what was expected and found."""
    rows = np.flatnonzero(bad)
    if len(rows):
        expected, found = tell(int(rows[0]))
        yield Fault(rule, column, rows, expected, found, mend)
