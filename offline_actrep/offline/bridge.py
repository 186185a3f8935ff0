"""A log as a replay buffer of d3rlpy: `algo.fit(replay_buffer(log, seed=0), n_steps=...)`.

d3rlpy keeps a Python object a transition and picks a batch one transition at a time. Here a batch
is one draw of row numbers and a gather a column, from arrays in memory or from the files of a
store; nothing is made a row. Action space and size are stated, never inferred. d3rlpy drops the
last transition of every episode that was cut off, because the next state is not in the next row;
where the log knows that state the transition is kept.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Never, final, overload

import h5py
import numpy as np
from jaxtyping import Bool, Float32, Int64

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import take
from offline_actrep.files.exchange.d3rlpy import fill_d3rlpy
from offline_actrep.offline.columns import returns_to_go
from offline_actrep.offline.episodes import (
    LoggedEpisode,
    LoggedEpisodes,
    LoggedPicker,
    LoggedSteps,
)
from offline_actrep.relabel import Relabelled

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import (
        BasicTrajectorySlicer,
        BufferProtocol,
        DatasetInfo,
        PartialTrajectory,
        ReplayBufferBase,
        TrajectoryMiniBatch,
        Transition,
        TransitionMiniBatch,
    )

LARGEST_ID = 1 << 24
"""Up to this, float32, in which d3rlpy carries actions, holds every whole number."""


def replay_buffer(data: Log | Relabelled, *, seed: int) -> "ColumnarReplayBuffer":
    """The data for any of d3rlpy's algorithms, offline.

    Of a `Relabelled` actions are its points, for learners of continuous actions; of a `Log` they
    are dense indices, which `log.action_set.decode` turns into ids as logged. Next actions, which
    ReBRAC alone reads, are not known of an episode's last row; zeros stand there.

    Args:
        data: in memory or memory-mapped; it is read as it is used, and never copied as a whole.
        seed: of what is drawn.

    Raises:
        ValueError: no row's next state is known and none terminates, or an id is too large for
            d3rlpy's float32.
    """
    log, points = (data.log, data.points) if isinstance(data, Relabelled) else (data, None)
    if points is None and len(log.action_set) - 1 > LARGEST_ID:
        raise ValueError(
            f"d3rlpy carries ids as float32, which holds whole numbers up to {LARGEST_ID:,} "
            f"exactly; this log's dense ids run to {len(log.action_set) - 1:,}. Re-label it and "
            "train on points, or take a learner of ids of this package"
        )
    steps = LoggedSteps.of(log, points)
    if not len(steps):
        raise ValueError(
            "no row of the log can be learnt from: none has a next observation and none terminates"
        )
    return ColumnarReplayBuffer(steps, np.random.default_rng(seed))


@final
class ColumnarReplayBuffer(ReplayBufferBase):
    """Made by `replay_buffer`. It does not grow: what appends is refused.

    Args:
        steps: the transitions.
        draws: where it stands moves on with every sample.
    """

    def __init__(self, steps: LoggedSteps, draws: np.random.Generator) -> None:
        self._steps, self._draws = steps, draws
        self._buffer = LoggedBuffer(steps)
        self._picker, self._slicer = LoggedPicker(), BasicTrajectorySlicer()
        log, points = steps.log, steps.points
        self._info = DatasetInfo(
            observation_signature=steps.observation_signature,
            action_signature=steps.action_signature,
            reward_signature=steps.reward_signature,
            action_space=ActionSpace.DISCRETE if points is None else ActionSpace.CONTINUOUS,
            action_size=len(log.action_set) if points is None else points.shape[1],
        )

    def __repr__(self) -> str:
        info = self._info
        return (
            f"ColumnarReplayBuffer({self.transition_count:,} transitions, {self.size():,} "
            f"episodes, {info.action_space.name.lower()} actions of size {info.action_size:,})"
        )

    def sample_transition(self) -> Transition:
        return self._picker(*self._buffer[int(self._draws.integers(len(self._steps)))])

    def sample_transition_batch(self, batch_size: int) -> TransitionMiniBatch:
        numbers = self._draws.integers(len(self._steps), size=batch_size)
        return transition_batch(self._steps, self._steps.kept.places(numbers))

    def sample_trajectory(self, length: int) -> PartialTrajectory:
        episode, index = self._buffer[int(self._draws.integers(len(self._steps)))]
        return self._slicer(episode, index, length)

    def sample_trajectory_batch(self, batch_size: int, length: int) -> TrajectoryMiniBatch:
        numbers = self._draws.integers(len(self._steps), size=batch_size)
        rows = self._steps.kept.places(numbers)
        return trajectory_batch(self._steps, rows, length, self._returns_to_go)

    @cached_property
    def _returns_to_go(self) -> Float32[np.ndarray, " N"]:
        """What sequence models are asked for; computed when the first of them draws."""
        return returns_to_go(self._steps.log, 1.0)

    @property
    def episodes(self) -> LoggedEpisodes:
        return self._buffer.episodes

    def size(self) -> int:
        return len(self._buffer.episodes)

    @property
    def buffer(self) -> "LoggedBuffer":
        return self._buffer

    @property
    def transition_count(self) -> int:
        return len(self._steps)

    @property
    def transition_picker(self) -> LoggedPicker:
        return self._picker

    @property
    def trajectory_slicer(self) -> BasicTrajectorySlicer:
        return self._slicer

    @property
    def dataset_info(self) -> DatasetInfo:
        return self._info

    def dump(self, f: Any) -> None:
        """d3rlpy's own HDF5, with action space and size stated beside it for `read_d3rlpy`."""
        with h5py.File(f, "w") as file:
            fill_d3rlpy(file, self._steps.log, self._steps.points)

    def append(self, observation: Any, action: Any, reward: Any) -> Never:
        _refuse()

    def append_episode(self, episode: Any) -> Never:
        _refuse()

    def clip_episode(self, terminated: bool) -> Never:
        _refuse()

    @classmethod
    def from_episode_generator(cls, *arguments: Any, **named: Any) -> Never:
        _refuse_making()

    @classmethod
    def load(cls, *arguments: Any, **named: Any) -> Never:
        _refuse_making()


@final
@dataclass(frozen=True, eq=False)
class LoggedBuffer(BufferProtocol):
    """What d3rlpy calls the buffer of a replay buffer: transitions by number."""

    steps: LoggedSteps

    def append(self, episode: Any, index: int) -> Never:
        _refuse()

    @property
    def episodes(self) -> LoggedEpisodes:
        return LoggedEpisodes(self.steps)

    @property
    def transition_count(self) -> int:
        return len(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[LoggedEpisode, int]:
        """The episode that transition `index` is in, and its number there."""
        number = np.array([range(len(self))[index]])
        kept, offsets = self.steps.kept, self.steps.log.episode_offsets
        episode = np.searchsorted(offsets, kept.places(number), side="right") - 1
        within = number - kept.before(offsets[episode])
        return LoggedEpisode(self.steps, int(episode[0])), int(within[0])


def transition_batch(steps: LoggedSteps, rows: Int64[np.ndarray, " B"]) -> TransitionMiniBatch:
    """The transitions of some rows of the log; as d3rlpy does, blank behind a terminal state."""
    log = steps.log
    terminals = take(log.terminated, rows)
    goes_on = ~(terminals | take(log.truncated, rows))
    observations, ahead = take(log.observations, rows), take(log.next_observations, rows)
    ahead[terminals] = 0.0
    next_actions = steps.actions(rows + goes_on).astype(np.float32)
    next_actions[~goes_on] = 0.0
    columns = {
        "observations": observations,
        "actions": steps.actions(rows).astype(np.float32, copy=False),
        "rewards": take(log.rewards, rows)[:, None],
        "next_observations": ahead,
        "next_actions": next_actions,
        "terminals": terminals[:, None].astype(np.float32),
        "intervals": np.ones((len(rows), 1), np.float32),
    }
    return TransitionMiniBatch(**columns, transitions=_Transitions(steps, rows, columns))


@final
@dataclass(frozen=True, eq=False)
class _Transitions(Sequence[Transition]):
    """The transitions of a batch, made when asked for: Cal-QL alone reads them, for its returns."""

    steps: LoggedSteps
    rows: Int64[np.ndarray, " B"]
    columns: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " B"]:
        """The row behind the last of each one's episode."""
        offsets = self.steps.log.episode_offsets
        return offsets[np.searchsorted(offsets, self.rows, side="right")]

    @overload
    def __getitem__(self, index: int) -> Transition: ...
    @overload
    def __getitem__(self, index: slice) -> list[Transition]: ...
    def __getitem__(self, index: int | slice) -> Transition | list[Transition]:
        chosen = range(len(self))[index]
        if isinstance(chosen, range):
            return [self[number] for number in chosen]
        columns = self.columns
        return Transition(
            observation=columns["observations"][chosen],
            action=columns["actions"][chosen],
            reward=columns["rewards"][chosen],
            next_observation=columns["next_observations"][chosen],
            next_action=columns["next_actions"][chosen],
            terminal=float(columns["terminals"][chosen, 0]),
            interval=1,
            rewards_to_go=self.steps.log.rewards[self.rows[chosen] : self._ends[chosen], None],
        )


def trajectory_batch(
    steps: LoggedSteps,
    rows: Int64[np.ndarray, " B"],
    length: int,
    to_go: Float32[np.ndarray, " N"],
) -> TrajectoryMiniBatch:
    """The `length` rows that end at each of some rows; zeros before the episode's first.

    Args:
        steps: the log.
        rows: rows of it.
        length: L.
        to_go: sum of rewards from each row of the log to the end of its episode.
    """
    log = steps.log
    starts = log.episode_offsets[np.searchsorted(log.episode_offsets, rows, side="right") - 1]
    places = rows[:, None] + np.arange(1 - length, 1)
    there = places >= starts[:, None]
    wanted = np.maximum(places, starts[:, None]).ravel()
    terminals = np.zeros((len(rows), length, 1), np.float32)
    terminals[:, -1, 0] = take(log.terminated, rows)
    return TrajectoryMiniBatch(
        observations=_padded(take(log.observations, wanted), there),
        actions=_padded(steps.actions(wanted), there),
        rewards=_padded(take(log.rewards, wanted)[:, None], there),
        returns_to_go=_padded(to_go[wanted, None], there),
        terminals=terminals,
        timesteps=np.where(there, places - starts[:, None] + 1, 0).astype(np.float32),
        masks=there.astype(np.float32),
        length=length,
    )


def _padded(column: np.ndarray, there: Bool[np.ndarray, "B L"]) -> Float32[np.ndarray, "B L D"]:
    """Rows `[B L, D]` by sequence, zeros where there is none."""
    rows = column.astype(np.float32).reshape(*there.shape, -1)
    rows[~there] = 0.0
    return rows


def _refuse() -> Never:
    raise NotImplementedError(
        "a log does not grow. To go on online: d3rlpy.dataset.MixedReplayBuffer("
        "primary_replay_buffer=<one that grows>, secondary_replay_buffer=<this one>, ...)"
    )


def _refuse_making() -> Never:
    raise NotImplementedError(
        "made from a log alone: replay_buffer(log, seed=0). What `dump` wrote is read by "
        "read_d3rlpy, or by d3rlpy.dataset.ReplayBuffer.load"
    )
