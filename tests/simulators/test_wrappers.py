"""Worlds changed from outside: what a wrapper changes, and what it leaves alone."""

import numpy as np
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.maze import Maze
from offline_actrep.simulators.wrappers import (
    ChangingActions,
    ChangingConfig,
    EarlierEnd,
    NoisyRewards,
    wrapped,
)

SMALL = {"actuators": 6}


def rewards(world: object, steps: int) -> np.ndarray:
    world.reset(seed=0)  # type: ignore[attr-defined]
    actions = np.zeros(400, np.int64)
    return np.stack([world.step(actions)[1] for _ in range(steps)])  # type: ignore[attr-defined]


def test_nothing_asked_for_is_nothing_changed() -> None:
    world = Maze(2)
    assert wrapped(world) is world


def test_the_share_of_actions_there_is_the_share_asked_for() -> None:
    world = make("maze", 500, **SMALL, changing_actions=ChangingConfig(0.3))
    world.reset(seed=1)
    share = world.allowed().mask(64).mean()
    assert share == pytest.approx(0.3, abs=4 * (0.21 / (500 * 64)) ** 0.5)


def test_one_action_is_always_there() -> None:
    world = make("maze", 300, **SMALL, changing_actions=ChangingConfig(0.001))
    world.reset(seed=1)
    counts = np.diff(world.allowed().offsets)
    assert counts.min() == 1
    assert (counts == 1).mean() > 0.8


@pytest.mark.parametrize(("every", "same"), [("step", False), ("episode", True)])
def test_the_set_is_drawn_anew_when_it_should(every: str, same: bool) -> None:
    world = make("maze", 3, **SMALL, changing_actions=ChangingConfig(0.5, every=every))
    world.reset(seed=1)
    before = world.allowed()
    world.step(before.indices[before.offsets[:-1]])
    assert np.array_equal(world.allowed().indices, before.indices) is same
    world.restart(np.array([False, True, False]))
    after = world.allowed()
    assert not np.array_equal(after.row(1), before.row(1))
    assert np.array_equal(after.row(0), before.row(0)) is same


def test_an_expert_without_its_action_takes_the_nearest() -> None:
    inner = Maze(50, actuators=6)
    world = ChangingActions(inner, ChangingConfig(0.4))
    world.reset(seed=2)
    wished, chosen = inner.expert(), world.expert()
    there = world.allowed().holds(wished)
    assert there.any() and not there.all()
    np.testing.assert_array_equal(chosen[there], wished[there])
    features = world.action_set.features
    assert features is not None
    for row in np.flatnonzero(~there):
        away = np.linalg.norm(features - features[wished[row]], axis=1)
        assert away[chosen[row]] == away[world.allowed().row(int(row))].min()


def test_an_expert_without_features_says_so() -> None:
    world = ChangingActions(Maze(50, actuators=6), ChangingConfig(0.4))
    world.reset(seed=2)
    world.action_set = ActionSet(world.action_set.ids)
    with pytest.raises(ValueError, match="needs features of actions"):
        world.expert()


def test_what_the_inner_world_allows_is_kept() -> None:
    inner = ChangingActions(Maze(400, actuators=6), ChangingConfig(0.05))
    world = ChangingActions(inner, ChangingConfig(0.05))
    world.reset(seed=3)
    allowed, within = world.allowed().mask(64), inner.allowed().mask(64)
    assert allowed.any(axis=1).all()
    assert not (allowed & ~within).any()
    emptied = ~(within & world.there).any(axis=1)
    assert emptied.any() and not emptied.all()
    np.testing.assert_array_equal(allowed[emptied], within[emptied])


def test_noise_has_the_deviation_asked_for_and_no_bias() -> None:
    noisy = rewards(NoisyRewards(Maze(400, actuators=6), 0.5), 20)
    assert noisy.std() == pytest.approx(0.5, rel=0.05)
    assert abs(noisy.mean()) < 4 * 0.5 / noisy.size**0.5


def test_noise_leaves_the_world_as_it_was() -> None:
    world, inner = NoisyRewards(Maze(4), 1.0), Maze(4)
    inside = np.random.SeedSequence(7).spawn(2)[0]
    world.reset(seed=7)
    inner.reseed(inside)
    inner.restart(np.ones(4, bool))
    for action in range(5):
        actions = np.full(4, action * 700)
        np.testing.assert_array_equal(world.step(actions)[0], inner.step(actions)[0])


def test_an_earlier_end_is_a_cut() -> None:
    world = EarlierEnd(Maze(3), 4)
    world.reset(seed=0)
    ends = [world.step(np.zeros(3, np.int64))[2:4] for _ in range(4)]
    assert [bool(truncated.any()) for _, truncated in ends] == [False, False, False, True]
    assert not any(terminated.any() for terminated, _ in ends)


def test_a_goal_in_the_last_step_is_no_cut() -> None:
    inner = Maze(1)
    world = EarlierEnd(inner, 1)
    world.reset(seed=0)
    inner.position[0] = (0.275, 0.44)
    up = int(np.abs(inner.motions[:, 0] - [0.0, 1.0]).sum(axis=1).argmin())
    for seed in range(5):
        inner.reseed(seed)
        inner.position[0] = (0.275, 0.44)
        _, _, terminated, truncated = world.advance(np.array([up]))
        assert terminated[0] != truncated[0]
        if terminated[0]:
            return
    raise AssertionError("the goal was never reached")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"changing_actions": ChangingConfig(0.0)}, r"in \(0, 1\]: 0.0"),
        ({"reward_noise": -1.0}, "not negative, got -1.0"),
        ({"earlier_end": 61}, r"in 1\.\.60, got 61"),
        ({"earlier_end": 0}, r"in 1\.\.60, got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("maze", 1, **options)


def test_wrappers_nest() -> None:
    world = make(
        "maze",
        2,
        actuators=6,
        changing_actions=ChangingConfig(0.5),
        reward_noise=0.1,
        earlier_end=5,
    )
    assert isinstance(world, ChangingActions)
    assert isinstance(world.inner, NoisyRewards)
    assert isinstance(world.inner.inner, EarlierEnd)
    assert world.horizon == 5
    assert np.isnan([world.random_return, world.best_return]).all()


def test_worlds_seeded_alike_live_one_life_under_every_wrapper() -> None:
    changes = {"changing_actions": ChangingConfig(0.5), "reward_noise": 1.0, "earlier_end": 5}
    world = make("recommender", 30, videos=50, **changes)
    for alike in (True, False):
        world.reseed(4, alike=alike)
        seen, paid, allowed = world.restart(np.ones(30, bool)), [], []
        for _ in range(4):
            allowed.append(world.allowed().mask(50))
            seen, rewards, *_ = world.advance(np.full(30, 7))
            paid.append(rewards)
        for values in (seen, *paid, *allowed):
            assert (values == values[0]).all() == alike
