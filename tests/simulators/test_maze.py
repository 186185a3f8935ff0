"""The maze: its geometry, its payments, and the numbers published and measured of it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from offline_actrep.behaviour import Expert, Uniform
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy
from offline_actrep.rollout import episode_returns, play
from offline_actrep.simulators.maze import (
    NOISE_CEILING,
    PRESETS,
    SUB_STEP,
    SUB_STEPS,
    Box,
    Maze,
    MazeConfig,
    actuator_motions,
)

QUIET = replace(PRESETS["paper"], noise=0.0)
RIGHT, UP, LEFT, DOWN = 8, 4, 2, 1
"""Four actuators stand at 0, 90, 180, 270 degrees; bits, most significant first."""
STEP = SUB_STEP / 2**0.5
"""A sub-step of one actuator of four: two neighbours together have length 1."""


def at(world: Maze, *positions: Sequence[float]) -> Maze:
    """The world, its mazes moved to these positions at the start of an episode."""
    world.reset(seed=0)
    world.position = np.array(positions, np.float64)
    return world


def four(*positions: Sequence[float], **changes: Any) -> Maze:
    """Noise-free mazes of four actuators, standing there."""
    world = Maze(len(positions), preset=replace(QUIET, **changes), actuators=4)
    return at(world, *positions)


def walk(world: Maze, *actions: int) -> list[float]:
    """The rewards of one maze."""
    return [world.step(np.array([action]))[1].item() for action in actions]


# --- the action table


def test_motions_of_twelve_actuators() -> None:
    motions = actuator_motions(12)
    lengths = np.linalg.norm(motions, axis=1)
    assert motions.shape == (4096, 2)
    assert len(np.unique(np.round(motions, 6) + 0.0, axis=0)) == 361
    assert (lengths < 1e-9).sum() == 100
    assert lengths.max() == pytest.approx(1.0)
    assert lengths.mean() == pytest.approx(0.401, abs=5e-4)
    assert lengths.std() == pytest.approx(0.201, abs=5e-4)


def test_the_last_bit_switches_the_last_actuator() -> None:
    motions = actuator_motions(4) * 2**0.5
    expected = {RIGHT: (1, 0), UP: (0, 1), LEFT: (-1, 0), DOWN: (0, -1), RIGHT + UP: (1, 1)}
    for action, motion in expected.items():
        np.testing.assert_allclose(motions[action], motion, atol=1e-12)
    twelve = actuator_motions(12)
    angle = np.degrees(np.arctan2(twelve[:, 1], twelve[:, 0]))
    assert angle[1] == pytest.approx(-30, abs=0.05)
    assert angle[2048] == pytest.approx(0, abs=0.05)


def test_plans_are_digits_of_four_the_first_move_most_significant() -> None:
    motions = Maze(1, preset="plans").motions
    down, right, up, left = (0, -1), (1, 0), (0, 1), (-1, 0)
    assert motions.shape == (4096, 6, 2)
    assert motions[0].tolist() == [list(down)] * 6
    assert motions[4**5].tolist() == [list(right), *[list(down)] * 5]
    assert motions[2].tolist() == [*[list(down)] * 5, list(up)]
    assert motions[3 * 4 + 1].tolist() == [*[list(down)] * 4, list(left), list(right)]
    assert len(np.unique(motions, axis=0)) == 4096


def test_the_table_of_features_is_the_motions() -> None:
    maze, planned = Maze(1), Maze(1, preset="plans")
    np.testing.assert_allclose(maze.action_set.features, actuator_motions(12), atol=1e-7)
    assert maze.action_set.feature_names == ("x0", "y0")
    assert planned.action_set.features is not None
    np.testing.assert_array_equal(planned.action_set.features.reshape(4096, 6, 2), planned.motions)
    assert planned.action_set.feature_names[:4] == ("x0", "y0", "x1", "y1")


def test_plans_end_at_49_places_in_free_space() -> None:
    motions = Maze(1, preset="plans").motions
    assert len(np.unique(motions.sum(axis=1), axis=0)) == 49


@pytest.mark.parametrize("actuators", [0, 17])
def test_a_number_of_actuators_out_of_range_is_refused(actuators: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 16 actuators, got {actuators}"):
        Maze(1, actuators=actuators)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"noise": 1.5}, "noise is a probability, got 1.5"),
        ({"plan_length": 0}, "1 or more, got 0 and 60"),
        ({"horizon": 0}, "1 or more, got 1 and 0"),
        ({"start": (0.2, 0.27)}, "in no wall"),
        ({"start": (1.2, 0.2)}, "inside the square"),
    ],
)
def test_a_maze_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(PRESETS["paper"], **change)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown maze preset 'easy'; there are paper, chandak"):
        Maze(1, preset="easy")


# --- one step without noise


def test_a_step_is_four_sub_steps_along_the_motion() -> None:
    world = four((0.25, 0.10), (0.80, 0.50))
    observations = world.step(np.array([RIGHT, UP + LEFT]))[0]
    expected = [[0.25 + 4 * STEP, 0.10, 0], [0.80 - 4 * STEP, 0.50 + 4 * STEP, 0]]
    np.testing.assert_allclose(observations, expected, atol=1e-6)


def test_every_episode_begins_at_the_start() -> None:
    observations, _ = four((0.9, 0.9)).reset()
    np.testing.assert_allclose(observations, [[0.25, 0.10, 0]], atol=1e-7)


@pytest.mark.parametrize(
    ("position", "action", "sub_steps"),
    [
        ((0.25, 0.20), UP, 1),  # the horizontal wall begins at 0.25
        ((0.25, 0.36), DOWN, 1),  # and ends at 0.30
        ((0.44, 0.60), RIGHT, 1),  # the vertical wall begins at 0.50
        ((0.62, 0.60), LEFT, 2),  # and ends at 0.55
        ((0.525, 0.90), DOWN, 3),  # at its upper end, 0.80
        ((0.05, 0.90), LEFT, 1),  # the rim
        ((0.90, 0.95), RIGHT + UP, 1),
        ((0.95, 0.90), RIGHT, 1),
        ((0.80, 0.02), DOWN, 0),
    ],
)
def test_a_blocked_sub_step_leaves_it_where_it_was(
    position: tuple[float, float], action: int, sub_steps: int
) -> None:
    world = four(position)
    motion = STEP * np.array([(action & RIGHT > 0) - (action & LEFT > 0), 0.0])
    motion[1] = STEP * ((action & UP > 0) - (action & DOWN > 0))
    world.step(np.array([action]))
    np.testing.assert_allclose(world.position[0], position + sub_steps * motion, atol=1e-9)


class Given:
    """Stands for the draws: those given, one row of three a sub-step."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = np.array(rows, np.float64)

    def uniform(self, lanes: int) -> np.ndarray:
        return self.rows.reshape(lanes, 1)


MOVE, DRIFT = (0.5, 0.9, 0.9), (0.05, 0.5, 1.0)
"""Draws of a sub-step along the motion, and of one of noise (half right, all up)."""


def drawn(world: Maze, *rows: tuple[float, float, float]) -> np.ndarray:
    """The displacement of one maze, action up, under these draws."""
    before = world.position[0].copy()
    world.draws = Given(rows)  # type: ignore[assignment]
    world.step(np.array([UP]))
    return world.position[0] - before


def test_noise_takes_the_place_of_the_motion_and_points_to_the_upper_right() -> None:
    noise = SUB_STEP * NOISE_CEILING * np.array([0.5, 1.0])
    moved = drawn(four((0.8, 0.5), noise=0.1), MOVE, DRIFT, MOVE, DRIFT)
    np.testing.assert_allclose(moved, 2 * noise + [0, 2 * STEP], atol=1e-12)
    exactly_at_the_share = (0.1, 0.5, 0.5)
    moved = drawn(four((0.8, 0.5), noise=0.1), exactly_at_the_share, MOVE, MOVE, MOVE)
    np.testing.assert_allclose(moved, [0, 4 * STEP], atol=1e-12)


def test_a_blocked_sub_step_drops_those_that_remain() -> None:
    rightwards = (0.05, 1.0, 0.0)
    free = drawn(four((0.25, 0.23), noise=0.1), rightwards, rightwards, MOVE, rightwards)
    np.testing.assert_allclose(free, [2 * SUB_STEP * NOISE_CEILING, 0], atol=1e-12)


def test_a_blocked_move_does_not_end_the_plan() -> None:
    config = MazeConfig(plan_length=2, noise=0.0)
    up_then_right = 2 * 4 + 1
    world = at(Maze(1, preset=config), (0.25, 0.20))
    world.step(np.array([up_then_right]))
    np.testing.assert_allclose(world.position[0], [0.25 + 4 * SUB_STEP, 0.245], atol=1e-9)


WALLS = MazeConfig().walls
CORE = 0.016
"""A sub-step (0.045) that cuts a corner stays less than this from the wall's face."""


def crosses_a_core(start: np.ndarray, end: np.ndarray) -> bool:
    way = start + np.linspace(0, 1, 101)[:, None] * (end - start)
    inner = [
        Box(w.x_low and w.x_low + CORE, w.x_high - CORE, w.y_low + CORE, w.y_high - CORE)
        for w in WALLS
    ]
    return any(wall.holds(way).any() for wall in inner)


@settings(deadline=None, max_examples=60)
@given(
    x=st.floats(0, 1),
    y=st.floats(0, 1),
    actions=st.lists(st.integers(0, 15), min_size=1, max_size=8),
    noise=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_path_leads_through_a_wall(
    x: float, y: float, actions: list[int], noise: float, seed: int
) -> None:
    world = four((x, y), noise=noise)
    assume(world.free(world.position)[0])
    world.reseed(seed)
    inner, path = world.free, [world.position[0].copy()]

    def watched(targets: np.ndarray) -> np.ndarray:
        path.append(world.position[0].copy())
        return inner(targets)

    world.free = watched  # type: ignore[method-assign]
    for action in actions:
        _, _, terminated, _ = world.advance(np.array([action]))
        path.append(world.position[0].copy())
        if terminated[0]:
            break
    assert inner(np.array(path)).all()
    for start, end in pairwise(path):
        assert np.linalg.norm(end - start) <= SUB_STEP + 1e-12
        assert not crosses_a_core(start, end)


def test_the_watch_over_walls_sees_a_crossing() -> None:
    assert crosses_a_core(np.array([0.2, 0.24]), np.array([0.2, 0.31]))
    assert crosses_a_core(np.array([0.56, 0.5]), np.array([0.49, 0.52]))
    assert not crosses_a_core(np.array([0.56, 0.79]), np.array([0.53, 0.815]))


# --- payments and ends


def test_the_goal_pays_once_and_ends() -> None:
    world = four((0.275, 0.44))
    observations, rewards, terminated, truncated, _ = world.step(np.array([UP]))
    assert (rewards[0], terminated[0], truncated[0]) == (100.0, True, False)
    # It stops inside, after one of four sub-steps.
    np.testing.assert_allclose(observations[0, :2], [0.275, 0.44 + STEP], atol=1e-6)
    observations, rewards, terminated, _, _ = world.step(np.array([UP]))
    np.testing.assert_allclose(observations[0, :2], [0.25, 0.10], atol=1e-6)
    assert (rewards[0], terminated[0]) == (0.0, False)


def test_reaching_the_goal_in_the_last_decision_is_no_cut() -> None:
    world = four((0.275, 0.44), horizon=1)
    terminated, truncated = world.step(np.array([UP]))[2:4]
    assert (terminated[0], truncated[0]) == (True, False)


def test_a_world_that_begins_anew_leaves_the_others_alone() -> None:
    """The first reaches the goal at once, the second has passed the bonus and is cut after 4."""
    world = four((0.275, 0.44), (0.72, 0.83), horizon=4)
    ends, seen = [], []
    for action in (UP, 0, 0, 0, 0, 0):
        observations, _, terminated, truncated, _ = world.step(np.array([action, action]))
        ends.append((terminated | truncated).tolist())
        seen.append(observations[1].tolist())
    assert [first for first, _ in ends] == [True, False, False, False, False, True]
    assert [second for _, second in ends] == [False, False, False, True, False, False]
    assert seen[0] == seen[1] == seen[2] == seen[3] != seen[4]
    assert seen[3][2] == 1.0


def test_the_bonus_is_paid_once_and_can_be_seen() -> None:
    world = four((0.72, 0.83))
    assert walk(world, UP) == [10.0]
    assert world._observe()[0, 2] == 1.0
    assert walk(world, DOWN, UP, DOWN) == [0.0, 0.0, 0.0]
    assert world._observe()[0, 2] == 1.0
    observations, _ = world.reset()
    assert observations[0, 2] == 0.0
    assert walk(at(world, (0.72, 0.83)), UP) == [10.0]


def test_the_flag_belongs_to_its_own_world() -> None:
    world = four((0.72, 0.83), (0.20, 0.10))
    observations, rewards, *_ = world.step(np.array([UP, UP]))
    assert rewards.tolist() == [10.0, 0.0]
    assert observations[:, 2].tolist() == [1.0, 0.0]


def test_the_penalty_is_paid_on_every_entry_and_not_for_staying() -> None:
    world = four((0.92, 0.02))
    assert walk(world, UP, DOWN, UP) == [-20.0, -20.0, -20.0]
    no_motion = 0
    assert walk(at(world, (0.92, 0.06)), no_motion, no_motion) == [0.0, 0.0]
    assert "paid_1" not in world.observation_names


def test_each_base_move_costs_also_when_it_is_blocked() -> None:
    assert walk(four((0.25, 0.24), step_cost=-0.05), UP, RIGHT) == [-0.05, -0.05]
    planned = Maze(1, preset=MazeConfig(plan_length=3, step_cost=-0.05, noise=0.0))
    assert walk(planned, 0) == pytest.approx([-0.15])


def test_no_move_of_a_plan_follows_the_goal() -> None:
    config = MazeConfig(plan_length=3, step_cost=-1.0, noise=0.0)
    world = at(Maze(1, preset=config), (0.275, 0.40))
    up_down_up = 2 * 16 + 0 * 4 + 2
    assert walk(world, up_down_up) == [99.0]
    np.testing.assert_allclose(world.position[0], [0.275, 0.49], atol=1e-9)


# --- chandak's step counter, noise and published numbers


def sigmas(mean: float, se: float, published: float, published_se: float) -> float:
    return abs(mean - published) / np.hypot(se, published_se)


def played(
    actor: AbstractBehaviour | AbstractPolicy, world: Maze, episodes: int
) -> tuple[float, float]:
    """Mean return and its standard error."""
    returns = episode_returns(actor, world, episodes=episodes, seed=3)
    return returns.mean(), returns.std() / len(returns) ** 0.5


def test_an_episode_without_goal_costs_149_moving_steps() -> None:
    world = Maze(200, preset="chandak")
    returns = episode_returns(Uniform(world.action_set), world, episodes=200, seed=1)
    missed = returns < 50
    assert missed.sum() > 190
    np.testing.assert_allclose(returns[missed], -7.45, atol=1e-9)


def test_the_150th_decision_moves_nothing_and_pays_nothing() -> None:
    world = Maze(20, preset="chandak")
    rows = play(Uniform(world.action_set), world, seed=0)
    for step, row in zip(range(1, 151), rows, strict=False):
        np.testing.assert_array_equal(row.truncated, step == 150)
        still = (row.observations == row.next_observations).all(axis=1)
        assert still.all() == (step == 150)
        np.testing.assert_array_equal(row.rewards, 0.0 if step == 150 else -0.05)


@pytest.mark.parametrize(
    ("actuators", "published", "se", "episodes"),
    [(3, -1.4, 0.44, 4000), (5, -5.6, 0.35, 4000), (12, -7.28, 0.075, 10_000)],
)
def test_random_returns_are_those_published(
    actuators: int, published: float, se: float, episodes: int
) -> None:
    world = Maze(1000, preset="chandak", actuators=actuators)
    mean, own_se = played(Uniform(world.action_set), world, episodes)
    assert sigmas(mean, own_se, published, se) < 4


def test_noise_drifts_to_the_upper_right() -> None:
    world = Maze(20_000, preset="paper", actuators=4)
    at(world, *[(0.8, 0.5)] * world.num_envs)
    world.step(np.zeros(world.num_envs, int))
    moved = world.position - [0.8, 0.5]
    expected = SUB_STEPS * 0.1 * SUB_STEP * NOISE_CEILING / 2
    assert expected == pytest.approx(0.006, abs=5e-4)
    se = moved.std(axis=0) / world.num_envs**0.5
    assert (np.abs(moved.mean(axis=0) - expected) < 4 * se).all()
    assert moved.min() == 0.0


# --- the ground truth of a probe


@pytest.mark.parametrize("preset", ["paper", "plans"])
def test_effects_are_what_a_step_without_noise_does(preset: str) -> None:
    count = 3000
    world = Maze(count, preset=replace(PRESETS[preset], noise=0.0))
    generator = np.random.default_rng(0)
    places = generator.random((4 * count, 2)).astype(np.float32).astype(np.float64)
    places = places[world.free(places) & ~world.settings.goal.holds(places)][:count]
    actions = generator.integers(len(world.action_set), size=count)
    at(world, *places)
    expected = world.effects(world._observe(), actions)
    terminated = world.step(actions)[2]
    np.testing.assert_allclose(world.position - places, expected, atol=1e-12)
    assert terminated.any()
    assert (np.linalg.norm(expected, axis=1) < 1e-9).any()


def test_effects_leave_the_world_alone() -> None:
    world = Maze(2)
    before = world.reset(seed=0)[0], world.draws.counters.tolist()
    world.effects(np.full((5, 3), 0.9, np.float32), np.arange(5))
    np.testing.assert_array_equal(world._observe(), before[0])
    assert world.draws.counters.tolist() == before[1]


# --- the returns that the presets state


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_random_return_is_the_measured_one(preset: str) -> None:
    world = Maze(1000, preset=preset)
    mean, se = played(Uniform(world.action_set), world, 10_000)
    assert mean == pytest.approx(world.random_return, abs=4 * se + 0.05)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_best_return_is_the_measured_one(preset: str) -> None:
    world = Maze(20, preset=preset)
    mean, se = played(Expert(world), world, 60 if preset == "plans" else 1000)
    stated_se = 0.6 if preset == "plans" else 0.0
    assert mean == pytest.approx(world.best_return, abs=4 * np.hypot(se, stated_se) + 0.05)
    assert se < 4


def test_the_stated_returns_hold_for_the_preset_alone() -> None:
    assert np.isnan(Maze(1, actuators=4).random_return)
    assert np.isnan(Maze(1, actuators=4).best_return)
    assert Maze(1, actuators=12).best_return == Maze(1).best_return
    assert np.isfinite(Maze(1, preset="plans", actuators=4).best_return)


# --- the picture


def test_the_picture_shows_walls_goal_and_the_point_with_y_upwards() -> None:
    picture = four((0.85, 0.60)).render()[0]

    def colour(x: float, y: float) -> tuple[int, ...]:
        return tuple(picture[int((1 - y) * 200), int(x * 200)].tolist())

    assert picture.shape == (200, 200, 3)
    assert colour(0.85, 0.60) == (40, 90, 200)
    assert colour(0.25, 0.275) == colour(0.525, 0.5) == (60, 60, 60)
    assert colour(0.275, 0.475) == (60, 160, 90)
    assert colour(0.725, 0.875) == (240, 190, 60)
    assert colour(0.925, 0.075) == (210, 90, 80)
    assert colour(0.25, 0.725) == (255, 255, 255)
