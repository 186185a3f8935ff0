"""What a learner is fed: columns of usable rows, and batches of them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.relabel import Relabelled


@dataclass(frozen=True)
class Batch:
    """Some rows of the columns, as tensors."""

    features: Float32[Tensor, "B F"]
    actions: Float32[Tensor, "B E"] | Int64[Tensor, " B"]
    rewards: Float32[Tensor, " B"]
    next_features: Float32[Tensor, "B F"]
    terminals: Float32[Tensor, " B"]
    returns: Float32[Tensor, " B"]
    observations: Float32[Tensor, "B S"] | None
    next_observations: Float32[Tensor, "B S"] | None
    allowed: AllowedActions | None
    next_allowed: AllowedActions | None


@dataclass(frozen=True)
class Columns:
    """What a learner is fed: features instead of observations, scaled rewards.

    Attributes:
        features: `[N, F]`.
        actions: `[N, E]` points, or `[N]` dense ids.
        rewards: `[N]` scaled.
        next_features: `[N, F]`.
        terminals: `[N]` 1 where the episode terminated.
        returns: `[N]` discounted sum of the scaled rewards from this row to the episode's end.
        observations: `[N, S]` as logged, where the learner decodes points; None elsewhere.
        next_observations: `[N, S]` likewise.
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
    allowed: AllowedActions | None = None
    next_allowed: AllowedActions | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    def batch(self, rows: Int64[np.ndarray, " B"]) -> Batch:
        """The named rows."""

        def some(column: np.ndarray) -> Tensor:
            return torch.from_numpy(column[rows])

        return Batch(
            features=some(self.features),
            actions=some(self.actions),
            rewards=some(self.rewards),
            next_features=some(self.next_features),
            terminals=some(self.terminals),
            returns=some(self.returns),
            observations=None if self.observations is None else some(self.observations),
            next_observations=(
                None if self.next_observations is None else some(self.next_observations)
            ),
            allowed=None if self.allowed is None else self.allowed.take(rows),
            next_allowed=None if self.next_allowed is None else self.next_allowed.take(rows),
        )


def learning_columns(
    data: Log | Relabelled,
    features: ObservationFeatures,
    scale: float,
    gamma: float,
    *,
    observations: bool = False,
    allowed: bool = False,
) -> Columns:
    """The rows whose next state is known, or that have none; points if there are, else ids.

    With `allowed`, what the next state allows must be known too. It stands in the episode's next
    row, so the last row of an episode that was cut off is left out: a set that is guessed would
    bring back what the mask is there to keep out.

    Args:
        data: the log, with its points or without.
        features: what learners see of an observation.
        scale: what rewards are multiplied by.
        gamma: discount a decision, for the returns.
        observations: whether batches carry them as logged.
        allowed: whether batches carry the allowed actions.

    Raises:
        ValueError: there is no such row, or allowed actions are asked for and not logged.
    """
    log = data.log if isinstance(data, Relabelled) else data
    sets = log.allowed if allowed else None
    if allowed and sets is None:
        raise ValueError("the log does not say which actions each row allowed")
    follows = np.ones(len(log), bool)
    follows[log.episode_offsets[1:] - 1] = False
    rows = np.flatnonzero(log.usable & (log.terminated | follows) if allowed else log.usable)
    if not len(rows):
        raise ValueError(
            "no row of the log can be learnt from: none has a next observation"
            f"{' and allowed actions there' if allowed else ''} and none terminates"
        )
    return Columns(
        features=features.numpy(log.observations[rows]),
        actions=data.points[rows] if isinstance(data, Relabelled) else log.actions[rows],
        rewards=log.rewards[rows] * np.float32(scale),
        next_features=features.numpy(log.next_observations[rows]),
        terminals=log.terminated[rows].astype(np.float32),
        returns=returns_to_go(log, gamma)[rows] * np.float32(scale),
        observations=log.observations[rows] if observations else None,
        next_observations=log.next_observations[rows] if observations else None,
        allowed=None if sets is None else sets.take(rows),
        next_allowed=None if sets is None else sets.take(rows + follows[rows]),
    )


def returns_to_go(log: Log, gamma: float) -> Float32[np.ndarray, " N"]:
    """Discounted sum of rewards from each row to the end of its episode, or to where it was cut."""
    returns = log.rewards.astype(np.float64)
    step = np.arange(len(log)) - np.repeat(log.episode_offsets[:-1], log.lengths)
    order = np.argsort(step, kind="stable")
    starts = np.searchsorted(step[order], np.arange(1, log.lengths.max() + 1))
    for first, end in zip(starts[-2::-1], starts[:0:-1], strict=True):
        rows = order[first:end]
        returns[rows - 1] += gamma * returns[rows]
    return returns.astype(np.float32)
