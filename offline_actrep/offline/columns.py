"""What a learner is fed: rows of columns in memory, or of a log of any size; batches of them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from scipy.signal import lfilter
from torch import Tensor

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import release, take, whole_blocks
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.offline.numbering import Numbering, usable_rows
from offline_actrep.relabel import Relabelled

HELD = 1 << 27
"""Most bytes of features, observations and actions that are copied before learning begins. Of a
larger log the rows of each batch are gathered when it is drawn."""


@dataclass(frozen=True)
class Batch:
    """Some rows of the columns, as tensors; on the CPU when they are handed out."""

    features: Float32[Tensor, "B F"]
    actions: Float32[Tensor, "B E"] | Int64[Tensor, " B"]
    rewards: Float32[Tensor, " B"]
    next_features: Float32[Tensor, "B F"]
    terminals: Float32[Tensor, " B"]
    returns: Float32[Tensor, " B"]
    observations: Float32[Tensor, "B S"] | None
    next_observations: Float32[Tensor, "B S"] | None
    ids: Int64[Tensor, " B"] | None
    allowed: AllowedActions | None
    next_allowed: AllowedActions | None

    def to(self, device: torch.device) -> "Batch":
        """The tensors on a device; sets of allowed actions stay where they are."""
        if device == CPU:
            return self
        parts: dict[str, Any] = vars(self)
        return replace(self, **{k: v.to(device) for k, v in parts.items() if isinstance(v, Tensor)})


class AbstractColumns(ABC):
    """Rows that can be learnt from, numbered from 0."""

    @abstractmethod
    def __len__(self) -> int:
        """N."""

    @abstractmethod
    def take(self, rows: Int64[np.ndarray, " B"]) -> "Columns":
        """The named rows, copied."""

    @final
    def batch(self, rows: Int64[np.ndarray, " B"]) -> Batch:
        """The named rows."""
        return Batch(**{name: _tensor(column) for name, column in vars(self.take(rows)).items()})


@final
@dataclass(frozen=True)
class Columns(AbstractColumns):
    """In memory: features instead of observations, scaled rewards.

    Attributes:
        features: `[N, F]`.
        actions: `[N, E]` points, or `[N]` dense ids.
        rewards: `[N]` scaled.
        next_features: `[N, F]`.
        terminals: `[N]` 1 where the episode terminated.
        returns: `[N]` discounted sum of the scaled rewards from this row to the episode's end.
        observations: `[N, S]` as logged, where the learner looks at real actions; None elsewhere.
        next_observations: `[N, S]` likewise.
        ids: `[N]` dense ids of the logged actions, likewise.
        allowed: what each row could choose, where the learner is to see it; None elsewhere.
        next_allowed: what the state after it allows; the row's own, which nothing reads, where the
            episode terminated.
    """

    features: Float32[np.ndarray, "N F"]
    actions: Float32[np.ndarray, "N E"] | Int64[np.ndarray, " N"]
    rewards: Float32[np.ndarray, " N"]
    next_features: Float32[np.ndarray, "N F"]
    terminals: Float32[np.ndarray, " N"]
    returns: Float32[np.ndarray, " N"]
    observations: Float32[np.ndarray, "N S"] | None = None
    next_observations: Float32[np.ndarray, "N S"] | None = None
    ids: Int64[np.ndarray, " N"] | None = None
    allowed: AllowedActions | None = None
    next_allowed: AllowedActions | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    def take(self, rows: Int64[np.ndarray, " B"]) -> "Columns":
        return Columns(**{name: _some(column, rows) for name, column in vars(self).items()})


@final
@dataclass(frozen=True, eq=False)
class LogColumns(AbstractColumns):
    """On the log itself, wherever its columns lie: a batch is gathered when it is drawn.

    Attributes:
        log: the rows.
        points: `[N, E]` of all its rows, or None for ids.
        kept: the rows that can be learnt from.
        features: what learners see of an observation.
        scale: what rewards are multiplied by.
        returns: `[N]` of all rows, not scaled.
        observations: whether batches carry them as logged, and ids.
        allowed: whether batches carry the allowed actions.
    """

    log: Log
    points: Float32[np.ndarray, "N E"] | None
    kept: Numbering
    features: ObservationFeatures
    scale: float
    returns: Float32[np.ndarray, " N"]
    observations: bool
    allowed: bool

    def __len__(self) -> int:
        return len(self.kept)

    def take(self, rows: Int64[np.ndarray, " B"]) -> Columns:
        log, places, scale = self.log, self.kept.places(rows), np.float32(self.scale)
        seen, ahead = take(log.observations, places), take(log.next_observations, places)
        terminated = take(log.terminated, places)
        sets = next_sets = None
        if self.allowed and log.allowed is not None:
            goes_on = ~(terminated | take(log.truncated, places))
            sets, next_sets = log.allowed.take(places), log.allowed.take(places + goes_on)
        return Columns(
            features=self.features.numpy(seen),
            actions=take(log.actions if self.points is None else self.points, places),
            rewards=take(log.rewards, places) * scale,
            next_features=self.features.numpy(ahead),
            terminals=terminated.astype(np.float32),
            returns=self.returns.take(places) * scale,
            observations=seen if self.observations else None,
            next_observations=ahead if self.observations else None,
            ids=take(log.actions, places) if self.observations else None,
            allowed=sets,
            next_allowed=next_sets,
        )


def learning_columns(
    data: Log | Relabelled,
    features: ObservationFeatures,
    scale: float,
    gamma: float,
    *,
    observations: bool = False,
    allowed: bool = False,
    every_row: bool = False,
) -> AbstractColumns:
    """The rows that `usable_rows` keeps, or every row; points if there are, else ids.

    In memory where that takes no more than `HELD` bytes; the bits of a batch are the same.

    Args:
        data: the log, with its points or without.
        features: what learners see of an observation.
        scale: what rewards are multiplied by.
        gamma: discount a decision, for the returns.
        observations: whether batches carry them as logged, and ids.
        allowed: whether batches carry the allowed actions.
        every_row: for a learner that never looks at the next state.

    Raises:
        ValueError: there is no such row, or allowed actions are asked for and not logged.
    """
    log = data.log if isinstance(data, Relabelled) else data
    if allowed and log.allowed is None:
        raise ValueError("the log does not say which actions each row allowed")
    whole = Numbering(len(log), np.zeros(0, np.int64))
    kept = whole if every_row else usable_rows(log, sets=allowed)
    if not len(kept):
        raise ValueError(
            "no row of the log can be learnt from: none has a next observation"
            f"{' and allowed actions there' if allowed else ''} and none terminates"
        )
    points = data.points if isinstance(data, Relabelled) else None
    columns = LogColumns(
        log=log,
        points=points,
        kept=kept,
        features=features,
        scale=scale,
        returns=returns_to_go(log, gamma),
        observations=observations,
        allowed=allowed,
    )
    numbers = 2 * features.size + 2 * observations * log.observation_size
    held = 4 * len(log) * numbers + (log.actions if points is None else points).nbytes
    if allowed and log.allowed is not None:
        held += 2 * log.allowed.indices.nbytes
    return columns if held > HELD else columns.take(np.arange(len(columns)))


def returns_to_go(log: Log, gamma: float) -> Float32[np.ndarray, " N"]:
    """Discounted sum of rewards from each row to the end of its episode, or to where it was cut."""
    returns = np.empty(len(log), np.float32)
    for episodes in whole_blocks(log.episode_offsets):
        offsets = log.episode_offsets[episodes.start : episodes.stop + 1]
        rows = slice(offsets[0], offsets[-1])
        sums = log.rewards[rows].astype(np.float64)
        _sum_to_ends(sums, offsets - offsets[0], gamma)
        returns[rows] = sums
        release(log.rewards, log.episode_offsets)
    return returns


def _sum_to_ends(
    sums: Float64[np.ndarray, " R"], offsets: Int64[np.ndarray, " M_plus_1"], gamma: float
) -> None:
    """Rewards become returns: episode by episode if those are few and long, else step by step."""
    lengths = np.diff(offsets)
    if lengths.max() > len(lengths):
        for start, end in pairwise(offsets.tolist()):
            sums[start:end] = lfilter([1.0], [1.0, -gamma], sums[start:end][::-1])[::-1]
        return
    step = np.arange(len(sums)) - np.repeat(offsets[:-1], lengths)
    order = np.argsort(step, kind="stable")
    starts = np.searchsorted(step[order], np.arange(1, lengths.max() + 1))
    for first, end in zip(starts[-2::-1], starts[:0:-1], strict=True):
        rows = order[first:end]
        sums[rows - 1] += gamma * sums[rows]


def _some(column: Any, rows: Int64[np.ndarray, " B"]) -> Any:
    """Rows of an array, of sets, or of nothing."""
    if isinstance(column, np.ndarray):
        return column.take(rows, axis=0)
    return None if column is None else column.take(rows)


def _tensor(column: Any) -> Any:
    """An array as a tensor; what is none stays."""
    return torch.from_numpy(column) if isinstance(column, np.ndarray) else column
