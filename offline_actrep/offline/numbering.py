"""Some of many places, numbered without gaps: rows of a log that can be learnt from."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Int64

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks


@final
@dataclass(frozen=True, eq=False)
class Numbering:
    """The places 0..n-1 without those left out, in order: nothing is held a place that is kept.

    Attributes:
        n: places.
        left_out: ascending.
    """

    n: int
    left_out: Int64[np.ndarray, " K"]

    def __len__(self) -> int:
        return self.n - len(self.left_out)

    @cached_property
    def _kept_before(self) -> Int64[np.ndarray, " K"]:
        """How many places are kept before each that is left out; it never falls."""
        return self.left_out - np.arange(len(self.left_out))

    def places(self, numbers: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """The places that bear the numbers 0..len-1."""
        if not len(self.left_out):
            return numbers
        return numbers + np.searchsorted(self._kept_before, numbers, side="right")

    def before(self, places: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """How many places before each are kept; of one that is kept this is its number."""
        return places - np.searchsorted(self.left_out, places)


def usable_rows(log: Log, *, sets: bool) -> Numbering:
    """The rows that a Bellman backup can use: the next state is known, or there is none.

    With `sets`, what the next state allows must be known too. It stands in the episode's next row,
    so the last row of an episode that was cut off is left out: a set that is guessed would bring
    back what the mask is there to keep out.
    """
    left_out = []
    for rows in blocks(len(log)):
        kept = log.has_next[rows] | log.terminated[rows]
        if sets:
            kept &= ~log.truncated[rows]
        left_out.append(rows.start + np.flatnonzero(~kept))
        log.release()
    return Numbering(len(log), np.concatenate(left_out))
