"""A log as d3rlpy sees it: transitions numbered from 0, and episodes that are made when asked for.

d3rlpy looks for the next state in an episode's next row. An episode that was cut off where the next
state is known therefore has one row more (point or id 0, reward 0), as in `mdp_dataset`, so that
d3rlpy's own pickers and slicers find it; ours read the log.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final, overload

import numpy as np
from jaxtyping import Float32, Int64

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import take
from offline_actrep.offline.numbering import Numbering, usable_rows

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    from d3rlpy.dataset import (
        BasicTransitionPicker,
        Episode,
        EpisodeBase,
        Signature,
        Transition,
        TransitionPickerProtocol,
    )


@final
@dataclass(frozen=True, eq=False)
class LoggedSteps:
    """The transitions of a log.

    Attributes:
        log: the rows.
        points: `[N, E]` of the logged actions, or None for dense ids.
        kept: the rows that are transitions.
        filled: the episodes that have one; d3rlpy does not know of others.
    """

    log: Log
    points: Float32[np.ndarray, "N E"] | None
    kept: Numbering
    filled: Numbering

    @staticmethod
    def of(log: Log, points: Float32[np.ndarray, "N E"] | None) -> "LoggedSteps":
        """Every row whose next state is known or that has none."""
        kept, offsets = usable_rows(log, sets=False), log.episode_offsets
        within = np.searchsorted(offsets, kept.left_out, side="right") - 1
        episodes, counts = np.unique(within, return_counts=True)
        bare = episodes[counts == offsets[episodes + 1] - offsets[episodes]]
        return LoggedSteps(log, points, kept, Numbering(log.n_episodes, bare))

    def __len__(self) -> int:
        return len(self.kept)

    def actions(self, rows: Int64[np.ndarray, " B"]) -> np.ndarray:
        """Points `[B, E]` or ids `[B, 1]` of rows of the log."""
        return (
            take(self.log.actions, rows)[:, None]
            if self.points is None
            else take(self.points, rows)
        )

    @cached_property
    def observation_signature(self) -> Signature:
        """Type and shape of an observation."""
        return _signature(np.float32, self.log.observation_size)

    @cached_property
    def action_signature(self) -> Signature:
        """Of an action."""
        if self.points is None:
            return _signature(np.int64, 1)
        return _signature(np.float32, self.points.shape[1])

    @cached_property
    def reward_signature(self) -> Signature:
        """Of a reward."""
        return _signature(np.float32, 1)


def _signature(dtype: Any, size: int) -> Signature:
    return Signature(dtype=[np.dtype(dtype)], shape=[(size,)])


@final
@dataclass(frozen=True, eq=False)
class LoggedEpisode(EpisodeBase):
    """One episode, read from the log as its parts are asked for.

    Attributes:
        steps: the log that it is of.
        number: its place among the log's episodes.
    """

    steps: LoggedSteps
    number: int

    @cached_property
    def _rows(self) -> Int64[np.ndarray, " T"]:
        """The rows that are transitions."""
        kept, bounds = (
            self.steps.kept,
            self.steps.log.episode_offsets[self.number : self.number + 2],
        )
        return kept.places(np.arange(*kept.before(bounds)))

    @cached_property
    def _bounds(self) -> tuple[int, int, bool]:
        """First row, the row behind the last, and whether one more follows for d3rlpy."""
        log = self.steps.log
        start, end = log.episode_offsets[self.number : self.number + 2].tolist()
        return start, end, bool(log.truncated[end - 1] and log.has_next[end - 1])

    @cached_property
    def observations(self) -> Float32[np.ndarray, "L S"]:
        (start, end, more), log = self._bounds, self.steps.log
        seen = log.observations[start:end]
        return np.append(seen, log.next_observations[end - 1 : end], axis=0) if more else seen

    @cached_property
    def actions(self) -> np.ndarray:
        """Points `[L, E]` or ids `[L, 1]`."""
        start, end, more = self._bounds
        points = self.steps.points
        return _longer(
            self.steps.log.actions[start:end, None] if points is None else points[start:end], more
        )

    @cached_property
    def rewards(self) -> Float32[np.ndarray, "L 1"]:
        start, end, more = self._bounds
        return _longer(self.steps.log.rewards[start:end, None], more)

    @property
    def terminated(self) -> bool:
        return bool(self.steps.log.terminated[self._bounds[1] - 1])

    @property
    def observation_signature(self) -> Signature:
        return self.steps.observation_signature

    @property
    def action_signature(self) -> Signature:
        return self.steps.action_signature

    @property
    def reward_signature(self) -> Signature:
        return self.steps.reward_signature

    def size(self) -> int:
        """Rows, the one that may follow for d3rlpy among them."""
        start, end, more = self._bounds
        return end - start + more

    def __len__(self) -> int:
        """Transitions: d3rlpy's metrics cut episodes by it, and fail on a piece without one."""
        return self.transition_count

    @property
    def transition_count(self) -> int:
        return len(self._rows)

    def compute_return(self) -> float:
        return float(self.rewards.sum())

    def transition(self, index: int) -> Transition:
        """The index-th transition; as d3rlpy does, blank behind a terminal state."""
        steps, row = self.steps, int(self._rows[index])
        log, end = steps.log, self._bounds[1]
        here = np.array([row])
        action, ahead = steps.actions(here)[0], log.next_observations[row]
        terminal, last = bool(log.terminated[row]), row == end - 1
        return Transition(
            observation=log.observations[row],
            action=action,
            reward=log.rewards[row : row + 1],
            next_observation=np.zeros_like(ahead) if terminal else ahead,
            next_action=np.zeros_like(action) if last else steps.actions(here + 1)[0],
            terminal=float(terminal),
            interval=1,
            rewards_to_go=log.rewards[row:end, None],
        )

    def serialize(self) -> dict[str, Any]:
        return {
            "observations": self.observations,
            "actions": self.actions,
            "rewards": self.rewards,
            "terminated": self.terminated,
        }

    @classmethod
    def deserialize(cls, serializedData: dict[str, Any]) -> Episode:
        """Arrays that have left the log are an episode of d3rlpy's own."""
        return Episode.deserialize(serializedData)


def _longer(column: np.ndarray, more: bool) -> np.ndarray:
    """With a row of zeros behind it if there is one more."""
    return np.append(column, np.zeros_like(column[:1]), axis=0) if more else column


@final
@dataclass(frozen=True, eq=False)
class LoggedEpisodes(Sequence[LoggedEpisode]):
    """The episodes that have a transition, each made when it is asked for."""

    steps: LoggedSteps

    def __len__(self) -> int:
        return len(self.steps.filled)

    @overload
    def __getitem__(self, index: int) -> LoggedEpisode: ...
    @overload
    def __getitem__(self, index: slice) -> list[LoggedEpisode]: ...
    def __getitem__(self, index: int | slice) -> LoggedEpisode | list[LoggedEpisode]:
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return [self[number] for number in chosen]
        return LoggedEpisode(self.steps, int(self.steps.filled.places(np.array([chosen]))[0]))


@final
class LoggedPicker(TransitionPickerProtocol):
    """The transition as it was logged; of an episode of d3rlpy's own, as d3rlpy picks it."""

    def __call__(self, episode: Any, index: int) -> Transition:
        if isinstance(episode, LoggedEpisode):
            return episode.transition(index)
        return BasicTransitionPicker()(episode, index)


LoggedPicker.register(BasicTransitionPicker)  # type: ignore[attr-defined]
"""`MixedReplayBuffer` wants two buffers to pick alike, and asks for the one's type of the other."""
