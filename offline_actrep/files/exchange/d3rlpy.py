"""Logs as d3rlpy reads them, and d3rlpy without its notice about `gym`.

d3rlpy infers an action space from the first episode's values and an action size from the largest
id, and drops the last row of every episode that did not terminate. Here space and size are stated,
and a truncated episode whose last next state is known carries it as one more row (point 0, reward
0), which d3rlpy drops instead: no transition is lost.

d3rlpy's HDF5 has neither space nor size, so it guesses again when it reads a file. `write_d3rlpy`
states them beside the columns, in a group that d3rlpy does not look at, with what else d3rlpy has
no place for; `read_d3rlpy` has d3rlpy read the columns and hands it what was stated.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32

from offline_actrep.core.log import Log
from offline_actrep.files.parquet import whole_file

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    import d3rlpy
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import Episode, InfiniteBuffer, MDPDataset, ReplayBuffer, load


def mdp_dataset(log: Log, points: Float32[np.ndarray, "N E"] | None = None) -> MDPDataset:
    """The log as an `MDPDataset`: of points if given, else of dense action indices.

    Raises:
        ValueError: points of another length than the log.
    """
    if points is not None and len(points) != len(log):
        raise ValueError(f"the log has {len(log)} rows, the points have {len(points)}")
    actions = log.actions[:, None] if points is None else points
    tails = np.flatnonzero(log.truncated & log.has_next) + 1
    timeouts = np.insert(log.truncated & ~log.has_next, tails, True)
    return MDPDataset(
        observations=np.insert(log.observations, tails, log.next_observations[tails - 1], axis=0),
        actions=np.insert(actions, tails, 0, axis=0),
        rewards=np.insert(log.rewards, tails, 0.0)[:, None],
        terminals=np.insert(log.terminated, tails, False).astype(np.float32),
        timeouts=timeouts.astype(np.float32),
        action_space=_space(points),
        action_size=len(log.action_set) if points is None else points.shape[1],
    )


OURS = "offline_actrep"
"""The group of a file that d3rlpy does not look at."""


def write_d3rlpy(
    log: Log, path: str | Path, points: Float32[np.ndarray, "N E"] | None = None
) -> None:
    """The log as d3rlpy's own HDF5, version 2.1, an episode at a time; whole or not at all.

    The group `offline_actrep` states `action_space` and `action_size`, and holds `action_ids` and
    `action_probabilities` a row of the log, and `episode_ids` and `episode_lengths` an episode:
    what d3rlpy calls episode m begins with `episode_lengths[m]` rows of the log, which one row
    more may follow (see above).

    Args:
        log: the rows; N of them.
        path: its folder is made where there is none.
        points: of the logged actions; without them the actions are dense indices.

    Raises:
        ValueError: points of another length than the log.
    """
    if points is not None and len(points) != len(log):
        raise ValueError(f"the log has {len(log)} rows, the points have {len(points)}")
    with whole_file(Path(path)) as unfinished, h5py.File(unfinished, "w") as file:
        fill_d3rlpy(file, log, points)


def fill_d3rlpy(file: h5py.File, log: Log, points: Float32[np.ndarray, "N E"] | None) -> None:
    """What `write_d3rlpy` writes, into a file that is open and empty."""
    file["columns"] = ["observations", "actions", "rewards", "terminated"]
    file["num_episodes"] = log.n_episodes
    for number in range(log.n_episodes):
        for name, column in _episode(log, points, number).items():
            file[f"{name}_{number}"] = column
    file["version"] = d3rlpy.dataset.io.DATASET_VERSION
    ours = file.create_group(OURS)
    ours.attrs["action_space"] = _space(points).name
    ours.attrs["action_size"] = len(log.action_set) if points is None else points.shape[1]
    ours["action_ids"] = _storable(log.action_set.decode(log.actions))
    ours["episode_ids"] = _storable(log.episode_ids)
    ours["episode_lengths"] = log.lengths
    if log.action_probabilities is not None:
        ours["action_probabilities"] = log.action_probabilities


def read_d3rlpy(path: str | Path) -> ReplayBuffer:
    """What `write_d3rlpy` wrote, read by d3rlpy, with space and size as they were stated.

    Raises:
        ValueError: the file does not state them.
    """
    with h5py.File(path, "r") as file:
        if OURS not in file:
            raise ValueError(
                f"{path}: expected the action space under {OURS!r}, got none. To mend it: read the "
                "file with d3rlpy's own ReplayBuffer.load and look at what it infers"
            )
        stated: dict[str, Any] = dict(file[OURS].attrs)
    with Path(path).open("rb") as stream:
        episodes = load(Episode, stream)
    return ReplayBuffer(
        InfiniteBuffer(),
        episodes=episodes,
        action_space=ActionSpace[stated["action_space"]],
        action_size=int(stated["action_size"]),
    )


def _episode(log: Log, points: Float32[np.ndarray, "N E"] | None, number: int) -> dict[str, Any]:
    """The columns of one episode by d3rlpy's names, with the row that stands for what followed."""
    start, end = log.episode_offsets[number : number + 2]
    rows, last = slice(start, end), end - 1
    actions = log.actions[rows, None] if points is None else points[rows]
    observations, rewards = log.observations[rows], log.rewards[rows, None]
    if log.truncated[last] and log.has_next[last]:
        observations = np.append(observations, log.next_observations[last:end], axis=0)
        actions = np.append(actions, np.zeros_like(actions[:1]), axis=0)
        rewards = np.append(rewards, np.zeros_like(rewards[:1]), axis=0)
    return {
        "observations": observations,
        "actions": actions,
        "rewards": rewards,
        "terminated": log.terminated[last],
    }


def _space(points: Float32[np.ndarray, "N E"] | None) -> ActionSpace:
    return ActionSpace.DISCRETE if points is None else ActionSpace.CONTINUOUS


def _storable(ids: np.ndarray) -> Any:
    """Ids as h5py takes them: strings as UTF-8 of any length."""
    return ids if ids.dtype.kind == "i" else ids.astype(h5py.string_dtype())


VERSION = d3rlpy.__version__
"""Of the installed d3rlpy, for a run's record."""
