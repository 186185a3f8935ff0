"""The rules that the rows of a log keep, and what is said when they do not.

Reading has a seam in the middle: canonical arrow table -> `value_faults` -> `Columns` ->
`row_faults`, `action_faults` -> Log. A rule yields the rows that break it, and may count on the
rules before it; so whoever reads refuses the first fault, and whoever cleans can drop its rows.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.files.columns import Columns, usual_length
from offline_actrep.files.faults import Fault, Labels, find_faults, label

_DROP = "give it a value, or drop the whole episode"


# Rules of single values, asked of the table.


def value_faults(table: pa.Table, labels: Labels, size: int | None = None) -> Iterator[Fault]:
    """Nulls, numbers that are not finite and lists of unequal lengths, column by column.

    Observations are to be `size` long; when it is not given, as long as most are.
    """
    size = usual_length(table["observation"]) if size is None else size
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
    yield from find_faults("missing", name, bad, lambda n: ("a value", "null"), _DROP)


def finite_faults(name: str, column: pa.ChunkedArray) -> Iterator[Fault]:
    """Rows of a column of numbers that hold NaN or an infinity."""
    values = column.to_numpy()
    bad = ~np.isfinite(values) & column.is_valid().to_numpy()
    yield from find_faults(
        "finite", name, bad, lambda n: ("a finite number", str(values[n])), _DROP
    )


def vector_faults(
    names: str | list[str], column: pa.ChunkedArray, size: int | None = None
) -> Iterator[Fault]:
    """Lists that are not `size` long (when not given: as most are) or hold no finite numbers.

    A null in the place of a whole list is let pass.
    """
    size = usual_length(column) if size is None else size
    lists = column.combine_chunks()
    lengths = lists.value_lengths().fill_null(size).to_numpy(zero_copy_only=False)
    yield from find_faults(
        "length",
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
            "finite",
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
        "missing", name, bad, lambda n: ("a list of action ids", str(lists[n].as_py())[:80]), _DROP
    )


def _row_of_element(lists: pa.LargeListArray) -> Int64[np.ndarray, " M"]:
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths)


# Rules of rows beside one another, asked of the arrays.


def row_faults(columns: Columns) -> Iterator[Fault]:
    """Wrong order, wrong ends, wrong probabilities, next observations that do not follow."""
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
        "in_one_piece",
        name[0],
        again,
        lambda n: ("every episode in one piece", f"episode {episodes.show(n)} a second time"),
        f"{sort}; where two episodes share an id, give one of them another",
    )
    rises = np.append(1, np.diff(steps))
    inside = ~columns.firsts

    def tell(n: int) -> tuple[str, str]:
        expected = f"step {steps[n - 1] + 1} after step {steps[n - 1]}"
        return f"{expected} of episode {episodes.show(n)}", f"step {steps[n]}"

    yield from find_faults(
        "duplicate_step",
        name[1],
        inside & (rises == 0),
        tell,
        f"drop the row that stands twice; where two episodes share an id, give one of them "
        f"another {name[0]}",
    )
    yield from find_faults(
        "step_gap",
        name[1],
        inside & (rises != 0) & (rises != 1),
        tell,
        f"{sort}; where rows are lost, give what follows the gap another {name[0]}",
    )


def _end_faults(columns: Columns) -> Iterator[Fault]:
    show = columns.episode_ids.show
    terminated = label(columns.labels["terminated"])
    truncated = label(columns.labels.get("truncated", "truncated"))
    yield from find_faults(
        "end_twice",
        truncated,
        columns.terminated & columns.truncated,
        lambda n: ("false in a row that is terminated", "true"),
        f"leave {truncated!r} true only where an episode was cut off before a terminal state",
    )
    ends = columns.terminated | columns.truncated
    yield from find_faults(
        "end_early",
        terminated,
        ends & ~columns.lasts,
        lambda n: (f"the end of episode {show(n)} in its last row only", "an end before it"),
        "mark the last row alone, or give the rows after the end an episode id of their own",
    )
    yield from find_faults(
        "end_missing",
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
            "propensity",
            label(columns.labels["action_probability"]),
            ~((p > 0) & (p <= 1)),
            lambda n: ("a probability in (0, 1]", str(p[n])),
            "log the probability with which the logged action was drawn, or leave it out",
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
        "alignment",
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
    same = (stated == there).all(axis=1)
    apart = np.flatnonzero(~same)
    same[apart] = np.isclose(stated[apart], there[apart], rtol=1e-4, atol=1e-5).all(axis=1)
    return same


def action_faults(columns: Columns, action_set: ActionSet) -> Iterator[Fault]:
    """Ids that the action table lacks, and allowed actions without the one that was taken."""
    actions, known = columns.actions.encode(action_set)
    ids = action_set.ids
    expected = f"one of the {len(ids)} actions of the action table"
    mend = "add the action to the table, or drop the whole episode"
    yield from find_faults(
        "action_unknown",
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
    if not known.all():
        rows = np.repeat(np.arange(len(actions)), np.diff(offsets))
        found = f"action {allowed_ids.show(int(np.flatnonzero(~known)[0]))}"
        yield Fault("allowed_unknown", name, np.unique(rows[~known]), expected, found, mend)
    lacking = ~AllowedActions(offsets, allowed).holds(actions)
    yield from find_faults(
        "allowed_lacks_action",
        name,
        lacking,
        lambda n: (
            f"the logged action {columns.actions.show(n)} among them",
            "a list without it",
        ),
        "add the logged action to the list, or drop the whole episode",
    )
