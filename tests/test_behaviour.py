"""What writes logs: the probability that it reports is the one with which it drew."""

from collections.abc import Callable
from itertools import islice
from typing import final

import numpy as np
import pytest

from offline_actrep.behaviour import (
    BEHAVIOURS,
    EpisodeMixture,
    Expert,
    Greedy,
    NearExpert,
    Noisy,
    Uniform,
    WayPoints,
    collect,
    make_behaviour,
    maze_expert,
    maze_mixture,
)
from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy
from offline_actrep.rollout import play
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.maze import Maze, actuator_motions
from offline_actrep.simulators.wrappers import ChangingConfig

MOTIONS = ActionSet(np.arange(8), features=actuator_motions(3).astype(np.float32))
ROUTE = ((0.8, 0.2), (0.8, 0.8))
N_DRAWS = 20_000


class Always(AbstractBehaviour):
    """One action, for certain."""

    def __init__(self, action: int) -> None:
        self.action_set, self.action = MOTIONS, action

    def begin(self, worlds: np.ndarray, generator: np.random.Generator) -> None:
        del worlds, generator

    def draw(
        self,
        observations: np.ndarray,
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(observations), self.action), np.ones(len(observations))

    def probability(
        self,
        observations: np.ndarray,
        actions: np.ndarray,
        allowed: AllowedActions | None = None,
    ) -> np.ndarray:
        return (actions == self.action).astype(np.float64)


@final
class LowestAllowed(AbstractPolicy):
    """The first action that may be chosen."""

    action_set = MOTIONS

    def choose(self, observations: np.ndarray, allowed: AllowedActions | None = None) -> np.ndarray:
        if allowed is None:
            return np.zeros(len(observations), np.int64)
        return allowed.indices[allowed.offsets[:-1]]


MAKERS: dict[str, Callable[[], AbstractBehaviour]] = {
    "uniform": lambda: Uniform(MOTIONS),
    "greedy": lambda: Greedy(LowestAllowed()),
    "noisy greedy": lambda: Noisy(Greedy(LowestAllowed()), 0.25),
    "follower": lambda: WayPoints(MOTIONS, ROUTE, best=3),
    "sharp follower": lambda: WayPoints(MOTIONS, ROUTE, best=1),
    "wanderer": lambda: WayPoints(MOTIONS, None, best=2),
    "mixture": lambda: EpisodeMixture((Always(1), WayPoints(MOTIONS, ROUTE, best=3)), (0.25, 0.75)),
    "noisy": lambda: Noisy(WayPoints(MOTIONS, ROUTE, best=2), 0.3),
    "noisy mixture": lambda: Noisy(
        EpisodeMixture((WayPoints(MOTIONS, None, best=1), Always(5)), (0.5, 0.5)), 0.5
    ),
}

each_behaviour = pytest.mark.parametrize("name", MAKERS)


def drawn(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Many draws of a behaviour: actions, reported probabilities, and all probabilities."""
    behaviour, generator = MAKERS[name](), np.random.default_rng(0)
    observations = generator.random((N_DRAWS, 2)).astype(np.float32)
    behaviour.begin(np.ones(N_DRAWS, bool), generator)
    actions, reported = behaviour.draw(observations, generator)
    every = [behaviour.probability(observations, np.full(N_DRAWS, action)) for action in range(8)]
    return actions, reported, np.stack(every, axis=1)


@each_behaviour
def test_the_reported_probability_is_that_of_the_drawn_action(name: str) -> None:
    actions, reported, every = drawn(name)
    np.testing.assert_allclose(reported, every[np.arange(N_DRAWS), actions], atol=1e-12)
    assert (reported > 0).all()


@each_behaviour
def test_the_probabilities_of_all_actions_sum_to_one(name: str) -> None:
    np.testing.assert_allclose(drawn(name)[2].sum(axis=1), 1.0, atol=1e-12)


@each_behaviour
def test_actions_come_as_often_as_their_probabilities_say(name: str) -> None:
    """Group the draws by what was promised: each group keeps its promise within 4 se."""
    actions, _, every = drawn(name)
    for action in range(8):
        promised = every[:, action]
        for p in np.unique(promised):
            group = promised == p
            share = (actions[group] == action).mean()
            se = (p * (1 - p) / group.sum()) ** 0.5
            assert abs(share - p) <= 4 * se + 1e-12, (action, p)


@pytest.mark.parametrize("name", ["uniform", "greedy", "noisy greedy"])
def test_masks_hold_and_enter_the_probabilities(name: str) -> None:
    behaviour, generator = MAKERS[name](), np.random.default_rng(1)
    mask = generator.random((N_DRAWS, 8)) < 0.4
    mask[np.arange(N_DRAWS), generator.integers(8, size=N_DRAWS)] = True
    allowed = AllowedActions.of_mask(mask)
    observations = np.zeros((N_DRAWS, 2), np.float32)
    behaviour.begin(np.ones(N_DRAWS, bool), generator)
    actions, reported = behaviour.draw(observations, generator, allowed)
    every = np.stack(
        [behaviour.probability(observations, np.full(N_DRAWS, k), allowed) for k in range(8)],
        axis=1,
    )
    assert mask[np.arange(N_DRAWS), actions].all()
    assert not every[~mask].any()
    np.testing.assert_allclose(every.sum(axis=1), 1.0)
    np.testing.assert_allclose(reported, every[np.arange(N_DRAWS), actions])
    shares = np.bincount(actions, minlength=8) / N_DRAWS
    np.testing.assert_allclose(shares, every.mean(axis=0), atol=0.02)


def test_uniform_refuses_a_row_that_allows_nothing() -> None:
    behaviour, generator = MAKERS["uniform"](), np.random.default_rng(0)
    allowed = AllowedActions(np.array([0, 2, 2]), np.array([1, 3]))
    observations = np.zeros((2, 2), np.float32)
    behaviour.begin(np.ones(2, bool), generator)
    with pytest.raises(ValueError, match="row 1 has an empty set of allowed actions"):
        behaviour.draw(observations, generator, allowed)
    with pytest.raises(ValueError, match="row 1 has an empty set of allowed actions"):
        behaviour.probability(observations, np.array([1, 1]), allowed)


def test_way_points_refuse_a_mask_and_too_many_candidates() -> None:
    follower = WayPoints(MOTIONS, ROUTE, best=2)
    mask = AllowedActions.of_mask(np.ones((1, 8), bool))
    follower.begin(np.ones(1, bool), np.random.default_rng(0))
    with pytest.raises(ValueError, match="the world forbids some"):
        follower.draw(np.zeros((1, 2), np.float32), np.random.default_rng(0), mask)
    with pytest.raises(ValueError, match=r"among 1\.\.8 actions, got 9"):
        WayPoints(MOTIONS, ROUTE, best=9)


def test_a_near_expert_draws_among_the_nearest_actions() -> None:
    world = make("maze", 600, actuators=4)
    world.reset(seed=0)
    near, generator = NearExpert(world, 3), np.random.default_rng(0)
    observations = np.zeros((600, 3), np.float32)
    actions, reported = near.draw(observations, generator)
    wished = int(world.expert()[0])
    features = world.action_set.features
    assert features is not None
    away = np.abs((features - features[wished]) / features.std(axis=0)).sum(axis=1)
    away[wished] = -1
    nearest = np.argsort(away, kind="stable")[:3]
    assert set(actions) == set(nearest) and wished in nearest
    assert (reported == 1 / 3).all()
    shares = np.bincount(actions, minlength=16)[nearest] / 600
    np.testing.assert_allclose(shares, 1 / 3, atol=0.08)
    every = [near.probability(observations, np.full(600, action))[0] for action in range(16)]
    np.testing.assert_allclose(every, np.isin(np.arange(16), nearest) / 3)


def test_a_near_expert_of_one_is_the_expert() -> None:
    world = make("maze", 5, actuators=6)
    world.reset(seed=0)
    near = NearExpert(world, 1)
    actions, _ = near.draw(np.zeros((5, 3), np.float32), np.random.default_rng(0))
    np.testing.assert_array_equal(actions, world.expert())


def test_a_near_expert_needs_features_and_enough_actions() -> None:
    world = make("maze", 1, actuators=4)
    with pytest.raises(ValueError, match=r"among 1\.\.16 actions, got 17"):
        NearExpert(world, 17)
    world.action_set = ActionSet(world.action_set.ids)
    with pytest.raises(ValueError, match="needs an action set with features"):
        NearExpert(world, 3)


def test_way_points_may_draw_among_all() -> None:
    follower = WayPoints(MOTIONS, ROUTE, best=8)
    generator = np.random.default_rng(0)
    follower.begin(np.ones(500, bool), generator)
    actions, reported = follower.draw(np.zeros((500, 2), np.float32), generator)
    assert set(actions) == set(range(8))
    assert (reported == 1 / 8).all()


def test_a_log_keeps_what_was_allowed() -> None:
    world = make("maze", 3, actuators=4, changing_actions=ChangingConfig(0.5), earlier_end=5)
    log = collect(Noisy(Expert(world), 0.5), world, rows=40, seed=2)
    played = play(Noisy(Expert(world), 0.5), world, seed=2)
    assert log.allowed is not None and log.action_probabilities is not None
    rows = list(islice(played, 5))
    for step, row in enumerate(rows):
        assert row.allowed is not None
        for b in range(3):
            place = b * len(log) // 3 + step
            assert log.actions[place] == row.actions[b]
            np.testing.assert_array_equal(log.allowed.row(place), row.allowed.row(b))


def test_the_share_of_noise_enters_the_propensity() -> None:
    noisy = Noisy(Always(2), 0.4)
    observations = np.zeros((2, 2), np.float32)
    probabilities = noisy.probability(observations, np.array([2, 3]))
    np.testing.assert_allclose(probabilities, [0.4 / 8 + 0.6, 0.4 / 8])
    with pytest.raises(ValueError, match=r"lies in \[0, 1\], got 1.5"):
        Noisy(Always(2), 1.5)


def test_a_follower_heads_for_one_way_point_after_another() -> None:
    follower = WayPoints(MOTIONS, ROUTE, best=1)
    generator = np.random.default_rng(0)
    follower.begin(np.ones(1, bool), generator)
    places = [(0.2, 0.2), (0.75, 0.2), (0.78, 0.3), (0.8, 0.79), (0.8, 0.5)]
    targets = []
    for place in places:
        follower.draw(np.array([place], np.float32), generator)
        targets.append(tuple(follower.target[0].tolist()))
    assert targets == [ROUTE[0], ROUTE[1], ROUTE[1], ROUTE[1], ROUTE[1]]
    follower.begin(np.ones(1, bool), generator)
    assert tuple(follower.target[0]) == ROUTE[0]


def test_a_follower_draws_among_the_best_aligned() -> None:
    follower = WayPoints(MOTIONS, ((0.9, 0.5),), best=3)
    generator = np.random.default_rng(0)
    observations = np.full((200, 2), (0.1, 0.5), np.float32)
    follower.begin(np.ones(200, bool), generator)
    best = np.argsort(-actuator_motions(3)[:, 0])[:3]
    assert set(follower.draw(observations, generator)[0]) == set(best.tolist())


@pytest.mark.parametrize("restless", [0.0, 0.07, 1.0])
def test_a_wanderer_keeps_its_target_until_it_is_bored(restless: float) -> None:
    generator, count = np.random.default_rng(0), 4000
    wanderer = WayPoints(MOTIONS, None, best=1, restless=restless)
    wanderer.begin(np.ones(count, bool), generator)
    before = wanderer.target.copy()
    wanderer.draw(np.full((count, 2), -1.0, np.float32), generator)
    kept = (wanderer.target == before).all(axis=1).mean()
    se = (restless * (1 - restless) / count) ** 0.5
    assert abs(kept - (1 - restless)) <= 4 * se


def test_a_wanderer_draws_a_new_target_where_it_has_reached_the_old() -> None:
    generator = np.random.default_rng(0)
    wanderer = WayPoints(MOTIONS, None, best=1, restless=0.0)
    wanderer.begin(np.ones(2, bool), generator)
    before = wanderer.target.copy()
    beside = np.array([[0.05, 0.0], [0.07, 0.0]])
    wanderer.draw((before + beside).astype(np.float32), generator)
    assert (wanderer.target == before).all(axis=1).tolist() == [False, True]


def test_only_the_worlds_that_begin_forget() -> None:
    wanderer = WayPoints(MOTIONS, None, best=1)
    generator = np.random.default_rng(0)
    wanderer.begin(np.ones(3, bool), generator)
    before = wanderer.target.copy()
    wanderer.begin(np.array([False, True, False]), generator)
    assert (wanderer.target == before).all(axis=1).tolist() == [True, False, True]
    mixture = EpisodeMixture((Always(1), Always(6)), (0.5, 0.5))
    mixture.begin(np.ones(99, bool), generator)
    parts = mixture.part.copy()
    first_third = np.arange(99) < 33
    mixture.begin(first_third, generator)
    np.testing.assert_array_equal(mixture.part[~first_third], parts[~first_third])
    assert (mixture.part != parts).any()


def test_a_mixture_may_have_a_hundred_parts() -> None:
    generator = np.random.default_rng(0)
    mixture = EpisodeMixture([Always(k % 8) for k in range(100)], [0.01] * 100)
    mixture.begin(np.ones(50, bool), generator)
    actions, probabilities = mixture.draw(np.zeros((50, 2), np.float32), generator)
    np.testing.assert_array_equal(actions, mixture.part % 8)
    assert set(probabilities) == {1.0}


def test_a_mixture_of_two_catalogues_is_refused() -> None:
    other = Uniform(ActionSet.dense(9))
    with pytest.raises(ValueError, match="part 1 knows 9 actions, part 0 has 8"):
        EpisodeMixture((Always(1), other), (0.5, 0.5))


def test_way_points_need_motions() -> None:
    for features in (None, np.zeros((8, 12), np.float32)):
        with pytest.raises(ValueError, match=r"features are motions \[A, 2\]"):
            WayPoints(ActionSet(np.arange(8), features=features), None, best=1)


def test_a_mixture_keeps_one_part_for_a_whole_episode() -> None:
    world = Maze(400, actuators=3)
    mixture = EpisodeMixture((Always(1), Always(6)), (0.25, 0.75))
    rows = list(islice(play(mixture, world, seed=0), world.horizon + 1))
    first_episode = np.stack([row.actions for row in rows[:-1]])
    still_first = np.cumsum([row.first for row in rows[:-1]], axis=0) == 1
    assert ((first_episode == first_episode[0]) | ~still_first).all()
    share = (first_episode[0] == 1).mean()
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5
    assert (rows[-1].actions != first_episode[0]).any()


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.4)])
def test_weights_that_fit_no_mixture_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="2 parts need as many weights summing to 1"):
        EpisodeMixture((Always(1), Always(6)), weights)


# --- collecting


@pytest.mark.parametrize("rows", [1, 300, 1000])
@pytest.mark.parametrize("make", [Uniform, maze_expert], ids=["equal lengths", "unequal"])
def test_whole_episodes_of_equal_number_a_world(
    make: Callable[[ActionSet], AbstractBehaviour], rows: int
) -> None:
    world = Maze(8, actuators=4)
    log = collect(make(world.action_set), world, rows=rows, seed=0)
    assert len(log) >= rows
    assert (len(np.unique(log.lengths)) == 1) == (make is Uniform)
    assert log.n_episodes % world.num_envs == 0
    assert len(log) - log.lengths.reshape(8, -1)[:, -1].sum() < rows
    start = world.reset()[0][0]
    np.testing.assert_array_equal(log.starts, np.tile(start, (log.n_episodes, 1)))
    inner = np.flatnonzero(~log.ends)
    np.testing.assert_array_equal(log.next_observations[inner], log.observations[inner + 1])
    assert log.has_next.all()
    assert log.observation_names == world.observation_names
    assert log.action_set is world.action_set


def test_the_rows_are_those_that_were_played() -> None:
    world = Maze(3, actuators=4)
    log = collect(Uniform(world.action_set), world, rows=100, seed=4)
    played = list(islice(play(Uniform(world.action_set), world, seed=4), world.horizon))
    assert log.lengths.tolist() == [60, 60, 60]
    for name in ("observations", "actions", "rewards", "next_observations", "truncated"):
        columns = np.stack([getattr(row, name) for row in played], axis=1)
        np.testing.assert_allclose(getattr(log, name), np.concatenate(list(columns)), atol=1e-6)


def test_the_seed_decides_the_log() -> None:
    def fingerprint(seed: int, made_with: int) -> str:
        world = Maze(4, actuators=12, seed=made_with)
        behaviour = maze_mixture(world.action_set)
        return collect(behaviour, world, rows=100, seed=seed).fingerprint

    assert fingerprint(0, 1) == fingerprint(0, 2) != fingerprint(1, 1)


def test_the_logged_propensities_of_the_mixture_are_its_three_values() -> None:
    world = Maze(8)
    log = collect(maze_mixture(world.action_set), world, rows=2000, seed=0)
    noise = 0.5 / 4096
    expected = [noise, noise + 0.5 / 1024, noise + 0.5]
    assert log.action_probabilities is not None
    np.testing.assert_allclose(np.unique(log.action_probabilities), expected)


def test_no_rows_are_refused() -> None:
    world = Maze(1, actuators=4)
    with pytest.raises(ValueError, match="at least one row is needed, got 0"):
        collect(Uniform(world.action_set), world, rows=0, seed=0)


def test_the_expert_reaches_the_goal_and_the_mixture_rarely() -> None:
    world = Maze(20)
    expert = collect(maze_expert(world.action_set), world, rows=300, seed=0)
    poor = collect(maze_mixture(world.action_set), world, rows=1000, seed=0)
    assert expert.terminated.sum() >= 0.95 * expert.n_episodes
    assert poor.terminated.sum() <= 0.5 * poor.n_episodes


def test_behaviours_by_name() -> None:
    world = Maze(1)
    for name, maker in BEHAVIOURS.items():
        made = make_behaviour(name, world.action_set)
        assert type(made) is type(maker(world.action_set))
        assert made.action_set is world.action_set
    with pytest.raises(ValueError, match="unknown behaviour 'clever'; there are maze_expert, "):
        make_behaviour("clever", world.action_set)
