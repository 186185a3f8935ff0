"""Logs as Minari stores them: episodes of points, with the logged ids in the infos.

Minari keeps T + 1 observations for the T rows of an episode. The last one is the next
observation of the last row where the log knows it, and else that row's own observation once
more. Inside an episode a row's next observation is the following row's.
"""

import re
import warnings
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import gymnasium as gym
import numpy as np
from jaxtyping import Float32

from offline_actrep.core.log import Log

try:
    import minari
    import minari.data_collector
except ImportError:  # the extra `minari` was not asked for
    minari = None

MinariDataset: TypeAlias = Any
"""A `minari.MinariDataset`; the name stands where Minari is not installed, too."""

_ID = re.compile(r"([-\w][-\w/]*[-\w]/)?[-\w]+-v\d+")


DataFormat: TypeAlias = Literal["hdf5", "arrow"]
"""Of Minari's formats, those that are written here."""

_MOST_ARROW_ROWS = 1 << 15
"""Minari takes each batch of an Arrow file for an episode, and pyarrow cuts batches here."""


def minari_dataset(
    log: Log,
    points: Float32[np.ndarray, "N E"],
    dataset_id: str,
    *,
    data_format: DataFormat = "hdf5",
) -> MinariDataset:
    """Writes the log into Minari's local store (`MINARI_DATASETS_PATH`, else the home folder).

    The actions are the points, in a box [-1, 1]^E. The infos hold an entry an action: `action_id`
    as logged (HDF5 hands strings back as UTF-8 bytes), and `action_probability` if the log has
    it. In Arrow Minari wants as many infos as observations, so the last stands there twice. The
    metadata of an episode hold its id in the log as `logged_id`, and as `next_known` whether the
    last observation is the one that followed.

    Args:
        log: the rows; N of them.
        points: of the logged actions.
        dataset_id: `name-v0` or `folder/name-v0`; not yet in the store.
        data_format: one HDF5 file, or an Arrow file an episode.

    Raises:
        ImportError: Minari is not installed.
        ValueError: points of another number than the rows, or outside the cube; an id that is
            not of that form, or that the store has already; an episode that is too long for
            Arrow as Minari reads it.
    """
    if minari is None:
        raise ImportError('Minari is not installed: pip install "offline_actrep[minari]"')
    if len(points) != len(log):
        raise ValueError(f"the log has {len(log)} rows, the points have {len(points)}")
    outside = ~(np.abs(points) <= 1).all(axis=1)
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"row {row}: point {points[row].tolist()} does not lie in the cube "
            f"[-1, 1]^{points.shape[1]} ({int(outside.sum())} such rows)"
        )
    if not _ID.fullmatch(dataset_id):
        raise ValueError(
            f"a Minari id reads `name-v0` or `folder/name-v0`, got {dataset_id!r}; "
            "letters, digits, - and _, and a version at the end"
        )
    longest = int(log.lengths.max())
    if data_format == "arrow" and longest >= _MOST_ARROW_ROWS:
        raise ValueError(
            f"an episode has {longest:,} rows, and from Arrow Minari reads only episodes of fewer "
            f"than {_MOST_ARROW_ROWS:,}; write data_format='hdf5'"
        )
    buffer = minari.data_collector.EpisodeBuffer
    padded = data_format == "arrow"
    episodes: Any = (buffer(**columns) for columns in _episodes(log, points, padded))  # read once
    with warnings.catch_warnings():
        # A log does not know its author, code or environment; Minari warns of each.
        warnings.filterwarnings("ignore", ".*(set to None|env_spec is None)", UserWarning)
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            episodes,
            observation_space=gym.spaces.Box(-np.inf, np.inf, (log.observation_size,)),
            action_space=gym.spaces.Box(-1.0, 1.0, (points.shape[1],)),
            description=f"{log!r}, actions as points of {points.shape[1]} coordinates",
            data_format=data_format,
        )
    dataset.storage.update_episode_metadata(_metadata(log))
    return dataset


def _metadata(log: Log) -> Iterator[dict[str, Any]]:
    for logged_id, known in zip(
        log.episode_ids, log.has_next[log.episode_offsets[1:] - 1], strict=True
    ):
        yield {"logged_id": logged_id.item(), "next_known": bool(known)}


def _episodes(
    log: Log, points: Float32[np.ndarray, "N E"], padded: bool
) -> Iterator[dict[str, Any]]:
    """The columns of one episode after another, by Minari's names; `padded` as Arrow wants it."""
    for start, end in zip(log.episode_offsets[:-1], log.episode_offsets[1:], strict=True):
        rows = slice(start, end)
        following = log.next_observations if log.has_next[end - 1] else log.observations
        taken = np.arange(start, end)
        if padded:
            taken = np.append(taken, end - 1)
        ids = log.action_set.decode(log.actions[taken])
        # A numpy column of numbers does not come back from Arrow, a list does.
        infos = {"action_id": ids.tolist() if padded or ids.dtype.kind != "i" else ids}
        if log.action_probabilities is not None:
            chances = log.action_probabilities[taken]
            infos["action_probability"] = chances.tolist() if padded else chances
        yield {
            "observations": np.append(log.observations[rows], following[end - 1 : end], axis=0),
            "actions": points[rows],
            "rewards": log.rewards[rows],
            "terminations": log.terminated[rows],
            "truncations": log.truncated[rows],
            "infos": infos,
        }
