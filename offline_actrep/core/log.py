"""A log: columns of whole transitions, in episodes, checked when it is made."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions


@dataclass(frozen=True, eq=False)
class Log:
    """N transitions in episode order.

    Attributes:
        action_set: the catalogue; `actions` are its dense indices.
        observations: `[N, S]`.
        actions: `[N]` dense indices.
        rewards: `[N]` in the log's own unit.
        terminated: `[N]` the episode ended in a terminal state after this row.
        truncated: `[N]` the episode was cut off after this row.
        next_observations: `[N, S]`; where `has_next` is False the row's own observation stands in.
        has_next: `[N]` whether the next observation is known.
        episode_offsets: `[M + 1]` episode m is rows `offsets[m]:offsets[m + 1]`.
        episode_ids: `[M]` as logged.
        action_probabilities: `[N]` probability with which the logged action was drawn, or None.
        allowed: the actions that could have been chosen, or None for all.
        timestamps: `[N]` as logged, or None.
        splits: `[N]` name of the split a row belongs to, or None.
        observation_names: a name a column of the observations, or empty.

    Raises:
        ValueError: columns of unequal length, an episode with no end or more than one, values that
            are not finite, an action outside the catalogue, a probability outside (0, 1], an
            allowed set that lacks the logged action. Says row, what was expected, what there is.
    """

    action_set: ActionSet
    observations: Float32[np.ndarray, "N S"]
    actions: Int64[np.ndarray, " N"]
    rewards: Float32[np.ndarray, " N"]
    terminated: Bool[np.ndarray, " N"]
    truncated: Bool[np.ndarray, " N"]
    next_observations: Float32[np.ndarray, "N S"]
    has_next: Bool[np.ndarray, " N"]
    episode_offsets: Int64[np.ndarray, " M_plus_1"]
    episode_ids: np.ndarray
    action_probabilities: Float64[np.ndarray, " N"] | None = None
    allowed: AllowedActions | None = None
    timestamps: np.ndarray | None = None
    splits: np.ndarray | None = None
    observation_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.actions)
        if n == 0:
            raise ValueError("a log needs at least one row, got none")
        for name in _ROW_COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"column {name} has {len(column)} rows, the actions have {n}")
        if self.observations.shape != self.next_observations.shape:
            raise ValueError(
                f"next_observations must be {self.observations.shape} like the observations, "
                f"got {self.next_observations.shape}"
            )
        if self.observation_names and len(self.observation_names) != self.observation_size:
            raise ValueError(
                f"{self.observation_size} observation columns need as many names, "
                f"got {len(self.observation_names)}"
            )
        self._check_episodes(n)
        _refuse(~np.isfinite(self.observations).all(axis=1), "observation is not finite")
        _refuse(~np.isfinite(self.next_observations).all(axis=1), "next_observation is not finite")
        _refuse(~np.isfinite(self.rewards), "reward is not finite")
        outside = (self.actions < 0) | (self.actions >= len(self.action_set))
        _refuse(outside, f"action is not a dense index 0..{len(self.action_set) - 1}")
        if self.action_probabilities is not None:
            p = self.action_probabilities
            _refuse(~((p > 0) & (p <= 1)), "action_probability is not in (0, 1]")
        if self.allowed is not None:
            _refuse(~self.allowed.holds(self.actions), "allowed_actions lack the logged action")

    def _check_episodes(self, n: int) -> None:
        offsets = self.episode_offsets
        if offsets[0] != 0 or offsets[-1] != n or (np.diff(offsets) <= 0).any():
            raise ValueError(f"episode offsets must rise from 0 to {n}, without empty episodes")
        if len(self.episode_ids) != len(offsets) - 1:
            raise ValueError(
                f"{len(offsets) - 1} episodes need as many ids, got {len(self.episode_ids)}"
            )
        _refuse(self.terminated & self.truncated, "row is both terminated and truncated")
        ends = np.zeros(n, bool)
        ends[offsets[1:] - 1] = True
        _refuse(ends & ~self.ends, "episode's last row is neither terminated nor truncated")
        _refuse(~ends & self.ends, "episode goes on after a row that ends it")

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        return (
            f"Log({len(self):,} rows, {self.n_episodes:,} episodes, "
            f"{len(self.action_set):,} actions, observation size {self.observation_size}, "
            f"propensities {'logged' if self.action_probabilities is not None else 'not logged'})"
        )

    @property
    def observation_size(self) -> int:
        """S."""
        return self.observations.shape[1]

    @property
    def n_episodes(self) -> int:
        """M."""
        return len(self.episode_offsets) - 1

    @property
    def ends(self) -> Bool[np.ndarray, " N"]:
        """Whether a row is the last of its episode, for either reason."""
        return self.terminated | self.truncated

    @property
    def usable(self) -> Bool[np.ndarray, " N"]:
        """Rows a Bellman backup can use: the next state is known, or there is none."""
        return self.has_next | self.terminated

    @property
    def starts(self) -> Float32[np.ndarray, "M S"]:
        """The first observation of every episode."""
        return self.observations[self.episode_offsets[:-1]]

    @cached_property
    def returns(self) -> Float64[np.ndarray, " M"]:
        """Undiscounted return of every episode."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.episode_offsets[:-1])

    def discounted_returns(self, gamma: float) -> Float64[np.ndarray, " M"]:
        """Discounted return of every episode from its first row."""
        step = np.arange(len(self)) - np.repeat(self.episode_offsets[:-1], self.lengths)
        return np.add.reduceat(self.rewards * gamma**step, self.episode_offsets[:-1])

    @property
    def lengths(self) -> Int64[np.ndarray, " M"]:
        """Rows of every episode."""
        return np.diff(self.episode_offsets)

    def take_episodes(self, episodes: Int64[np.ndarray, " K"]) -> "Log":
        """The named episodes, whole, in the order named; one may be named more than once."""
        if len(episodes) == 0:
            raise ValueError("a log needs at least one episode, none was named")
        lengths = self.lengths[episodes]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        rows = np.repeat(self.episode_offsets[episodes], lengths) + within
        columns = {
            name: column[rows]
            for name in _ROW_COLUMNS
            if name != "allowed" and (column := getattr(self, name)) is not None
        }
        return replace(
            self,
            **columns,
            allowed=None if self.allowed is None else self.allowed.take(rows),
            episode_offsets=offsets,
            episode_ids=self.episode_ids[episodes],
        )

    def split(self, held_out: float, *, seed: int) -> tuple["Log", "Log"]:
        """Whole episodes at random into a kept part and a held-out part.

        Raises:
            ValueError: fewer than two episodes, or a share that leaves a part empty.
        """
        n_held = round(self.n_episodes * held_out)
        if not 0 < n_held < self.n_episodes:
            raise ValueError(
                f"holding out {held_out:.0%} of {self.n_episodes} episodes leaves a part empty; "
                "both parts need at least one"
            )
        order = np.random.default_rng(seed).permutation(self.n_episodes)
        return self.take_episodes(np.sort(order[n_held:])), self.take_episodes(
            np.sort(order[:n_held])
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything a learner can see, as hex."""
        digest = hashlib.sha256()
        for name in (*_ROW_COLUMNS, "episode_offsets"):
            column = getattr(self, name)
            if isinstance(column, AllowedActions):
                column = np.concatenate([column.offsets, column.indices])
            if column is not None:
                column = _trimmed(column)
                digest.update(f"{name}:{column.dtype}:{column.shape}".encode())
                digest.update(np.ascontiguousarray(column).tobytes())
        ids = _trimmed(self.action_set.ids)
        digest.update(f"ids:{ids.dtype}:{ids.shape}".encode())
        digest.update(ids.tobytes())
        return digest.hexdigest()


_ROW_COLUMNS = (
    "actions",
    "observations",
    "rewards",
    "terminated",
    "truncated",
    "next_observations",
    "has_next",
    "action_probabilities",
    "allowed",
    "timestamps",
    "splits",
)


def _trimmed(column: np.ndarray) -> np.ndarray:
    """Strings without room for longer ones than there are; any other column as it is."""
    if column.dtype.kind != "U":
        return column
    return column.astype(f"<U{max(1, int(np.strings.str_len(column).max()))}")


def _refuse(bad: Any, what: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"row {row}: {what} ({int(bad.sum())} such rows)")
