"""Columns that may be larger than memory: walked in blocks, their pages given back."""

import mmap
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64

ROWS_AT_ONCE = 1 << 16
"""Rows of a block."""

_SMALL = 1 << 26
"""Bytes of a mapped column that may stay in memory as a whole."""
_DRAWN_AT_ONCE = 64
"""Rows drawn from a larger one; touching one may map 2 MiB around it."""

_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)  # not on every system


def blocks(n: int, size: int = ROWS_AT_ONCE) -> Iterator[slice]:
    """Slices of at most `size` rows that cover rows 0..n-1 in order."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def whole_blocks(
    offsets: Int64[np.ndarray, " M_plus_1"], size: int = ROWS_AT_ONCE
) -> Iterator[slice]:
    """Slices that cover groups 0..M-1 in order, of at most `size` rows or of one larger group.

    Args:
        offsets: group m is rows `offsets[m]:offsets[m + 1]`.
        size: rows.
    """
    first, last = 0, len(offsets) - 1
    while first < last:
        end = int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1
        yield slice(first, max(end, first + 1))
        first = max(end, first + 1)


def take(column: np.ndarray, rows: Int64[np.ndarray, " B"]) -> np.ndarray:
    """`column[rows]`, at flat memory whatever the size of a mapped column."""
    if column.nbytes <= _SMALL or _map_of(column) is None:
        return column.take(rows, axis=0)
    order = np.argsort(rows)
    taken = np.empty((len(rows), *column.shape[1:]), column.dtype)
    for some in blocks(len(rows), _DRAWN_AT_ONCE):
        taken[order[some]] = column[rows[order[some]]]
        release(column)
    return taken


def take_runs(
    column: np.ndarray, starts: Int64[np.ndarray, " B"], counts: Int64[np.ndarray, " B"]
) -> np.ndarray:
    """`column[starts[b] : starts[b] + counts[b]]` for every b, one run behind the other."""
    ends = np.cumsum(counts)
    taken = np.empty((int(ends[-1]) if len(ends) else 0, *column.shape[1:]), column.dtype)
    some = len(counts) if column.nbytes <= _SMALL or _map_of(column) is None else _DRAWN_AT_ONCE
    for runs in blocks(len(counts), max(1, some)):
        first = int(ends[runs.start] - counts[runs.start])
        within = np.arange(first, int(ends[runs.stop - 1]))
        shift = starts[runs] - (ends[runs] - counts[runs])
        column.take(
            within + np.repeat(shift, counts[runs]), axis=0, out=taken[first : ends[runs.stop - 1]]
        )
        if some < len(counts):
            release(column)
    return taken


def release(*columns: np.ndarray | None) -> None:
    """Gives back the memory of read-only mapped columns; other columns stay as they are.

    Every page of a mapped file that is touched counts as the process's own until it is given
    back. What is given back stays in the system's file cache while there is room, so that the
    next touch costs a page fault, not a read. Call it after each block of a pass over all rows.
    """
    for column in columns:
        file = None if column is None else _map_of(column)
        if file is not None and _DONT_NEED is not None:
            file.madvise(_DONT_NEED)


def _map_of(column: np.ndarray) -> mmap.mmap | None:
    """The read-only map that a column lies in; from any other, a page might be lost."""
    base: object = column
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    if not isinstance(base, np.memmap) or base.mode != "r":
        return None
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
