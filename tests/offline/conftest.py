"""Data for learners, and d3rlpy's own learners with the weights of ours."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.dataset import TransitionMiniBatch

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.offline.columns import Batch
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.catalog import fit


@pytest.fixture(scope="session")
def points(maze_log: Log) -> Relabelled:
    """The tiny maze log with random points of 2 coordinates and random sets of allowed actions."""
    mask = np.random.default_rng(5).random((len(maze_log), 16)) < 0.4
    mask[np.arange(len(maze_log)), maze_log.actions] = True
    log = replace(maze_log, allowed=AllowedActions.of_mask(mask))
    return relabel(log, fit("random_table", log, seed=0, dim=2))


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """Random rows: `make_batch(seed, actions, mask=None, next_mask=None)`."""

    def make(
        seed: int,
        n_actions: int,
        mask: np.ndarray | None = None,
        next_mask: np.ndarray | None = None,
    ) -> Batch:
        draws = np.random.default_rng(seed)
        n = 16 if mask is None else len(mask)

        def normal(*shape: int) -> torch.Tensor:
            return torch.from_numpy(draws.normal(size=shape).astype(np.float32))

        return Batch(
            features=normal(n, 3),
            actions=torch.from_numpy(draws.integers(n_actions, size=n)),
            rewards=2 * normal(n),
            next_features=normal(n, 3),
            terminals=torch.from_numpy((draws.random(n) < 0.3).astype(np.float32)),
            returns=normal(n),
            observations=None,
            next_observations=None,
            ids=None,
            allowed=None if mask is None else AllowedActions.of_mask(mask),
            next_allowed=None if next_mask is None else AllowedActions.of_mask(next_mask),
        )

    return make


@pytest.fixture(scope="session")
def as_theirs() -> Callable[[Batch], TransitionMiniBatch]:
    """A batch of ids as d3rlpy takes it."""

    def convert(batch: Batch) -> TransitionMiniBatch:
        actions = batch.actions[:, None].float().numpy()
        columns: dict[str, Any] = {
            "observations": batch.features.numpy(),
            "actions": actions,
            "rewards": batch.rewards[:, None].numpy(),
            "next_observations": batch.next_features.numpy(),
            "next_actions": actions,
            "terminals": batch.terminals[:, None].numpy(),
            "intervals": np.ones_like(actions),
        }
        return TransitionMiniBatch(**columns, transitions=())

    return convert
