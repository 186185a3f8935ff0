"""What learners are fed: which rows, what is allowed next, and returns."""

from dataclasses import replace

import numpy as np
import pytest

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline.columns import learning_columns, returns_to_go
from offline_actrep.relabel import Relabelled

AS_LOGGED = ObservationFeatures(3, FeatureConfig())


def test_rows_without_a_next_state_are_left_out(points: Relabelled) -> None:
    log = points.log
    last = log.episode_offsets[1] - 1
    has_next, terminated = log.has_next.copy(), log.terminated.copy()
    has_next[last] = terminated[last] = False
    cut = replace(log, has_next=has_next, terminated=terminated, truncated=log.ends & ~terminated)
    kept = np.delete(np.arange(len(log)), last)
    for data in (cut, Relabelled(cut, points.representation, points.points)):
        columns = learning_columns(data, AS_LOGGED, 2.0, 0.9)
        assert np.array_equal(columns.features, log.observations[kept])
        assert np.array_equal(columns.next_features, log.next_observations[kept])
        assert np.array_equal(columns.rewards, 2.0 * log.rewards[kept])
        assert np.array_equal(columns.returns, (2.0 * returns_to_go(log, 0.9))[kept])
        wanted = log.actions if isinstance(data, Log) else points.points
        assert np.array_equal(columns.actions, wanted[kept])
        assert columns.observations is columns.allowed is columns.next_allowed is None


def ended(log: Log) -> Log:
    """Every other episode terminates, the others are cut off where a next state is known."""
    truncated = np.zeros(len(log), bool)
    truncated[log.episode_offsets[1::2] - 1] = True
    return replace(
        log,
        terminated=log.ends & ~truncated,
        truncated=truncated,
        has_next=np.ones(len(log), bool),
    )


def test_what_is_allowed_next_stands_in_the_next_row(points: Relabelled) -> None:
    """A cut-off episode's last row is left out, a terminated one's stays."""
    log = ended(points.log)
    assert log.allowed is not None
    columns = learning_columns(log, AS_LOGGED, 1.0, 0.9, allowed=True)
    kept = np.flatnonzero(~log.truncated)
    assert np.array_equal(columns.features, log.observations[kept])
    assert columns.allowed is not None and columns.next_allowed is not None
    for place, row in enumerate(kept.tolist()):
        follower = row if log.terminated[row] else row + 1
        assert np.array_equal(columns.allowed.row(place), log.allowed.row(row))
        assert np.array_equal(columns.next_allowed.row(place), log.allowed.row(follower))
    assert columns.terminals.sum() == log.terminated.sum() > 0
    assert len(learning_columns(log, AS_LOGGED, 1.0, 0.9)) == len(log) > len(kept)


def test_batches_are_rows_of_the_columns(points: Relabelled) -> None:
    columns = learning_columns(points, AS_LOGGED, 1.0, 0.9, observations=True, allowed=True)
    rows = np.array([5, 0, 5])
    batch = columns.batch(rows)
    for name in (
        "features",
        "actions",
        "rewards",
        "next_features",
        "terminals",
        "returns",
        "observations",
        "next_observations",
    ):
        assert np.array_equal(getattr(batch, name).numpy(), getattr(columns, name)[rows]), name
    for name in ("allowed", "next_allowed"):
        taken, whole = getattr(batch, name), getattr(columns, name)
        assert isinstance(taken, AllowedActions) and len(taken) == 3
        assert all(
            np.array_equal(taken.row(place), whole.row(row))
            for place, row in enumerate(rows.tolist())
        )


def test_sets_that_are_not_logged_are_refused(maze_log: Log) -> None:
    with pytest.raises(ValueError, match="does not say which actions each row allowed"):
        learning_columns(maze_log, AS_LOGGED, 1.0, 0.9, allowed=True)


def test_a_log_of_single_cut_off_rows_has_no_next_set(points: Relabelled) -> None:
    log = points.log
    n = len(log)
    single = replace(
        log,
        terminated=np.zeros(n, bool),
        truncated=np.ones(n, bool),
        has_next=np.ones(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
    )
    assert len(learning_columns(single, AS_LOGGED, 1.0, 0.9)) == n
    with pytest.raises(ValueError, match="none has a next observation and allowed actions there"):
        learning_columns(single, AS_LOGGED, 1.0, 0.9, allowed=True)


@pytest.mark.parametrize("gamma", [0.0, 0.9, 1.0])
def test_returns_are_sums_to_the_episodes_end(gamma: float, points: Relabelled) -> None:
    lengths = np.array([1, 7, 2, 1, 5])
    n = int(lengths.sum())
    rewards = np.random.default_rng(0).normal(size=n).astype(np.float32)
    ends = np.cumsum(lengths)
    last = np.isin(np.arange(n), ends - 1)
    whole = points.log
    log = Log(
        action_set=whole.action_set,
        observations=whole.observations[:n],
        actions=whole.actions[:n],
        rewards=rewards,
        terminated=last,
        truncated=np.zeros(n, bool),
        next_observations=whole.next_observations[:n],
        has_next=~last,
        episode_offsets=np.concatenate([[0], ends]),
        episode_ids=np.arange(5),
    )
    wanted = np.zeros(n)
    for row in reversed(range(n)):
        wanted[row] = rewards[row] + (0.0 if last[row] else gamma * wanted[row + 1])
    assert returns_to_go(log, gamma) == pytest.approx(wanted, abs=1e-5)
    assert returns_to_go(log, gamma)[log.episode_offsets[:-1]] == pytest.approx(
        log.discounted_returns(gamma), abs=1e-5
    )
