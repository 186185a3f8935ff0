"""A log: columns of whole transitions, in episodes, checked when it is made."""

import hashlib
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.mapped import blocks, release, whole_blocks


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
        checked: who wrote the columns checked every row; lengths alone are looked at again.

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
    checked: InitVar[bool] = False

    def __post_init__(self, checked: bool) -> None:
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
        self._check_offsets(n, looked_at=_FEW if checked else n + 1)
        if not checked:
            self._check_rows()

    def _check_offsets(self, n: int, looked_at: int) -> None:
        """Whether offsets rise from 0 to n, as far as every k-th of them can tell."""
        every = max(1, len(self.episode_offsets) // looked_at)
        seen = self.episode_offsets[::every]
        ends = self.episode_offsets[[0, -1]].tolist() if len(seen) else []
        if ends != [0, n] or (np.diff(seen) < every).any():
            raise ValueError(f"episode offsets must rise from 0 to {n}, without empty episodes")
        if len(self.episode_ids) != self.n_episodes:
            raise ValueError(
                f"{self.n_episodes} episodes need as many ids, got {len(self.episode_ids)}"
            )

    def _check_rows(self) -> None:
        first: dict[str, int] = {}
        count: dict[str, int] = {}
        for rows in blocks(len(self)):
            for what, bad in self._faults(rows):
                if bad.any():
                    first.setdefault(what, rows.start + int(np.argmax(bad)))
                    count[what] = count.get(what, 0) + int(bad.sum())
            self.release()
        if first:
            what, row = next(iter(first.items()))
            raise ValueError(f"row {row}: {what} ({count[what]} such rows)")

    def _faults(self, rows: slice) -> Iterator[tuple[str, Bool[np.ndarray, " B"]]]:
        """Each rule, and which of the rows break it."""
        terminated, truncated = self.terminated[rows], self.truncated[rows]
        yield "row is both terminated and truncated", terminated & truncated
        first, last = np.searchsorted(self.episode_offsets, [rows.start, rows.stop], side="right")
        lasts = np.zeros(rows.stop - rows.start, bool)
        lasts[self.episode_offsets[first:last] - 1 - rows.start] = True
        ends = terminated | truncated
        yield "episode's last row is neither terminated nor truncated", lasts & ~ends
        yield "episode goes on after a row that ends it", ~lasts & ends
        yield "observation is not finite", _not_finite(self.observations[rows])
        yield "next_observation is not finite", _not_finite(self.next_observations[rows])
        yield "reward is not finite", ~np.isfinite(self.rewards[rows])
        n_actions, actions = len(self.action_set), self.actions[rows]
        outside = (actions < 0) | (actions >= n_actions)
        yield f"action is not a dense index 0..{n_actions - 1}", outside
        if self.action_probabilities is not None:
            p = self.action_probabilities[rows]
            yield "action_probability is not in (0, 1]", ~((p > 0) & (p <= 1))
        if self.allowed is not None:
            allowed = self.allowed.between(rows.start, rows.stop)
            yield "allowed_actions lack the logged action", ~allowed.holds(actions)
            what = f"allowed_actions are not dense indices 0..{n_actions - 1}"
            yield what, ~allowed.within(n_actions)

    def release(self) -> None:
        """Gives back the memory that reading mapped columns took; see `core.mapped.release`.

        Call it every some minibatches of a log that is larger than memory. For a log in memory
        it does nothing.
        """
        columns = [getattr(self, name) for name in (*_ROW_COLUMNS, "episode_offsets")]
        release(*(column for column in columns if isinstance(column, np.ndarray)))
        if self.allowed is not None:
            release(self.allowed.offsets, self.allowed.indices)

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
        return self.discounted_returns(1.0)

    def discounted_returns(self, gamma: float) -> Float64[np.ndarray, " M"]:
        """Discounted return of every episode from its first row."""
        returns = np.empty(self.n_episodes)
        for episodes in whole_blocks(self.episode_offsets):
            offsets = self.episode_offsets[episodes.start : episodes.stop + 1]
            rows, starts = slice(offsets[0], offsets[-1]), offsets[:-1] - offsets[0]
            step = np.arange(rows.stop - rows.start) - np.repeat(starts, np.diff(offsets))
            returns[episodes] = np.add.reduceat(self.rewards[rows] * gamma**step, starts)
            release(self.rewards, self.episode_offsets)
        return returns

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
        taken = replace(
            self,
            **columns,
            allowed=None if self.allowed is None else self.allowed.take(rows),
            episode_offsets=offsets,
            episode_ids=self.episode_ids[episodes],
        )
        self.release()
        return taken

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
        """SHA-256 of the rows and the ids of actions, as hex; their features do not count."""
        digest = hashlib.sha256()
        for name in (*_ROW_COLUMNS, "episode_offsets"):
            column = getattr(self, name)
            if column is not None:
                parts = [column]
                if isinstance(column, AllowedActions):
                    parts = [column.offsets, column.indices]
                _digest_column(digest, name, parts)
        _digest_column(digest, "ids", [self.action_set.ids])
        return digest.hexdigest()


_FEW = 512
"""Offsets that are looked at in columns that were checked before."""

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


def _digest_column(digest: "hashlib._Hash", name: str, parts: list[np.ndarray]) -> None:
    """Name, type, shape and bytes of arrays below one another, a block at a time.

    Strings are taken without room for longer ones than there are.
    """
    dtype, shape = parts[0].dtype, parts[0].shape
    if dtype.kind == "U":
        longest = max(longest_string(part) for part in parts)
        dtype = np.dtype(f"<U{max(1, longest)}")
    shape = (sum(len(part) for part in parts), *shape[1:])
    digest.update(f"{name}:{dtype}:{shape}".encode())
    for part in parts:
        for rows in blocks(len(part)):
            digest.update(np.ascontiguousarray(part[rows], dtype).tobytes())
            release(part)


def longest_string(column: np.ndarray) -> int:
    """Characters of the longest entry of a column of strings."""
    longest = 0
    for rows in blocks(len(column)):
        longest = max(longest, int(np.strings.str_len(column[rows]).max()))
        release(column)
    return longest


def _not_finite(matrix: Float32[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
    bad = np.zeros(len(matrix), bool)
    if not np.isfinite(matrix).all():
        bad[:] = ~np.isfinite(matrix).all(axis=1)
    return bad
