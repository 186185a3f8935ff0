"""The one loop: same seed, same episodes; returns by hand; no episode counts twice."""

from itertools import islice

import gymnasium as gym
import numpy as np
import pytest

from offline_actrep.behaviour import Uniform
from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.rollout import episode_returns, play, play_episodes
from offline_actrep.simulators.maze import Maze


class Countdown(AbstractSimulator):
    """Every episode draws a length, and pays 1, 2, 3, .. for its steps.

    The observation is the number of steps left. The last step terminates.
    """

    def __init__(self, n_worlds: int, lengths: tuple[int, ...]) -> None:
        self.action_set = ActionSet(np.array([5, 9]))
        self.observation_names = ("left",)
        self.horizon = max(lengths)
        self.lengths = lengths
        self.left = np.zeros(n_worlds)
        self.paid = np.zeros(n_worlds)
        self.actions: list[list[int]] = []
        self._open(n_worlds, gym.spaces.Box(0, self.horizon, (1,), np.float32), 0)

    def restart(self, worlds: np.ndarray) -> np.ndarray:
        drawn = self.draws.integers(1, len(self.lengths), worlds)[0]
        self.left[worlds] = np.array(self.lengths)[drawn]
        self.paid = np.where(worlds, 0.0, self.paid)
        return self._observe()

    def advance(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        self.actions.append(actions.tolist())
        self.left = self.left - 1
        self.paid = self.paid + 1
        over = self.left == 0
        return self._observe(), self.paid.copy(), over, np.zeros_like(over)

    def allowed(self) -> AllowedActions:
        return AllowedActions.of_mask(np.tile([False, True], (self.num_envs, 1)))

    def effects(self, observations: np.ndarray, actions: np.ndarray) -> None:
        del observations, actions

    def expert(self) -> np.ndarray:
        return np.ones(self.num_envs, np.int64)

    def _observe(self) -> np.ndarray:
        return self.left[:, None].astype(np.float32)


class FirstAllowed(AbstractPolicy):
    """Chooses the first action that it may."""

    def __init__(self, action_set: ActionSet) -> None:
        self.action_set = action_set

    def choose(self, observations: np.ndarray, allowed: AllowedActions | None = None) -> np.ndarray:
        assert allowed is not None
        return allowed.indices[allowed.offsets[:-1]]


def returns(world: AbstractSimulator, episodes: int, seed: int = 0, gamma: float = 1.0):
    actor = Uniform(world.action_set)
    return episode_returns(actor, world, episodes=episodes, seed=seed, gamma=gamma)


class Deaf(FirstAllowed):
    """Does what it likes."""

    def choose(self, observations: np.ndarray, allowed: AllowedActions | None = None) -> np.ndarray:
        return np.zeros(len(observations), np.int64)


def test_what_is_not_allowed_is_not_played() -> None:
    world = Countdown(4, (3,))
    with pytest.raises(ValueError, match="action 0 is not allowed in world 0"):
        episode_returns(Deaf(world.action_set), world, episodes=4, seed=0)
    assert not world.actions


@pytest.mark.parametrize(("gamma", "expected"), [(1.0, 6.0), (0.5, 1 + 1 + 0.75), (0.0, 1.0)])
def test_returns_by_hand(gamma: float, expected: float) -> None:
    assert returns(Countdown(4, (3,)), 10, gamma=gamma).tolist() == [expected] * 10


def test_short_episodes_do_not_count_more_often() -> None:
    """Lengths 1 and 20 are as likely; counting what ends first would find mostly ones."""
    found = returns(Countdown(50, (1, 20)), 2000)
    assert set(found) == {1.0, 210.0}
    assert abs((found == 1.0).mean() - 0.5) < 4 * 0.5 / 2000**0.5


def test_episodes_are_given_by_rounds_and_the_last_is_cut() -> None:
    whole = returns(Countdown(4, (1, 2, 3)), 12)
    np.testing.assert_array_equal(returns(Countdown(4, (1, 2, 3)), 10), whole[:10])
    assert returns(Countdown(4, (1, 2, 3)), 1).tolist() == whole[:1].tolist()


def test_decisions_come_episode_after_episode_of_one_world_after_the_other() -> None:
    """Lengths 1 and 3 in two worlds: what a world does once it has played enough is left out."""
    world = Countdown(2, (1, 3))
    actor = Uniform(world.action_set)
    found = play_episodes(actor, world, episodes=4, seed=0, gammas=(1.0, 0.0))
    lengths = np.diff(np.append(np.flatnonzero(found.first), len(found.first)))
    assert len(lengths) == 4 and set(lengths) <= {1, 3} and len(found.actions) == lengths.sum()
    by_world = {1: 1.0, 3: 6.0}
    earned = found.returns[0].reshape(2, 2).T.ravel()  # rounds of worlds -> worlds of rounds
    np.testing.assert_array_equal(earned, [by_world[length] for length in lengths])
    np.testing.assert_array_equal(found.returns[1], np.ones(4))


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode is needed, got 0"):
        returns(Countdown(1, (1,)), 0)


def test_the_seed_decides_whatever_was_played_before() -> None:
    world = Maze(10, actuators=4, seed=1)
    first = returns(world, 30, seed=5)
    np.testing.assert_array_equal(returns(world, 30, seed=5), first)
    np.testing.assert_array_equal(returns(Maze(10, actuators=4, seed=2), 30, seed=5), first)
    assert (returns(world, 30, seed=6) != first).any()


def test_noise_and_draws_come_from_different_streams() -> None:
    """The same noise for every actor: policies are compared on common random numbers."""
    world = Maze(5, actuators=4)
    states = []
    for actor in (Uniform(world.action_set), FirstAllowedOfAll(world.action_set)):
        next(iter(play(actor, world, seed=3)))
        states.append(world.draws.counters.tolist())
    assert states[0] == states[1]


class FirstAllowedOfAll(AbstractPolicy):
    """Always the first action."""

    def __init__(self, action_set: ActionSet) -> None:
        self.action_set = action_set

    def choose(self, observations: np.ndarray, allowed: AllowedActions | None = None) -> np.ndarray:
        return np.zeros(len(observations), np.int64)


def test_transitions_of_one_world_by_hand() -> None:
    world = Countdown(1, (2,))
    rows = list(islice(play(FirstAllowed(world.action_set), world, seed=0), 5))
    assert [row.first.item() for row in rows] == [True, False, True, False, True]
    assert [row.observations.item() for row in rows] == [2, 1, 2, 1, 2]
    assert [row.next_observations.item() for row in rows] == [1, 0, 1, 0, 1]
    assert [row.rewards.item() for row in rows] == [1, 2, 1, 2, 1]
    assert [row.terminated.item() for row in rows] == [False, True, False, True, False]
    assert not any(row.truncated.item() for row in rows)


def test_a_policy_sees_what_is_allowed_and_has_probability_one() -> None:
    world = Countdown(3, (2,))
    row = next(iter(play(FirstAllowed(world.action_set), world, seed=0)))
    assert world.actions[0] == [1, 1, 1]
    assert row.probabilities.tolist() == [1.0, 1.0, 1.0]


def test_a_behaviours_probabilities_are_handed_on() -> None:
    world = Maze(3, actuators=1)
    row = next(iter(play(Uniform(world.action_set), world, seed=0)))
    assert row.probabilities.tolist() == [0.5, 0.5, 0.5]
    masked = Countdown(3, (2,))
    row = next(iter(play(Uniform(masked.action_set), masked, seed=0)))
    assert row.probabilities.tolist() == [1.0, 1.0, 1.0]
    assert row.actions.tolist() == masked.actions[0] == [1, 1, 1]
