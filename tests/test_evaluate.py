"""Judging a policy, in a world made by hand and from a log."""

from dataclasses import replace
from typing import final

import gymnasium as gym
import numpy as np
import pytest
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.evaluate import estimate, evaluate
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.offline.train import train
from offline_actrep.relabel import relabel
from offline_actrep.representations.catalog import fit
from offline_actrep.rollout import episode_returns


@final
class Till(AbstractSimulator):
    """Pays the chosen action's number, three times; `noise` adds a coin of -1 or 1."""

    def __init__(self, n_worlds: int, noise: bool = False) -> None:
        self.action_set = ActionSet.dense(4)
        self.observation_names = ("step",)
        self.horizon, self.random_return, self.best_return = 3, 4.5, 9.0
        self.noise = noise
        self.clock = np.zeros(n_worlds, np.int64)
        self._open(n_worlds, gym.spaces.Box(0.0, 3.0, (1,), np.float32), 0)

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.clock[worlds] = 0
        return self.clock[:, None].astype(np.float32)

    def advance(
        self, actions: Int64[np.ndarray, " B"]
    ) -> tuple[
        Float32[np.ndarray, "B S"],
        Float64[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
    ]:
        self.clock += 1
        coin = np.where(self.draws.uniform(1)[0] < 0.5, -1.0, 1.0) if self.noise else 0.0
        ended = self.clock >= 3
        return (
            self.clock[:, None].astype(np.float32),
            actions + coin,
            ended,
            np.zeros(len(actions), bool),
        )

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> None:
        del observations, actions

    def expert(self) -> Int64[np.ndarray, " B"]:
        return np.full(self.num_envs, 3)


@final
class Steps(AbstractPolicy):
    """Chooses action 1 + step: pays 1, 2, 3."""

    def __init__(self, action_set: ActionSet) -> None:
        self.action_set = action_set

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        del allowed
        return np.minimum(observations[:, 0].astype(np.int64) + 1, 3)


@pytest.mark.parametrize(
    ("gamma", "wanted"), [(1.0, 1 + 2 + 3), (0.5, 1 + 0.5 * 2 + 0.25 * 3), (0.0, 1.0)]
)
def test_the_mean_return_by_hand(gamma: float, wanted: float) -> None:
    found = evaluate(Steps(ActionSet.dense(4)), Till(3), episodes=7, seed=0, gamma=gamma)
    assert found.value == found.low == found.high == wanted
    assert found.n == 7


def test_noise_widens_the_interval_around_the_true_mean() -> None:
    policy = Steps(ActionSet.dense(4))
    found = evaluate(policy, Till(10, noise=True), episodes=200, seed=0)
    assert found.low < 6.0 < found.high
    assert 0.2 < found.high - found.low < 1.0
    few = evaluate(policy, Till(10, noise=True), episodes=20, seed=0)
    assert few.high - few.low > found.high - found.low


def test_the_seed_fixes_the_returns() -> None:
    policy, world = Steps(ActionSet.dense(4)), Till(4, noise=True)
    one = episode_returns(policy, world, episodes=10, seed=1)
    assert len(one) == 10
    assert np.array_equal(one, episode_returns(policy, world, episodes=10, seed=1))
    assert not np.array_equal(one, episode_returns(policy, world, episodes=10, seed=2))


def test_another_catalogue_is_refused() -> None:
    policy = Steps(ActionSet(np.array([3, 2, 1, 0])))
    with pytest.raises(ValueError, match="knows 4 actions, the world has 4, and they are not"):
        evaluate(policy, Till(1), episodes=1, seed=0)


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode is needed, got 0"):
        evaluate(Steps(ActionSet.dense(4)), Till(1), episodes=0, seed=0)


TINY = {"steps": 3, "refits": 2, "batch_size": 16, "hidden": (8,)}


def till_log() -> Log:
    """Episodes of three rows of random actions."""
    draws = np.random.default_rng(0)
    actions = draws.integers(4, size=90)
    step = np.tile(np.arange(3), 30)
    return Log(
        action_set=ActionSet.dense(4),
        observations=step[:, None].astype(np.float32),
        actions=actions,
        rewards=actions.astype(np.float32),
        terminated=step == 2,
        truncated=np.zeros(90, bool),
        next_observations=(step[:, None] + 1).astype(np.float32),
        has_next=np.ones(90, bool),
        episode_offsets=np.arange(0, 91, 3),
        episode_ids=np.arange(30),
    )


def test_an_estimate_agrees_with_the_world() -> None:
    found = estimate(
        Steps(ActionSet.dense(4)),
        till_log(),
        gamma=0.5,
        steps=400,
        refits=2,
        batch_size=64,
        hidden=(32,),
        learning_rate=0.01,
        target_update_interval=10,
    )
    assert found.value == pytest.approx(1 + 0.5 * 2 + 0.25 * 3, abs=0.4)


def test_a_policy_of_ones_own_needs_a_discount() -> None:
    with pytest.raises(ValueError, match="this policy brings no discount: say gamma="):
        estimate(Steps(ActionSet.dense(4)), till_log(), **TINY)


@pytest.mark.parametrize("name", ["cql", "discrete_cql"])
def test_a_trained_policy_brings_its_discount_and_features(name: str, maze_log: Log) -> None:
    data = relabel(maze_log, fit("random_table", maze_log, seed=0))
    wave = FeatureConfig(fourier=(0,), harmonics=2)
    policy = train(
        data, name, seed=0, features=wave, gamma=0.8, steps=2, batch_size=16, hidden=(8,)
    )
    own = estimate(policy, maze_log, **TINY)
    assert own == estimate(policy, maze_log, gamma=0.8, features=wave, **TINY)
    assert own != estimate(policy, maze_log, gamma=0.1, **TINY)
    assert own != estimate(policy, maze_log, features=FeatureConfig(), **TINY)


def test_an_unknown_estimator_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown estimator 'wis'; there are fqe"):
        estimate(Steps(ActionSet.dense(4)), till_log(), "wis", gamma=0.5)


def test_an_estimate_on_another_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="knows 5 actions, the log has 4"):
        estimate(Steps(ActionSet.dense(5)), till_log(), gamma=0.5)


def test_points_of_another_catalogue_are_refused() -> None:
    log = till_log()
    points = fit("random_table", log, seed=0, dim=2)
    other = replace(log, action_set=ActionSet(np.arange(4) + 1))
    policy = Steps(other.action_set)
    with pytest.raises(ValueError, match="the representation knows 4 actions, the log has 4"):
        estimate(policy, other, gamma=0.5, representation=points, **TINY)


def test_points_given_let_q_see_what_actions_have_in_common() -> None:
    """Q on points of an id policy: another fit than on ids, of the same quantity."""
    log = till_log()
    points = fit("random_table", log, seed=0, dim=2)
    settings = {**TINY, "steps": 300, "learning_rate": 0.01, "target_update_interval": 10}
    on_ids = estimate(Steps(log.action_set), log, gamma=0.5, **settings)
    on_points = estimate(Steps(log.action_set), log, gamma=0.5, representation=points, **settings)
    assert on_ids.value != on_points.value
    assert on_points.value == pytest.approx(1 + 0.5 * 2 + 0.25 * 3, abs=0.6)
