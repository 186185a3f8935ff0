"""What actions are worth in one state: by hand, and against worlds stepped one at a time."""

from typing import Any, final

import gymnasium as gym
import numpy as np
import pytest
import torch
from always import Always
from jaxtyping import Bool, Float32, Float64, Int64
from torch import nn

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.draws import Draws
from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.online.action_values import action_values
from offline_actrep.online.policies import Critic
from offline_actrep.simulators.catalog import make


@final
class Ladder(AbstractSimulator):
    """Action a climbs a rungs and pays 10 a and a lucky share of 1; the third rung is the end."""

    random_return = best_return = float("nan")
    observation_names = ("rung",)

    def __init__(self, n_worlds: int = 3, *, horizon: int = 9, lucky: bool = False) -> None:
        self.action_set = ActionSet(np.arange(3))
        self.horizon, self.lucky = horizon, lucky
        self.rung, self.clock = np.zeros(n_worlds), 0
        self.own = np.random.default_rng(0)
        self.forbids = self.stubborn = False
        self._open(n_worlds, gym.spaces.Box(0, 9, (1,), np.float32), 0)

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B 1"]:
        self.rung[worlds], self.clock = 0, 0
        if self.stubborn:
            self.rung += self.own.random(self.num_envs)
        return self.rung[:, None].astype(np.float32)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        self.rung = self.rung + actions
        self.clock += 1
        rewards = 10.0 * actions + self.lucky * self.draws.uniform(1)[0]
        over = self.rung >= 3
        late = np.full(self.num_envs, self.clock >= self.horizon) & ~over
        return self.rung[:, None].astype(np.float32), rewards, over, late

    def allowed(self) -> AllowedActions | None:
        mask = np.ones((self.num_envs, 3), bool)
        return AllowedActions.of_mask(mask) if self.forbids else None

    def effects(
        self, observations: Float32[np.ndarray, "B 1"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 1"]:
        return actions[:, None].astype(np.float64)

    def expert(self) -> Int64[np.ndarray, " B"]:
        return np.full(self.num_envs, 2)

    def render(self) -> tuple:
        return ()


def critic_of(size: int, *, weight: float, bias: float) -> Critic:
    """2 (weight * sum of the observation + bias), since rewards were halved; gamma 0.5."""
    layer = nn.Linear(size, 1)
    with torch.no_grad():
        layer.weight.fill_(weight)
        layer.bias.fill_(bias)
    features = ObservationFeatures(size, FeatureConfig())
    return Critic(nn.Sequential(layer), features, reward_scale=0.5, gamma=0.5)


STEEP = critic_of(1, weight=2.0, bias=1.0)
"""V = 4 rung + 2."""


def valued(world: Ladder, decisions: int, **options: Any) -> list[float]:
    asked = {"seed": 3, **options}
    policy = Always(world.action_set, 1)
    return action_values(world, policy, STEEP, decisions=decisions, **asked).values.tolist()


def test_the_step_and_then_the_critic_by_hand() -> None:
    """10 a + V(rung + a) / 2, without V at the end."""
    assert valued(Ladder(), 0) == [0 + 1, 10 + 3, 20 + 5]
    assert valued(Ladder(), 1) == [0 + 3, 10 + 5, 20]
    assert valued(Ladder(), 2) == [0 + 5, 10, 20]


def test_what_is_cut_off_goes_on_in_the_critic_s_mind() -> None:
    assert valued(Ladder(horizon=2), 1) == valued(Ladder(), 1)


def test_the_state_is_the_one_after_the_decisions() -> None:
    world = Ladder()
    found = action_values(world, Always(world.action_set, 1), STEEP, decisions=2, seed=0)
    assert found.observation.tolist() == [2.0]
    assert found.values.dtype == np.float64


def test_chance_is_the_same_for_every_action_and_averaged() -> None:
    luck = [Draws(np.random.SeedSequence((3, k)), 1).uniform(1)[0, 0] for k in range(4)]
    assert np.std(luck) > 0.05
    for outcomes in (1, 4):
        found = valued(Ladder(lucky=True), 1, outcomes=outcomes)
        np.testing.assert_allclose(
            found, np.array([3, 15, 20]) + np.mean(luck[:outcomes]), atol=1e-12
        )


def test_a_seed_fixes_the_values_whatever_was_played_before() -> None:
    world = make("maze", 16, actuators=4)
    policy, critic = Always(world.action_set, 3), critic_of(3, weight=1.0, bias=0.0)

    def found(seed: int) -> np.ndarray:
        return action_values(world, policy, critic, decisions=2, seed=seed, outcomes=2).values

    first = found(5)
    world.advance(np.arange(16))
    assert np.array_equal(found(5), first)
    assert not np.array_equal(found(6), first)


def test_every_action_is_worth_what_one_world_alone_says() -> None:
    critic = critic_of(3, weight=1.0, bias=0.0)
    world = make("maze", 16, actuators=4)
    found = action_values(world, Always(world.action_set, 1), critic, decisions=3, seed=8)
    alone = make("maze", 1, actuators=4)
    seen = []
    for action in range(16):
        alone.reseed(8)
        alone.restart(np.ones(1, bool))
        for _ in range(3):
            before, *_ = alone.advance(np.array([1]))
        assert np.array_equal(before[0], found.observation)
        alone.reseed(np.random.SeedSequence((8, 0)))
        after, reward, *_ = alone.advance(np.array([action]))
        seen.append(reward[0] + 0.5 * 2 * after.sum())
    np.testing.assert_allclose(found.values, seen, rtol=1e-6)
    assert np.ptp(found.values) > 0.05


def test_noise_on_rewards_is_the_same_for_every_action() -> None:
    """Actions 5 and 10 switch opposite pairs of actuators: neither moves."""
    critic = critic_of(3, weight=1.0, bias=0.0)
    quiet, noisy = (make("maze", 16, actuators=4, reward_noise=noise) for noise in (0.0, 9.0))
    policy = Always(quiet.action_set, 1)
    plain = action_values(quiet, policy, critic, decisions=1, seed=0).values
    shifted = action_values(noisy, policy, critic, decisions=1, seed=0).values
    assert plain[5] == plain[10] and shifted[5] == shifted[10]
    assert np.ptp(shifted - plain) < 1 < np.abs(shifted - plain).min()


@pytest.mark.parametrize(
    ("world", "decisions", "message"),
    [
        (Ladder(), 3, r"ends with decision 3, there is no state after 3"),
        (Ladder(horizon=2), 3, r"ends with decision 2, there is no state after 3"),
        (Ladder(4), 0, "make 3 worlds, got 4"),
        (Ladder(), -1, "at least one outcome is averaged, got -1 and 1"),
    ],
    ids=["goal", "time", "worlds", "negative"],
)
def test_states_that_are_not_there_are_refused(world: Ladder, decisions: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        valued(world, decisions)


def test_no_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0 and 0"):
        valued(Ladder(), 0, outcomes=0)


def test_a_world_that_forbids_actions_is_refused() -> None:
    world = Ladder()
    world.forbids = True
    with pytest.raises(ValueError, match="a forbidden action has no value"):
        valued(world, 0)


def test_a_critic_of_another_world_is_refused() -> None:
    world = Ladder()
    other = critic_of(2, weight=1.0, bias=0.0)
    with pytest.raises(ValueError, match="observations of 2 columns, the world gives 1"):
        action_values(world, Always(world.action_set, 1), other, decisions=0, seed=0)


def test_a_policy_of_other_actions_is_refused() -> None:
    other = Always(ActionSet.dense(9), 1)
    with pytest.raises(ValueError, match="the policy knows 9 actions, the world has 3"):
        action_values(Ladder(), other, STEEP, decisions=0, seed=0)


def test_worlds_with_chance_of_their_own_are_refused() -> None:
    world = Ladder()
    world.stubborn = True
    with pytest.raises(ValueError, match="do not live one life"):
        valued(world, 0)
