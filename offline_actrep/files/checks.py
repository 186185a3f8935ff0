"""The rules that the rows of a log keep, and what is said when they do not.

Reading has a seam in the middle: canonical arrow table -> `value_faults` -> `Columns` ->
`row_faults`, `action_faults` -> Log. A rule yields the rows that break it, and each rule may count
on those before it; so whoever reads refuses the first fault, and whoever cleans can drop its rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions

Labels = Mapping[str, str | list[str]]
"""Canonical column -> the user's column, or columns, for those that are there."""

_DROP = "give it a value, or drop the whole episode"


@dataclass(frozen=True, eq=False)
class Fault:
    """Rows that break one rule.

    Attributes:
        column: the user's name of the column.
        rows: `[K]` the rows of the log, ascending.
        expected: what the first of them should hold.
        found: what it holds.
        mend: what to do about it.
    """

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


@dataclass(frozen=True, eq=False)
class Ids:
    """A column of ids: row n holds `vocabulary[codes[n]]`; the vocabulary holds no other ids."""

    codes: Int64[np.ndarray, " N"]
    vocabulary: np.ndarray

    def encode(
        self, action_set: ActionSet
    ) -> tuple[Int64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Dense action indices, and which ids are known (index 0 stands where one is not)."""
        indices, known = action_set.find(self.vocabulary)
        return indices[self.codes], known[self.codes]

    def show(self, n: int) -> str:
        """The id of row n, quoted where it is a string."""
        return repr(self.vocabulary[self.codes[n]].item())


@dataclass(frozen=True, eq=False)
class Columns:
    """A log's columns as arrays, free of nulls and of odd lengths; no other rule was asked yet.

    Attributes:
        labels: the user's names of the columns that are there.
        next_given: `[N]` rows whose next observation the file states; elsewhere
            `next_observations` means nothing.
        allowed: CSR offsets `[N + 1]` and the ids they cut, or None.
        The rest: as in `Log`, with ids as logged.
    """

    labels: Labels
    episode_ids: Ids
    steps: Int64[np.ndarray, " N"]
    observations: Float32[np.ndarray, "N S"]
    actions: Ids
    rewards: Float32[np.ndarray, " N"]
    terminated: Bool[np.ndarray, " N"]
    truncated: Bool[np.ndarray, " N"]
    next_observations: Float32[np.ndarray, "N S"]
    next_given: Bool[np.ndarray, " N"]
    action_probabilities: Float64[np.ndarray, " N"] | None
    allowed: tuple[Int64[np.ndarray, " N_plus_1"], Ids] | None
    timestamps: np.ndarray | None
    splits: np.ndarray | None
    observation_names: tuple[str, ...]

    @cached_property
    def firsts(self) -> Bool[np.ndarray, " N"]:
        """Whether another episode than in the row above begins here."""
        codes = self.episode_ids.codes
        return np.concatenate([[True], codes[1:] != codes[:-1]])

    @cached_property
    def lasts(self) -> Bool[np.ndarray, " N"]:
        """Whether the row below is of another episode, or there is none."""
        return np.append(self.firsts[1:], True)


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
    column: str,
    bad: Bool[np.ndarray, " N"],
    tell: Callable[[int], tuple[str, str]],
    mend: str,
) -> Iterator[Fault]:
    """One fault for the marked rows, if any; `tell(row)` gives what was expected and found."""
    rows = np.flatnonzero(bad)
    if len(rows):
        expected, found = tell(int(rows[0]))
        yield Fault(column, rows, expected, found, mend)


# Rules of single values, asked of the table.


def value_faults(table: pa.Table, labels: Labels) -> Iterator[Fault]:
    """Nulls, numbers that are not finite and lists of unequal lengths, column by column."""
    size = _usual_length(table["observation"])
    for field in table.column_names:
        names, column = labels[field], table[field]
        if field != "next_observation":
            yield from null_faults(label(names), column)
        if field in ("observation", "next_observation"):
            yield from vector_faults(names, column, size)
        elif pa.types.is_large_list(column.type):
            yield from _element_null_faults(label(names), column)
        elif pa.types.is_floating(column.type):
            yield from finite_faults(label(names), column)


def null_faults(name: str, column: pa.ChunkedArray) -> Iterator[Fault]:
    """Rows that hold nothing."""
    bad = column.is_null().to_numpy()
    yield from find_faults(name, bad, lambda n: ("a value", "null"), _DROP)


def finite_faults(name: str, column: pa.ChunkedArray) -> Iterator[Fault]:
    """Rows of a column of numbers that hold NaN or an infinity."""
    values = column.to_numpy()
    bad = ~np.isfinite(values)
    yield from find_faults(name, bad, lambda n: ("a finite number", str(values[n])), _DROP)


def vector_faults(
    names: str | list[str], column: pa.ChunkedArray, size: int | None = None
) -> Iterator[Fault]:
    """Lists not `size` long (as most are, when not given), then elements that are no finite number.

    A null in the place of a whole list is let pass.
    """
    size = _usual_length(column) if size is None else size
    lists = column.combine_chunks()
    lengths = lists.value_lengths().fill_null(size).to_numpy(zero_copy_only=False)
    yield from find_faults(
        label(names),
        lengths != size,
        lambda n: (f"a list of {size} numbers, as in most rows", f"{lengths[n]}"),
        "make all lists equally long, or drop the whole episode",
    )
    elements = lists.flatten()
    bad = np.flatnonzero(~np.isfinite(elements.to_numpy(zero_copy_only=False)))
    if len(bad):
        rows = _row_of_element(lists)
        place = int(bad[0] - np.searchsorted(rows, rows[bad[0]]))
        value = elements[int(bad[0])].as_py()
        yield Fault(
            names if isinstance(names, str) else names[place],
            np.unique(rows[bad]),
            "a finite number",
            f"{'null' if value is None else value}"
            + (f" at place {place} of the list" if isinstance(names, str) else ""),
            _DROP,
        )


def _element_null_faults(name: str, column: pa.ChunkedArray) -> Iterator[Fault]:
    lists = column.combine_chunks()
    bad = np.zeros(len(lists), bool)
    bad[_row_of_element(lists)[lists.flatten().is_null().to_numpy(zero_copy_only=False)]] = True
    yield from find_faults(
        name, bad, lambda n: ("a list of action ids", str(lists[n].as_py())[:80]), _DROP
    )


def _row_of_element(lists: pa.LargeListArray) -> Int64[np.ndarray, " M"]:
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


def _usual_length(column: pa.ChunkedArray) -> int:
    """The commonest length of the lists, at least 1."""
    lengths = column.combine_chunks().value_lengths().drop_null().to_numpy()
    return max(1, int(np.bincount(lengths).argmax())) if len(lengths) else 1


# Rules of rows beside one another, asked of the arrays.


def row_faults(columns: Columns) -> Iterator[Fault]:
    """Episodes and steps out of order, wrong ends, wrong probabilities, states that do not join."""
    yield from _order_faults(columns)
    yield from _end_faults(columns)
    yield from _probability_faults(columns)
    yield from _alignment_faults(columns)


def _order_faults(columns: Columns) -> Iterator[Fault]:
    episodes, steps = columns.episode_ids, columns.steps
    name = label(columns.labels["episode_id"]), label(columns.labels["step"])
    sort = f"sort the rows by {name[0]} and {name[1]}, across all files"
    starts = np.flatnonzero(columns.firsts)
    _, first_seen = np.unique(episodes.codes[starts], return_index=True)
    again = columns.firsts.copy()
    again[starts[first_seen]] = False
    yield from find_faults(
        name[0],
        again,
        lambda n: ("every episode in one piece", f"episode {episodes.show(n)} a second time"),
        f"{sort}; where two episodes share an id, give one of them another",
    )
    broken = np.concatenate([[False], ~columns.firsts[1:] & (np.diff(steps) != 1)])
    yield from find_faults(
        name[1],
        broken,
        lambda n: (
            f"step {steps[n - 1] + 1} after step {steps[n - 1]} of episode {episodes.show(n)}",
            f"step {steps[n]}",
        ),
        f"{sort}; drop rows that stand twice; where rows are lost, give what follows the gap "
        f"another {name[0]}",
    )


def _end_faults(columns: Columns) -> Iterator[Fault]:
    show = columns.episode_ids.show
    terminated = label(columns.labels["terminated"])
    truncated = label(columns.labels.get("truncated", "truncated"))
    yield from find_faults(
        truncated,
        columns.terminated & columns.truncated,
        lambda n: ("false in a row that is terminated", "true"),
        f"leave {truncated!r} true only where an episode was cut off before a terminal state",
    )
    ends = columns.terminated | columns.truncated
    yield from find_faults(
        terminated,
        ends & ~columns.lasts,
        lambda n: (f"the end of episode {show(n)} in its last row only", "an end before it"),
        "mark the last row alone, or give the rows after the end an episode id of their own",
    )
    yield from find_faults(
        terminated,
        columns.lasts & ~ends,
        lambda n: (f"an end in the last row of episode {show(n)}", "none"),
        "mark the row as terminated, or as cut off: "
        + (
            f"set {truncated!r} to true there"
            if "truncated" in columns.labels
            else "add a boolean column 'truncated' that is true there"
        ),
    )


def _probability_faults(columns: Columns) -> Iterator[Fault]:
    p = columns.action_probabilities
    if p is not None:
        yield from find_faults(
            label(columns.labels["action_probability"]),
            ~((p > 0) & (p <= 1)),
            lambda n: ("a probability in (0, 1]", str(p[n])),
            "log the probability with which the logged action was drawn, or leave the column out",
        )


def _alignment_faults(columns: Columns) -> Iterator[Fault]:
    here = np.flatnonzero(columns.next_given & ~columns.lasts)
    stated, there = columns.next_observations[here], columns.observations[here + 1]
    bad = np.zeros(len(columns.next_given), bool)
    bad[here] = ~aligned(stated, there)

    def tell(n: int) -> tuple[str, str]:
        stated, there = columns.next_observations[n], columns.observations[n + 1]
        place = int(np.abs(stated - there).argmax())
        return f"{there[place]} at place {place}, as the next row observes", str(stated[place])

    yield from find_faults(
        label(columns.labels.get("next_observation", "next_observation")),
        bad,
        tell,
        "sort the rows, or give an episode that jumps a new id where it does; a null means "
        "the next row's observation",
    )


def aligned(
    stated: Float32[np.ndarray, "N S"], there: Float32[np.ndarray, "N S"]
) -> Bool[np.ndarray, " N"]:
    """Whether a stated next observation is, rounding apart, the one that follows."""
    return np.isclose(stated, there, rtol=1e-4, atol=1e-5).all(axis=1)


def action_faults(columns: Columns, action_set: ActionSet) -> Iterator[Fault]:
    """Ids that the action table lacks, and allowed actions without the one that was taken."""
    actions, known = columns.actions.encode(action_set)
    ids = action_set.ids
    expected = f"one of the {len(ids)} actions of the action table"
    mend = "add the action to the table, or drop the whole episode"
    yield from find_faults(
        label(columns.labels["action"]),
        ~known,
        lambda n: (expected, f"action {columns.actions.show(n)}"),
        mend,
    )
    if columns.allowed is None:
        return
    offsets, allowed_ids = columns.allowed
    name = label(columns.labels["allowed_actions"])
    allowed, known = allowed_ids.encode(action_set)
    rows = np.repeat(np.arange(len(actions)), np.diff(offsets))
    if not known.all():
        found = f"action {allowed_ids.show(int(np.flatnonzero(~known)[0]))}"
        yield Fault(name, np.unique(rows[~known]), expected, found, mend)
    lacking = ~AllowedActions(offsets, allowed).holds(actions)
    yield from find_faults(
        name,
        lacking,
        lambda n: (f"the logged action {columns.actions.show(n)} among them", "a list without it"),
        "add the logged action to the list, or drop the whole episode",
    )
