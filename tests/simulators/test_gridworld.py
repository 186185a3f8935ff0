"""The gridworld: the maze's walk under other payments, seen whole or in cells."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.behaviour import Expert, Uniform
from offline_actrep.core.policy import AbstractBehaviour
from offline_actrep.rollout import episode_returns
from offline_actrep.simulators.gridworld import (
    PLAN_CELLS,
    PRESETS,
    SIDE,
    Gridworld,
    GridworldConfig,
    free,
)
from offline_actrep.simulators.maze import (
    NOISE_CEILING,
    SUB_STEP,
    SUB_STEPS,
    Maze,
    MazeConfig,
    actuator_motions,
)

QUIET = GridworldConfig(noise=0.0)
RIGHT, UP, LEFT, DOWN = 8, 4, 2, 1
"""Four actuators stand at 0, 90, 180, 270 degrees; bits, most significant first."""
STEP = SUB_STEP / 2**0.5
"""A sub-step of one actuator of four: two neighbours together have length 1."""


def at(world: Gridworld, *positions: Sequence[float]) -> Gridworld:
    """The world, its points moved to these positions at the start of an episode."""
    world.reset(seed=0)
    world.position = np.array(positions, np.float64).T
    return world


def four(*positions: Sequence[float], **changes: Any) -> Gridworld:
    """Noise-free gridworlds of four actuators, the points standing there."""
    world = Gridworld(len(positions), preset=replace(QUIET, **changes), actuators=4)
    return at(world, *positions)


def paid(world: Gridworld, *actions: int) -> list[float]:
    """The rewards of one gridworld."""
    return [world.step(np.array([action]))[1].item() for action in actions]


# --- actions


@pytest.mark.parametrize(("actuators", "distinct"), [(5, 31), (9, 343), (11, 2047)])
def test_motions_are_those_of_the_maze_and_equal_ones_are_equal_in_bits(
    actuators: int, distinct: int
) -> None:
    motions = Gridworld(1, actuators=actuators).motions.T
    np.testing.assert_allclose(motions, actuator_motions(actuators), atol=1e-12)
    assert len(np.unique(motions, axis=0)) == distinct


def test_the_table_of_actions_names_bits_and_motions() -> None:
    world = Gridworld(1, actuators=5)
    assert world.action_set.features is not None
    np.testing.assert_allclose(world.action_set.features, actuator_motions(5), atol=1e-7)
    assert world.action_set.names[:3] == ("00000", "00001", "00010")
    assert len(Gridworld(1).action_set) == 2048


@pytest.mark.parametrize("actuators", [0, 15])
def test_a_number_of_actuators_out_of_range_is_refused(actuators: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 14 actuators, got {actuators}"):
        Gridworld(1, actuators=actuators)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown gridworld preset 'paper'; there are continuous"):
        Gridworld(1, preset="paper")


# --- one step


def test_a_step_is_four_sub_steps_along_the_motion_and_costs_a_hundredth() -> None:
    world = four((0.25, 0.10), (0.80, 0.50))
    observations, rewards, *_ = world.step(np.array([RIGHT, UP + LEFT]))
    expected = [[0.25 + 4 * STEP, 0.10], [0.80 - 4 * STEP, 0.50 + 4 * STEP]]
    np.testing.assert_allclose(observations, expected, atol=1e-6)
    assert rewards.tolist() == [-0.01, -0.01]


def test_the_longest_step_is_below_a_fifth() -> None:
    world = Gridworld(2048, preset=QUIET)
    at(world, *[(0.8, 0.5)] * 2048)
    world.step(np.arange(2048))
    moved = np.hypot(*(world.position - [[0.8], [0.5]]))
    assert moved.max() == pytest.approx(SUB_STEPS * SUB_STEP)
    assert moved.max() < 0.2


def test_it_walks_as_the_maze_does() -> None:
    world = Gridworld(50, seed=4)
    maze = Maze(50, preset=MazeConfig(horizon=150), actuators=11, seed=4)
    generator = np.random.default_rng(0)
    for _ in range(60):
        actions = generator.integers(2048, size=50)
        world.advance(actions)
        maze.advance(actions)
        np.testing.assert_allclose(world.position.T, maze.position, atol=1e-9)
    assert len(np.unique(world.position)) > 50


@pytest.mark.parametrize(
    ("position", "action", "sub_steps"),
    [
        ((0.25, 0.20), UP, 1),  # the horizontal wall begins at 0.25
        ((0.62, 0.60), LEFT, 2),  # the vertical wall ends at 0.55
        ((0.05, 0.90), LEFT, 1),  # the rim
        ((0.80, 0.02), DOWN, 0),
    ],
)
def test_a_collision_stops_the_move_and_is_paid_for_once(
    position: tuple[float, float], action: int, sub_steps: int
) -> None:
    world = four(position)
    assert paid(world, action) == [pytest.approx(-0.06)]
    assert np.hypot(*(world.position[:, 0] - position)) == pytest.approx(sub_steps * STEP)
    assert paid(world, 0) == [-0.01]


class Drawn:
    """Stands for the streams: the draws are those given, three a sub-step."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = np.array(rows, np.float64)

    def uniform(self, lanes: int) -> np.ndarray:
        return self.rows.reshape(lanes, 1)


MOVE, DRIFT = (0.1, 0.9, 0.9), (0.09, 0.5, 1.0)
"""Draws of a sub-step along the motion, and of one of noise (half right, all up)."""


def drawn(position: Sequence[float], *rows: tuple[float, float, float]) -> tuple[Any, Any]:
    """The displacement of one point, action up, and what it pays."""
    world = four(position, noise=0.1)
    world.draws = Drawn(rows)  # type: ignore[assignment]
    rewards = world.advance(np.array([UP]))[1]
    return world.position[:, 0] - position, rewards[0]


def test_noise_takes_the_place_of_the_motion_and_points_to_the_upper_right() -> None:
    noise = SUB_STEP * NOISE_CEILING * np.array([0.5, 1.0])
    moved, reward = drawn((0.8, 0.5), MOVE, DRIFT, MOVE, DRIFT)
    np.testing.assert_allclose(moved, 2 * noise + [0, 2 * STEP], atol=1e-12)
    assert reward == -0.01


def test_noise_that_runs_into_the_rim_is_paid_for_and_drops_what_remains() -> None:
    moved, reward = drawn((0.99, 0.2), MOVE, DRIFT, MOVE, MOVE)
    np.testing.assert_allclose(moved, [0, STEP], atol=1e-12)
    assert reward == pytest.approx(-0.06)


@settings(deadline=None, max_examples=40)
@given(x=st.floats(0, 1), y=st.floats(0, 1), seed=st.integers(0, 99))
def test_no_point_ends_inside_a_wall(x: float, y: float, seed: int) -> None:
    world = Gridworld(64, preset=GridworldConfig(noise=0.3), actuators=5)
    world.reset(seed=seed)
    if free(world.settings, np.array([[x], [y]]))[0]:
        world.position[:] = [[x], [y]]
    for step in range(6):
        world.advance(np.random.default_rng([seed, step]).integers(32, size=64))
        assert free(world.settings, world.position).all()


# --- payments and ends


def test_the_goal_pays_one_less_the_step_and_ends() -> None:
    world = four((0.275, 0.44))
    observations, rewards, terminated, truncated, _ = world.step(np.array([UP]))
    assert (rewards[0], terminated[0], truncated[0]) == (pytest.approx(0.99), True, False)
    # It stops inside, after one of four sub-steps.
    np.testing.assert_allclose(observations[0], [0.275, 0.44 + STEP], atol=1e-6)
    observations, rewards, terminated, _, _ = world.step(np.array([UP]))
    np.testing.assert_allclose(observations[0], [0.25, 0.10], atol=1e-6)
    assert (rewards[0], terminated[0]) == (0.0, False)


def test_an_episode_is_cut_after_150_steps() -> None:
    world = four((0.8, 0.5))
    cuts = [world.step(np.array([0]))[2:4] for _ in range(150)]
    assert [cut[0] for _, cut in cuts] == [False] * 149 + [True]
    assert not any(ended[0] for ended, _ in cuts)


def test_reaching_the_goal_in_the_last_step_is_no_cut() -> None:
    terminated, truncated = four((0.275, 0.44), horizon=1).step(np.array([UP]))[2:4]
    assert (terminated[0], truncated[0]) == (True, False)


def test_without_obstacles_the_way_is_straight() -> None:
    blocked, clear = (
        at(Gridworld(1, preset=QUIET, actuators=4, obstacles=obstacles), (0.26, 0.2))
        for obstacles in (True, False)
    )
    assert paid(blocked, UP) == [pytest.approx(-0.06)]
    assert paid(clear, UP, UP) == [-0.01, pytest.approx(0.99)]
    assert paid(at(clear, (0.95, 0.2)), RIGHT) == [pytest.approx(-0.06)]


# --- cells


def test_cells_are_seen_by_their_centres() -> None:
    world = four((0.0, 1.0), (0.024, 0.026), (0.80, 0.50), cells=40)
    observations = world.step(np.zeros(3, int))[0]
    expected = [[0.0125, 0.9875], [0.0125, 0.0375], [0.8125, 0.5125]]
    np.testing.assert_allclose(observations, expected, atol=1e-7)
    assert world.single_observation_space.contains(observations[0])


def test_cells_hide_the_position_but_do_not_move_it() -> None:
    whole, seen = (Gridworld(64, preset=preset, seed=2) for preset in PRESETS)
    hidden = 0
    for step in range(40):
        actions = np.random.default_rng(step).integers(2048, size=64)
        one, other = whole.advance(actions), seen.advance(actions)
        np.testing.assert_array_equal(whole.position, seen.position)
        for column, twin in zip(one[1:], other[1:], strict=True):
            np.testing.assert_array_equal(column, twin)
        assert np.abs(one[0] - other[0]).max() <= 0.0125 + 1e-6
        hidden += (one[0] != other[0]).sum()
    assert hidden > 0


@pytest.mark.parametrize("cells", [40, PLAN_CELLS])
def test_walls_and_goal_fill_whole_cells(cells: int) -> None:
    axis = (np.arange(cells) + 0.5) / cells
    centres = np.stack(np.meshgrid(axis, axis)).reshape(2, -1)
    for share in (0.02, 0.98):
        places = centres + (share - 0.5) / cells
        np.testing.assert_array_equal(free(QUIET, places), free(QUIET, centres))
        np.testing.assert_array_equal(QUIET.goal.holds(places.T), QUIET.goal.holds(centres.T))


# --- the ground truth of a probe


def test_effects_are_what_a_step_without_noise_does() -> None:
    world = Gridworld(3000, preset=QUIET)
    generator = np.random.default_rng(0)
    places = generator.random((2, 9000)).astype(np.float32).astype(np.float64)
    places = places[:, free(QUIET, places) & ~QUIET.goal.holds(places.T)][:, :3000]
    actions = generator.integers(2048, size=3000)
    at(world, *places.T)
    expected = world.effects(world._observe(), actions)
    _, rewards, terminated, _, _ = world.step(actions)
    np.testing.assert_array_equal(world.position - places, expected[:, :2].T)
    np.testing.assert_allclose(rewards, -0.01 - 0.05 * expected[:, 2] + terminated)
    assert 0 < terminated.sum() < expected[:, 2].sum() < 3000


def test_equal_actions_have_equal_effects_and_others_have_not() -> None:
    world = Gridworld(1, actuators=9)
    place = np.full((512, 2), (0.8, 0.5), np.float32)
    assert len(np.unique(world.effects(place, np.arange(512)), axis=0)) == 343


def test_a_blocked_move_differs_from_none() -> None:
    world = four((0.8, 0.02))
    place = np.full((2, 2), (0.80, 0.02), np.float32)
    assert world.effects(place, np.array([DOWN, 0])).tolist() == [[0, 0, 1], [0, 0, 0]]


def test_effects_leave_the_world_alone() -> None:
    world = Gridworld(2)
    before = world.reset(seed=0)[0], world.draws.counters.tolist()
    world.effects(np.full((5, 2), 0.9, np.float32), np.arange(5))
    np.testing.assert_array_equal(world._observe(), before[0])
    assert world.draws.counters.tolist() == before[1]


# --- the expert and the returns that the presets state


def played(actor: AbstractBehaviour, world: Gridworld, episodes: int) -> tuple[float, float]:
    """Mean return and its standard error."""
    returns = episode_returns(actor, world, episodes=episodes, seed=3)
    return returns.mean(), returns.std() / len(returns) ** 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_random_return_is_the_measured_one(preset: str) -> None:
    world = Gridworld(1000, preset=preset)
    mean, se = played(Uniform(world.action_set), world, 2000)
    assert mean == pytest.approx(world.random_return, abs=4 * se + 0.005)
    assert se < 0.02


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_best_return_is_the_measured_one(preset: str) -> None:
    world = Gridworld(300, preset=preset)
    mean, se = played(Expert(world), world, 300)
    assert mean == pytest.approx(world.best_return, abs=4 * se + 0.0005)
    assert se < 0.002


def test_without_noise_the_expert_needs_nine_steps_and_runs_into_nothing() -> None:
    """The straight lines around the corners are 1.29 long: 8 steps of 0.18 at the very least."""
    world = Gridworld(1, preset=QUIET)
    assert played(Expert(world), world, 1) == (pytest.approx(1 - 9 * 0.01), 0.0)


def test_in_the_open_the_expert_goes_straight() -> None:
    """The goal is 0.35 above the start, two steps if one actuator pointed straight up."""
    world = Gridworld(1, preset=QUIET, obstacles=False)
    assert played(Expert(world), world, 1) == (pytest.approx(1 - 2 * 0.01), 0.0)


def test_the_expert_finds_the_goal_from_everywhere() -> None:
    generator = np.random.default_rng(1)
    places = generator.random((2, 600))
    places = places[:, free(QUIET, places)]
    world = at(Gridworld(places.shape[1], preset=QUIET, actuators=5), *places.T)
    found = np.zeros(world.num_envs, bool)
    for _ in range(15):
        found |= world.advance(world.expert())[2]
    assert found.all()


def test_the_expert_leaves_the_world_alone() -> None:
    world = Gridworld(3, actuators=5)
    before = world.reset(seed=0)[0], world.draws.counters.tolist()
    np.testing.assert_array_equal(world.expert(), world.expert())
    np.testing.assert_array_equal(world._observe(), before[0])
    assert world.draws.counters.tolist() == before[1]


@pytest.mark.parametrize("changes", [{"actuators": 9}, {"obstacles": False}], ids=str)
def test_the_stated_returns_hold_for_the_preset_alone(changes: dict) -> None:
    assert np.isnan(Gridworld(1, **changes).random_return)
    assert np.isnan(Gridworld(1, **changes).best_return)
    same = Gridworld(1, actuators=11, obstacles=True)
    assert (same.random_return, same.best_return) == (-3.27, 0.904)


# --- the picture


def test_the_picture_shows_walls_goal_cell_and_point_with_y_upwards() -> None:
    plain, cells = (four((0.83, 0.60), cells=c).render()[0] for c in (None, 40))

    def colour(picture: np.ndarray, x: float, y: float) -> tuple[int, ...]:
        return tuple(picture[int((1 - y) * SIDE), int(x * SIDE)].tolist())

    assert plain.shape == (400, 400, 3)
    assert colour(plain, 0.83, 0.601) == (200, 50, 50)
    assert colour(plain, 0.25, 0.275) == colour(plain, 0.525, 0.5) == (60, 60, 60)
    assert colour(plain, 0.275, 0.475) == (60, 160, 90)
    assert colour(plain, 0.25, 0.725) == colour(plain, 0.845, 0.62) == (255, 255, 255)
    assert colour(cells, 0.845, 0.62) == (160, 190, 240)
