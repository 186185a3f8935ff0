"""What a report tells of a log, counted a partition at a time and added up."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Real, UInt32

LOOKED_AT = 1 << 14
"""Rows of a partition in which identical columns are looked for."""

_KEPT_BITS = 14  # sign, exponent and 5 bits of the fraction: bins 3 % wide
_CUT = np.uint32(32 - _KEPT_BITS)


@dataclass(frozen=True)
class Histogram:
    """How often values occur, in bins 3 % wide; whole numbers up to 64 have one each.

    A bin is named by the upper bits of the value as float32, so that bins of different parts are
    the same bins.

    Attributes:
        bins: name -> values in it.
    """

    bins: Mapping[int, int]

    @staticmethod
    def of(values: Real[np.ndarray, " N"]) -> "Histogram":
        """Of finite values; those beyond float32 count as its largest."""
        largest = np.finfo(np.float32).max
        narrow = np.clip(values, -largest, largest).astype(np.float32) + np.float32(0.0)
        counts = np.bincount(narrow.view(np.uint32) >> _CUT, minlength=1 << _KEPT_BITS)
        names = np.flatnonzero(counts)
        return Histogram(dict(zip(names.tolist(), counts[names].tolist(), strict=True)))

    def joined(self, other: "Histogram") -> "Histogram":
        """Of the values of both."""
        bins = dict(self.bins)
        for name, count in other.bins.items():
            bins[name] = bins.get(name, 0) + count
        return Histogram(bins)

    def ranked(self) -> tuple[Float64[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
        """The least magnitude of each bin with its sign, ascending, and how many values it has."""
        names, counts = self._sorted()
        return _magnitude(names), counts

    def below(self, value: float) -> int:
        """How many values lie in bins below the value's own."""
        values, counts = self.ranked()
        own = Histogram.of(np.array([value])).ranked()[0]
        return int(counts[values < own].sum())

    def bars(self, most: int) -> tuple[Float64[np.ndarray, " B_plus_1"], Float64[np.ndarray, " B"]]:
        """Edges and heights of at most so many equally wide bars.

        Whole numbers over a short range get a bar each; else a bin is spread over its width.
        """
        names, counts = self._sorted()
        values, others = _magnitude(names), _magnitude(names + np.uint32(1))
        low, high = values[0], values[-1]
        if high - low < most and (values == np.round(values)).all() and abs(values).max() <= 64:
            edges = np.arange(low - 0.5, high + 1.0)
            return edges, np.histogram(values, edges, weights=counts)[0].astype(np.float64)
        starts, stops = np.minimum(values, others), np.maximum(values, others)
        edges = np.linspace(starts[0], stops[-1], most + 1)
        shares = np.clip((edges[:, None] - starts) / (stops - starts), 0.0, 1.0)
        return edges, np.diff(shares @ counts)

    def _sorted(self) -> tuple[UInt32[np.ndarray, " K"], Int64[np.ndarray, " K"]]:
        names = np.array(list(self.bins), np.uint32)
        order = np.argsort(_magnitude(names), kind="stable")
        return names[order], np.array(list(self.bins.values()), np.int64)[order]

    def quantile(self, share: float) -> float:
        """The value that so large a share of the values does not exceed, as far as bins tell."""
        values, counts = self.ranked()
        place = int(np.searchsorted(np.cumsum(counts), share * counts.sum(), side="left"))
        return float(values[min(place, len(values) - 1)])

    def to_json(self) -> list[list[int]]:
        """Pairs, ascending by name."""
        return [[name, self.bins[name]] for name in sorted(self.bins)]

    @staticmethod
    def from_json(found: Sequence[Sequence[int]]) -> "Histogram":
        """What `to_json` wrote."""
        return Histogram({pair[0]: pair[1] for pair in found})


def _magnitude(names: UInt32[np.ndarray, " K"]) -> Float64[np.ndarray, " K"]:
    """The least magnitude of each bin, with its sign."""
    return np.nan_to_num((names << _CUT).view(np.float32).astype(np.float64))


NOTHING = Histogram({})


@dataclass(frozen=True)
class Columns:
    """Checksums of the columns of the observations, to tell which are identical.

    Attributes:
        own: of every column, one a partition.
        here: of every column, in rows that have a next one.
        following: of every column, in the rows that follow those.
    """

    own: tuple[tuple[int, ...], ...] = ()
    here: tuple[tuple[int, ...], ...] = ()
    following: tuple[tuple[int, ...], ...] = ()

    @staticmethod
    def of(observations: Float32[np.ndarray, "N S"], lasts: Bool[np.ndarray, " N"]) -> "Columns":
        """Of the first rows of a partition."""
        some = observations[:LOOKED_AT]
        inside = np.flatnonzero(~lasts[: len(some)])
        inside = inside[inside + 1 < len(some)]
        return Columns(
            (_checksums(some),), (_checksums(some[inside]),), (_checksums(some[inside + 1]),)
        )

    def joined(self, other: "Columns") -> "Columns":
        """Of both parts."""
        return Columns(
            self.own + other.own, self.here + other.here, self.following + other.following
        )

    def twins(self) -> list[tuple[int, int]]:
        """Pairs of columns that are the same."""
        return _pairs(self.own, self.own, ordered=True)

    def foretold(self) -> list[tuple[int, int]]:
        """Pairs: the first column is, in every row, what the second is in the next row."""
        known = [k for k, sums in enumerate(self.here) if any(sums)]  # 0: no row to look at
        return _pairs([self.here[k] for k in known], [self.following[k] for k in known], False)


def _checksums(rows: Float32[np.ndarray, "N S"]) -> tuple[int, ...]:
    return tuple(zlib.crc32(column) for column in np.ascontiguousarray(rows.T) + np.float32(0.0))


def _pairs(
    mine: Sequence[Sequence[int]], its: Sequence[Sequence[int]], ordered: bool
) -> list[tuple[int, int]]:
    left, right = list(zip(*mine, strict=True)), list(zip(*its, strict=True))
    places: dict[tuple[int, ...], list[int]] = {}
    for place, sums in enumerate(right):
        places.setdefault(sums, []).append(place)
    return [
        (i, j)
        for i, sums in enumerate(left)
        for j in places.get(sums, [])
        if i != j and (i < j or not ordered)
    ]


@dataclass(frozen=True)
class Extreme:
    """A value and where it stands."""

    value: float
    file: int
    row: int


@dataclass(frozen=True)
class Tally:
    """What is counted of the rows that were kept.

    Attributes:
        counts: rows, episodes, and others, by name.
        rewards: of every row.
        returns: of every episode, not discounted.
        lengths: of every episode.
        propensities: of every row, or empty.
        inverse: sums of 1/p and of 1/p^2 over the propensities p.
        least: the smallest reward.
        most: the largest.
        columns: which columns of the observations are the same.
    """

    counts: Mapping[str, int]
    rewards: Histogram = NOTHING
    returns: Histogram = NOTHING
    lengths: Histogram = NOTHING
    propensities: Histogram = NOTHING
    inverse: tuple[float, float] = (0.0, 0.0)
    least: Extreme | None = None
    most: Extreme | None = None
    columns: Columns = Columns()

    def joined(self, other: "Tally") -> "Tally":
        """Of both parts, this one first."""
        names = dict.fromkeys([*self.counts, *other.counts])
        return Tally(
            counts={n: self.counts.get(n, 0) + other.counts.get(n, 0) for n in names},
            rewards=self.rewards.joined(other.rewards),
            returns=self.returns.joined(other.returns),
            lengths=self.lengths.joined(other.lengths),
            propensities=self.propensities.joined(other.propensities),
            inverse=(self.inverse[0] + other.inverse[0], self.inverse[1] + other.inverse[1]),
            least=_further(self.least, other.least, -1.0),
            most=_further(self.most, other.most, 1.0),
            columns=self.columns.joined(other.columns),
        )

    def to_json(self) -> dict[str, Any]:
        """For the note of a piece."""
        histograms = ("rewards", "returns", "lengths", "propensities")
        columns = self.columns
        return {
            "counts": dict(self.counts),
            **{name: getattr(self, name).to_json() for name in histograms},
            "inverse": list(self.inverse),
            "least": None if self.least is None else vars(self.least),
            "most": None if self.most is None else vars(self.most),
            "columns": [columns.own, columns.here, columns.following],
        }

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Tally":
        """What `to_json` wrote."""
        histograms = ("rewards", "returns", "lengths", "propensities")
        return Tally(
            counts=found["counts"],
            **{name: Histogram.from_json(found[name]) for name in histograms},
            inverse=(found["inverse"][0], found["inverse"][1]),
            least=None if found["least"] is None else Extreme(**found["least"]),
            most=None if found["most"] is None else Extreme(**found["most"]),
            columns=Columns(*(tuple(map(tuple, part)) for part in found["columns"])),
        )


def _further(one: Extreme | None, other: Extreme | None, sign: float) -> Extreme | None:
    if one is None or other is None:
        return one or other
    return other if sign * other.value > sign * one.value else one
