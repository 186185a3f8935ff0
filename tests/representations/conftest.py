"""Logs of single decisions, made by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log

HandLog = Callable[..., Log]


@pytest.fixture
def hand_log() -> HandLog:
    """Makes a log whose every row is an episode that is cut off, its next state known."""

    def make(
        observations: np.ndarray,
        actions: np.ndarray,
        following: np.ndarray,
        *,
        n_actions: int,
        rewards: np.ndarray | None = None,
        has_next: np.ndarray | None = None,
    ) -> Log:
        n = len(actions)
        return Log(
            action_set=ActionSet.dense(n_actions),
            observations=observations.astype(np.float32),
            actions=actions.astype(np.int64),
            rewards=np.zeros(n, np.float32) if rewards is None else rewards.astype(np.float32),
            terminated=np.zeros(n, bool),
            truncated=np.ones(n, bool),
            next_observations=following.astype(np.float32),
            has_next=np.ones(n, bool) if has_next is None else has_next,
            episode_offsets=np.arange(n + 1),
            episode_ids=np.arange(n),
        )

    return make
