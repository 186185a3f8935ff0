"""Actions as the log names them, and their dense indices 0..A-1.

A log's action ids may have holes or be strings. Everything inside the package speaks of dense
indices; ids appear only at the borders. `AllowedActions` says which actions each row could choose.
"""

from collections.abc import Iterator, Sequence
from dataclasses import InitVar, dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int64

from offline_actrep.core.mapped import take, take_runs, whole_blocks

_INDICES_AT_ONCE = 1 << 20
"""Allowed actions that are looked at together."""


@dataclass(frozen=True, eq=False)
class ActionSet:
    """The catalogue of actions.

    Attributes:
        ids: `[A]` the ids as logged, int64 or `str`, each once; position = dense index.
        names: a name an action for people to read, or empty.
        features: `[A, F]` external features (movement vectors, one-hot types, prices), or None.
        feature_names: a name a feature column, or empty.

    Raises:
        ValueError: no ids, an id twice, names or features of another length, or features that are
            not finite.
    """

    ids: np.ndarray
    names: tuple[str, ...] = ()
    features: Float32[np.ndarray, "A F"] | None = None
    feature_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ids = _as_ids(self.ids)
        object.__setattr__(self, "ids", ids)
        if not len(ids):
            raise ValueError("an action set needs at least one action id; there is none")
        order = np.argsort(ids, kind="stable")
        ranked = ids[order]
        twice = ranked[1:][ranked[1:] == ranked[:-1]]
        if len(twice):
            raise ValueError(f"action id {_show(twice[0])} stands more than once in the action set")
        if self.names and len(self.names) != len(ids):
            raise ValueError(f"{len(ids)} action ids need {len(ids)} names, got {len(self.names)}")
        if self.features is not None and len(self.features) != len(ids):
            raise ValueError(
                f"features need one row an action: expected {len(ids)}, got {len(self.features)}"
            )
        if self.features is not None:
            _refuse_unknown(self.features, ids)
            self.features.setflags(write=False)
        ids.setflags(write=False)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_ranked", ranked)

    @staticmethod
    def of(ids: Sequence[int] | Sequence[str] | np.ndarray) -> "ActionSet":
        """The distinct ids of a column, in ascending order."""
        return ActionSet(np.unique(_as_ids(ids)))

    @staticmethod
    def dense(n_actions: int) -> "ActionSet":
        """Ids 0..n_actions-1, each its own index."""
        return ActionSet(np.arange(n_actions, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def encode(self, ids: Sequence[int] | Sequence[str] | np.ndarray) -> Int64[np.ndarray, " N"]:
        """Ids as logged -> dense indices.

        Raises:
            ValueError: an id that is not in the set; the message names it and its row.
        """
        index, known = self.find(ids)
        if not known.all():
            row = int(np.flatnonzero(~known)[0])
            raise ValueError(
                f"action {_show(np.asarray(ids)[row])} in row {row} is not one of the {len(self)} "
                f"actions {_show(self._ranked[0])}..{_show(self._ranked[-1])}"  # type: ignore[attr-defined]
            )
        return index

    def find(
        self, ids: Sequence[int] | Sequence[str] | np.ndarray
    ) -> tuple[Int64[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
        """Dense indices, and which ids are known (index 0 stands where one is not)."""
        wanted = _as_ids(ids)
        if wanted.dtype.kind != self.ids.dtype.kind and len(wanted):
            return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        ranked: np.ndarray = self._ranked  # type: ignore[attr-defined]
        order: np.ndarray = self._order  # type: ignore[attr-defined]
        place = np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)
        known = ranked[place] == wanted
        return np.where(known, order[place], 0).astype(np.int64), known

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """Dense indices `[N]` -> ids as logged `[N]`."""
        return self.ids[indices]

    def same_as(self, other: "ActionSet") -> bool:
        """Whether both list the same ids in the same order."""
        return self.ids.dtype.kind == other.ids.dtype.kind and np.array_equal(self.ids, other.ids)

    def must_equal(self, other: "ActionSet", mine: str, its: str) -> None:
        """Refuses what was made for another list of actions.

        Args:
            other: the list that is expected.
            mine: what this list belongs to, for the message: `the policy`.
            its: what the other belongs to: `the log`.

        Raises:
            ValueError: the lists differ; the message says where first.
        """
        if self.same_as(other):
            return
        where = ""
        if self.ids.dtype.kind != other.ids.dtype.kind:
            where = f": one has ids like {_show(self.ids[0])}, the other like "
            where += f"{_show(other.ids[0])}; write both as integers or both as strings"
        elif len(self) == len(other):
            first = int(np.flatnonzero(self.ids != other.ids)[0])
            where = f"; they part at place {first}: {_show(self.ids[first])} and "
            where += _show(other.ids[first])
        raise ValueError(
            f"{mine} knows {len(self)} actions, {its} has {len(other)}, and they are not the "
            f"same list{where}"
        )


@dataclass(frozen=True, eq=False)
class AllowedActions:
    """Which actions each row could choose, as compressed rows.

    Row n may choose the dense indices `indices[offsets[n]:offsets[n + 1]]`. With `checked`, who
    wrote the offsets looked at each of them; only the first and the last are looked at again.

    Raises:
        ValueError: offsets that do not start at 0, fall, or do not end at `len(indices)`.
    """

    offsets: Int64[np.ndarray, " N_plus_1"]
    indices: Int64[np.ndarray, " M"]
    checked: InitVar[bool] = False

    def __post_init__(self, checked: bool) -> None:
        offsets = self.offsets
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(self.indices):
            raise ValueError(
                f"offsets must run from 0 to {len(self.indices)}, the number of indices"
            )
        if not checked and (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets fall at row {int(np.flatnonzero(np.diff(offsets) < 0)[0])}")

    @staticmethod
    def of_mask(mask: Bool[np.ndarray, "N A"]) -> "AllowedActions":
        """From a dense mask."""
        counts = mask.sum(axis=1)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return AllowedActions(offsets, np.nonzero(mask)[1].astype(np.int64))

    @staticmethod
    def stack(parts: "Sequence[AllowedActions]") -> "AllowedActions":
        """The rows of all parts, one part after the other."""
        counts = np.concatenate([part.counts for part in parts])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return AllowedActions(offsets, np.concatenate([part.indices for part in parts]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> Int64[np.ndarray, " N"]:
        """How many actions each row may choose."""
        return np.diff(self.offsets)

    def row(self, n: int) -> Int64[np.ndarray, " M"]:
        """The dense indices that row n may choose."""
        return self.indices[self.offsets[n] : self.offsets[n + 1]]

    def mask(self, n_actions: int) -> Bool[np.ndarray, "N A"]:
        """As a dense mask."""
        dense = np.zeros((len(self), n_actions), bool)
        dense[np.repeat(np.arange(len(self)), self.counts), self.indices] = True
        return dense

    def take(self, rows: Int64[np.ndarray, " M"]) -> "AllowedActions":
        """The named rows, in the order named."""
        starts = take(self.offsets, rows)
        counts = take(self.offsets[1:], rows) - starts
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return AllowedActions(offsets, take_runs(self.indices, starts, counts), checked=True)

    def between(self, start: int, stop: int) -> "AllowedActions":
        """Rows `start:stop`, without a copy of their indices."""
        cuts = self.offsets[start : stop + 1]
        return AllowedActions(cuts - cuts[0], self.indices[cuts[0] : cuts[-1]])

    def within(self, n_actions: int) -> Bool[np.ndarray, " N"]:
        """Whether all of a row's indices are of 0..n_actions-1."""
        kept = np.ones(len(self), bool)
        for rows, part in self._parts():
            outside = np.flatnonzero((part.indices < 0) | (part.indices >= n_actions))
            kept[rows.start + np.searchsorted(part.offsets, outside, side="right") - 1] = False
        return kept

    def holds(self, actions: Int64[np.ndarray, " N"]) -> Bool[np.ndarray, " N"]:
        """Whether each row allows the action named for it."""
        held = np.zeros(len(self), bool)
        for rows, part in self._parts():
            row = np.repeat(np.arange(rows.start, rows.stop), part.counts)
            held[row[part.indices == actions[row]]] = True
        return held

    def _parts(self) -> "Iterator[tuple[slice, AllowedActions]]":
        """All rows in order, some at a time: what is made of all at once is larger than they."""
        for rows in whole_blocks(self.offsets, _INDICES_AT_ONCE):
            yield rows, self.between(rows.start, rows.stop)


def refuse_empty(some: Bool[np.ndarray, " N"]) -> None:
    """Raises ValueError by the first row that has no allowed action.

    Args:
        some: whether each row has any.
    """
    if not some.all():
        row = int(np.flatnonzero(~some)[0])
        raise ValueError(f"row {row} has an empty set of allowed actions; give it at least one")


def _as_ids(ids: Sequence[int] | Sequence[str] | np.ndarray) -> np.ndarray:
    column = np.asarray(ids)
    if column.dtype.kind in "iu":
        if column.dtype == np.uint64 and len(column) and column.max() > np.iinfo(np.int64).max:
            raise ValueError(f"action id {column.max()} does not fit into 64 bits with a sign")
        return column.astype(np.int64)
    if column.dtype.kind in "UT":
        return column.astype(np.str_)
    if column.dtype == object and all(isinstance(entry, str) for entry in column):
        return column.astype(np.str_)
    if not len(column):
        return column.astype(np.int64)
    raise ValueError(f"action ids are integers or strings, got {column.dtype}")


def _refuse_unknown(features: Float32[np.ndarray, "A F"], ids: np.ndarray) -> None:
    """One that is not a number would be a coordinate of every action's point."""
    wrong = ~np.isfinite(features)
    if wrong.any():
        row, column = (int(place[0]) for place in np.nonzero(wrong))
        raise ValueError(
            f"feature {column} of action {_show(ids[row])} (place {row}) is "
            f"{features[row, column]}: features must be finite; fill it in, or leave the action out"
        )


def _show(entry: object) -> str:
    return repr(entry.item() if isinstance(entry, np.generic) else entry)
