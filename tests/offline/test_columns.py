"""What learners are fed: which rows, what is allowed next, returns; held or gathered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from offline_actrep.core import mapped
from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.files.store import open_store, write_store
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline import columns as columns_module
from offline_actrep.offline.columns import (
    AbstractColumns,
    Columns,
    LogColumns,
    learning_columns,
    returns_to_go,
)
from offline_actrep.offline.train import train
from offline_actrep.relabel import Relabelled

AS_LOGGED = ObservationFeatures(3, FeatureConfig())


def held(columns: AbstractColumns) -> Columns:
    """As small logs are."""
    assert isinstance(columns, Columns)
    return columns


def test_rows_without_a_next_state_are_left_out(points: Relabelled) -> None:
    log = points.log
    last = log.episode_offsets[1] - 1
    has_next, terminated = log.has_next.copy(), log.terminated.copy()
    has_next[last] = terminated[last] = False
    cut = replace(log, has_next=has_next, terminated=terminated, truncated=log.ends & ~terminated)
    kept = np.delete(np.arange(len(log)), last)
    for data in (cut, Relabelled(cut, points.representation, points.points)):
        columns = held(learning_columns(data, AS_LOGGED, 2.0, 0.9))
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
    columns = held(learning_columns(log, AS_LOGGED, 1.0, 0.9, allowed=True))
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
    columns = held(learning_columns(points, AS_LOGGED, 1.0, 0.9, observations=True, allowed=True))
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
    assert len(learning_columns(single, AS_LOGGED, 1.0, 0.9, allowed=True, every_row=True)) == n


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


def test_returns_of_few_long_episodes_are_those_of_many_short_ones(
    points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, in blocks of any size."""
    log = points.log
    whole = returns_to_go(log, 0.9)
    for size in (1, 50, 200):
        monkeypatch.setattr(
            columns_module, "whole_blocks", lambda offsets, n=size: mapped.whole_blocks(offsets, n)
        )
        assert np.array_equal(returns_to_go(log, 0.9), whole)
    backwards = np.zeros(len(log))
    for row in reversed(range(len(log))):
        follows = 0.0 if log.ends[row] else backwards[row + 1]
        backwards[row] = log.rewards[row] + 0.9 * follows
    assert np.array_equal(whole, backwards.astype(np.float32))


def test_a_small_log_is_held_and_a_large_one_is_not(
    points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, sets = len(points.log), points.log.allowed
    assert sets is not None
    plain, bound = 4 * n * (2 * 3 + 2), 4 * n * (4 * 3 + 2) + 2 * sets.indices.nbytes
    for size, asked in ((plain, {}), (bound, {"observations": True, "allowed": True})):
        monkeypatch.setattr(columns_module, "HELD", size)
        assert isinstance(learning_columns(points, AS_LOGGED, 1.0, 0.9, **asked), Columns)
        monkeypatch.setattr(columns_module, "HELD", size - 1)
        assert isinstance(learning_columns(points, AS_LOGGED, 1.0, 0.9, **asked), LogColumns)


@pytest.fixture
def in_files(points: Relabelled, tmp_path: Path) -> Relabelled:
    """The same log in a store, the same points in a file."""
    write_store(points.log, tmp_path / "store")
    np.save(tmp_path / "points.npy", points.points)
    mapped_points = np.load(tmp_path / "points.npy", mmap_mode="r")
    return Relabelled(open_store(tmp_path / "store"), points.representation, mapped_points)


@pytest.mark.parametrize("fourier", [(), (0, 1)])
@pytest.mark.parametrize("of_points", [False, True])
def test_gathered_batches_are_held_ones_to_the_bit(
    of_points: bool,
    fourier: tuple[int, ...],
    points: Relabelled,
    in_files: Relabelled,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features = ObservationFeatures.of(points.log.observations, FeatureConfig(fourier=fourier))
    asked = {"observations": True, "allowed": True}
    data = points if of_points else points.log
    whole = held(learning_columns(data, features, 0.37, 0.9, **asked))
    monkeypatch.setattr(columns_module, "HELD", 0)
    monkeypatch.setattr(mapped, "_SMALL", 0)
    found = learning_columns(in_files if of_points else in_files.log, features, 0.37, 0.9, **asked)
    assert isinstance(found, LogColumns) and len(found) == len(whole)
    draws = np.random.default_rng(0)
    for size in (1, 5, 64, 200):
        rows = draws.integers(len(whole), size=size)
        one, other = vars(whole.batch(rows)), vars(found.batch(rows))
        for name, column in one.items():
            if isinstance(column, AllowedActions):
                assert np.array_equal(other[name].offsets, column.offsets), name
                assert np.array_equal(other[name].indices, column.indices), name
            else:
                assert torch.equal(other[name], column) and other[name].dtype == column.dtype, name


@pytest.mark.parametrize("name", ["cql", "td3_decoded", "discrete_cql", "masked_weighted_bc"])
def test_training_from_files_gives_the_weights_of_training_in_memory(
    name: str, points: Relabelled, in_files: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"steps": 6, "batch_size": 16, "hidden": (8,)}
    plain = train(points, name, seed=2, **small)
    monkeypatch.setattr(columns_module, "HELD", 0)
    monkeypatch.setattr(mapped, "_SMALL", 0)
    gathered = train(in_files, name, seed=2, **small)
    weights = [
        (policy.actor if isinstance(policy, DecodedPolicy) else policy).learner.tensors()  # type: ignore[union-attr]
        for policy in (plain, gathered)
    ]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(tensor, weights[1][key]) for key, tensor in weights[0].items())
