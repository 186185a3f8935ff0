"""Pieces of a log on their way into a store, and what they amount to."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log, longest_string
from offline_actrep.files.columns import Ids
from offline_actrep.files.manifest import LONGEST_STRING, SLOTS
from offline_actrep.files.moments import Moments

CODE = "<i4"
"""Type of actions before the catalogue is known."""
CODED = ("actions", "allowed_indices")
"""Columns of codes."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Whole episodes, in order, to be appended to a store.

    Attributes:
        actions: ids as logged; with a catalogue given, ids of it.
        episode_lengths: `[M]` rows of every episode, at least 1.
        episode_ids: `[M]` int64 or strings.
        allowed: CSR offsets `[N + 1]` and the ids they cut, or None.
        The rest: as in `Log`.
    """

    observations: Float32[np.ndarray, "N S"]
    actions: Ids
    rewards: Float32[np.ndarray, " N"]
    terminated: Bool[np.ndarray, " N"]
    truncated: Bool[np.ndarray, " N"]
    next_observations: Float32[np.ndarray, "N S"]
    has_next: Bool[np.ndarray, " N"]
    episode_lengths: Int64[np.ndarray, " M"]
    episode_ids: np.ndarray
    action_probabilities: Float64[np.ndarray, " N"] | None = None
    allowed: tuple[Int64[np.ndarray, " N_plus_1"], Ids] | None = None
    timestamps: np.ndarray | None = None
    splits: np.ndarray | None = None


@dataclass(frozen=True)
class Tally:
    """What the pieces so far amount to."""

    counts: dict[str, int]
    observations: Moments
    rewards: Moments

    @staticmethod
    def of(log: Log) -> "Tally":
        counts = {
            "rows": len(log),
            "episodes": log.n_episodes,
            "allowed": 0 if log.allowed is None else len(log.allowed.indices),
            "terminated": int(log.terminated.sum()),
            "truncated": int(log.truncated.sum()),
            "known_next": int(log.has_next.sum()),
        }
        return Tally(counts, Moments.of(log.observations), Moments.of(log.rewards[:, None]))

    def joined(self, other: "Tally") -> "Tally":
        return Tally(
            {name: count + other.counts[name] for name, count in self.counts.items()},
            self.observations.joined(other.observations),
            self.rewards.joined(other.rewards),
        )

    def to_json(self) -> dict[str, Any]:
        moments = {"observations": self.observations, "rewards": self.rewards}
        return {"counts": self.counts} | {name: one.to_json() for name, one in moments.items()}

    @staticmethod
    def from_json(found: dict[str, Any]) -> "Tally":
        moments = (Moments.from_json(found[name]) for name in ("observations", "rewards"))
        return Tally(found["counts"], *moments)


@final
class Codes:
    """Actions as numbers while the catalogue is not known: in the order of first appearance.

    With a catalogue given, its dense indices.
    """

    def __init__(self, action_set: ActionSet | None) -> None:
        self.given = action_set
        self._known: dict[Any, int] = {}

    def encode(
        self, columns: Sequence[Ids]
    ) -> tuple[list[Int64[np.ndarray, " _"]], dict[Any, int]]:
        """The columns as codes, and the codes of ids not seen before; these are not kept yet.

        Raises:
            ValueError: ids of another kind than before, or that the catalogue lacks.
        """
        new: dict[Any, int] = {}
        return [self._of(ids.vocabulary, new)[ids.codes] for ids in columns], new

    def keep(self, new: dict[Any, int]) -> None:
        """From now on these are known."""
        self._known |= new

    def as_actions(self, new: dict[Any, int]) -> ActionSet:
        """A catalogue of as many actions as there are codes."""
        return self.given or ActionSet.dense(len(self._known) + len(new))

    def column(self, new: dict[Any, int]) -> np.ndarray:
        """New ids, of the type that all have."""
        kind = type(next(iter((*list(self._known)[:1], *new))))
        return np.array(list(new), np.str_ if kind is str else np.int64)

    def settled(self) -> tuple[ActionSet, Int64[np.ndarray, " A"]]:
        """The catalogue in its order, and the dense index of every code."""
        if self.given is not None:
            return self.given, np.arange(len(self.given))
        ids = np.array(list(self._known))
        order = np.argsort(ids, kind="stable")
        code_to_index = np.empty(len(ids), np.int64)
        code_to_index[order] = np.arange(len(ids))
        return ActionSet(ids[order]), code_to_index

    def _of(self, vocabulary: np.ndarray, new: dict[Any, int]) -> Int64[np.ndarray, " V"]:
        if self.given is not None:
            return self.given.encode(vocabulary)
        known = self._known
        kinds = {type(entry) for some in (known, new) for entry in list(some)[:1]}
        kind = {"i": int, "U": str}.get(vocabulary.dtype.kind)
        if kind is None or kinds - {kind}:
            wanted = "integers or strings" if not kinds else f"the kind {kinds.pop().__name__}"
            raise ValueError(f"expected action ids of {wanted}, got {vocabulary.dtype}")
        codes = np.empty(len(vocabulary), np.int64)
        for place, entry in enumerate(vocabulary.tolist()):
            code = known.get(entry)
            if code is None:
                code = new.setdefault(entry, len(known) + len(new))
            codes[place] = code
        return codes


def narrow(name: str, column: np.ndarray) -> np.ndarray:
    """A column as its file holds it: little-endian, strings without room to spare.

    Raises:
        ValueError: a type that a store does not hold, or a string that is too long.
    """
    if column.dtype.kind == "U":
        longest = longest_string(column) if len(column) else 0
        if longest > LONGEST_STRING:
            row = int(np.argmax(np.strings.str_len(column)))
            raise ValueError(
                f"column {name!r}, row {row}: expected at most {LONGEST_STRING} characters, got "
                f"{longest}: {column[row].item()[:60]!r}..."
            )
        return column.astype(f"<U{max(1, longest)}")
    if name == "episode_ids" and column.dtype.kind in "iu" and np.can_cast(column.dtype, np.int64):
        column = column.astype(np.int64)
    column = column.astype(column.dtype.newbyteorder("<"), copy=False)
    wanted = CODE if name in CODED else SLOTS.get(name, SLOTS["action_ids"]).dtype
    if not re.fullmatch(wanted, column.dtype.str):
        raise ValueError(f"column {name!r}: expected a type like {wanted}, got {column.dtype.str}")
    return column


def catalogue_columns(catalogue: ActionSet) -> dict[str, np.ndarray]:
    """The columns of a store that say what its actions are."""
    columns = {"action_ids": catalogue.ids}
    if catalogue.names:
        columns["action_names"] = np.array(catalogue.names, np.str_)
    if catalogue.features is not None and catalogue.features.shape[1]:
        columns["action_features"] = catalogue.features
    return {name: narrow(name, column) for name, column in columns.items()}


def digest_of(catalogue: ActionSet) -> str:
    """SHA-256 of all that a store holds of a catalogue."""
    digest = hashlib.sha256(repr(catalogue.feature_names).encode())
    for name, column in catalogue_columns(catalogue).items():
        digest.update(f"{name}:{column.dtype}:{column.shape}".encode() + column.tobytes())
    return digest.hexdigest()
