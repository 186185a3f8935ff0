"""Scales found block by block are those of whole columns, to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.mapped import blocks
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline import scaling
from offline_actrep.offline.scaling import observation_features, reward_scale


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("at_once", [1, 7, 100, 999, 5000])
def test_observations_are_scaled_as_a_whole_column_is(
    size: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(size)
    seen = draws.normal(40, 13, size=(1000, size)).astype(np.float32)
    seen[:, -1] = draws.integers(2, size=1000)  # only 0 and 1
    seen[:, size // 2] += 3.25
    monkeypatch.setattr(scaling, "blocks", lambda n: blocks(n, at_once))
    for fourier in ((), (0,), tuple(range(size))):
        config = FeatureConfig(fourier=fourier)
        ours = observation_features(seen, config).state_dict()
        whole = ObservationFeatures.of(seen, config).state_dict()
        assert ours.keys() == whole.keys()
        assert all(torch.equal(tensor, whole[name]) for name, tensor in ours.items())


def test_a_column_that_is_constant_or_binary_in_one_block_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = np.repeat([[0.0, 2.0, 1.0], [1.0, 2.0, 5.0]], 4, axis=0).astype(np.float32)
    monkeypatch.setattr(scaling, "blocks", lambda n: blocks(n, 4))
    features = observation_features(seen, FeatureConfig())
    assert features.shift.tolist() == [0.0, 2.0, 3.0]
    assert features.scale.tolist() == [1.0, 1.0, 2.0]


def test_a_fourier_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"column 2, but the observation has columns 0\.\.1"):
        observation_features(np.zeros((3, 2), np.float32), FeatureConfig(fourier=(2,)))


def decisions(rewards: np.ndarray) -> Log:
    """A log whose every row is an episode that terminates."""
    n = len(rewards)
    return Log(
        action_set=ActionSet.dense(2),
        observations=np.zeros((n, 1), np.float32),
        actions=np.zeros(n, np.int64),
        rewards=rewards.astype(np.float32),
        terminated=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        next_observations=np.zeros((n, 1), np.float32),
        has_next=np.zeros(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
    )


@pytest.mark.parametrize("gamma", [0.5, 0.97, 1.0])
def test_scaled_rewards_make_the_largest_value_one(gamma: float, maze_log: Log) -> None:
    draws = np.random.default_rng(0)
    log = replace(maze_log, rewards=draws.normal(-20, 9, len(maze_log)).astype(np.float32))
    scale = reward_scale(log, gamma)
    scaled = replace(log, rewards=log.rewards * np.float32(scale))
    largest = max(np.abs(scaled.discounted_returns(gamma)).max(), np.abs(scaled.rewards).max())
    assert largest == pytest.approx(1.0, rel=1e-5)


def test_a_log_that_pays_nothing_is_not_scaled(maze_log: Log) -> None:
    assert reward_scale(replace(maze_log, rewards=np.zeros_like(maze_log.rewards)), 0.9) == 1.0


def test_rewards_that_cancel_out_are_scaled_by_the_largest() -> None:
    one = replace(
        decisions(np.array([4.0, -4.0])),
        terminated=np.array([False, True]),
        episode_offsets=np.array([0, 2]),
        episode_ids=np.array([0]),
        has_next=np.array([True, False]),
    )
    assert reward_scale(one, 1.0) == 0.25
    assert reward_scale(decisions(np.array([1.0, -8.0])), 1.0) == 0.125
