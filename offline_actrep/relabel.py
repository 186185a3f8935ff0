"""A log with a point beside each action id: `relabel(log, representation) -> Relabelled`."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from jaxtyping import Float32, Int64

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.exchange.d3rlpy import MDPDataset, mdp_dataset
from offline_actrep.files.exchange.minari import MinariDataset, minari_dataset
from offline_actrep.files.parquet import write_log

ROWS_AT_ONCE = 1024
"""Rows that go through an encoder together: few enough that a layer of 256 stays in the cache."""

_RELEASED_EVERY = 64
"""Such chunks between two times that the pages of a mapped log are given back."""


@final
@dataclass(frozen=True, eq=False)
class Relabelled:
    """The same rows, ids kept, with the point of every logged action.

    Attributes:
        log: the log as it was.
        representation: what made the points, needed to decode a policy's.
        points: `[N, E]` in [-1, 1].

    Raises:
        ValueError: points of another number than the log's rows, or of another length than the
            representation's.
    """

    log: Log
    representation: AbstractRepresentation
    points: Float32[np.ndarray, "N E"]

    def __post_init__(self) -> None:
        expected = (len(self.log), self.representation.dim)
        if self.points.shape != expected:
            raise ValueError(f"points must be {expected}, got {self.points.shape}")

    def __repr__(self) -> str:
        return f"Relabelled({self.log!r}, points of {self.representation.dim} coordinates)"

    def to_d3rlpy(self) -> MDPDataset:
        """Episodes of points with the action space stated; no transition is lost."""
        return mdp_dataset(self.log, self.points)

    def to_minari(self, dataset_id: str) -> MinariDataset:
        """A dataset in Minari's local store, e.g. `maze/merlion-v0`; ids go into the infos.

        Raises:
            ImportError: Minari is not installed (`pip install "offline_actrep[minari]"`).
        """
        return minari_dataset(self.log, self.points, dataset_id)

    def write_parquet(self, path: str | Path) -> None:
        """The canonical log with one more column, `point`."""
        write_log(self.log, path, points=self.points)


def relabel(
    log: Log, representation: AbstractRepresentation, *, on_step: OnStep | None = None
) -> Relabelled:
    """The point of every logged action in its state.

    Raises:
        ValueError: the representation was made for another catalogue or observation size.
    """
    check_fits(representation, log)
    points = np.empty((len(log), representation.dim), np.float32)
    for chunk, rows in enumerate(blocks(len(log), ROWS_AT_ONCE), 1):
        points[rows] = embed_rows(representation, log.observations[rows], log.actions[rows])
        if chunk % _RELEASED_EVERY == 0:
            log.release()
        if on_step is not None:
            on_step(rows.stop, len(log), {})
    return Relabelled(log, representation, points)


def check_fits(representation: AbstractRepresentation, log: Log) -> None:
    """Refuses a log of other actions or observations than the representation was made for.

    Raises:
        ValueError: it was made for another catalogue or observation size.
    """
    representation.action_set.must_equal(log.action_set, "the representation", "the log")
    if representation.observation_size != log.observation_size:
        raise ValueError(
            f"the representation takes observations of {representation.observation_size} columns, "
            f"the log has {log.observation_size}"
        )


def embed_rows(
    representation: AbstractRepresentation,
    observations: Float32[np.ndarray, "R S"],
    actions: Int64[np.ndarray, " R"],
) -> Float32[np.ndarray, "R E"]:
    """The points of dense actions in the observations beside them, from arrays of any kind."""
    points = np.empty((len(actions), representation.dim), np.float32)
    for rows in blocks(len(actions), ROWS_AT_ONCE):
        # Copies, because torch takes no arrays that are read-only, as mapped ones are.
        seen, taken = np.array(observations[rows]), np.array(actions[rows])
        points[rows] = representation.embed(torch.from_numpy(seen), torch.from_numpy(taken)).numpy()
    return points
