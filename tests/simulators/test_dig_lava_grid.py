"""The dig-lava grid: what may be done, what lava does, what is paid, the best ways."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from offline_actrep.simulators.dig_lava_grid import (
    COLOURS,
    DIG_ORANGE,
    DIG_PINK,
    EMPTY,
    FEATURE_NAMES,
    GOAL,
    LAYOUT,
    NAMES,
    OFFERS,
    ORANGE,
    PINK,
    PRESETS,
    SUBGOAL,
    WALL,
    DigLavaConfig,
    DigLavaGrid,
)
from offline_actrep.simulators.tiles import TILE

RIGHT, DOWN, LEFT, UP, TURN_LEFT, TURN_RIGHT, AHEAD = range(7)
BOTH = 5
"""The offer that holds both ways to dig; 0 holds none."""


def grid(
    n_worlds: int = 1, offer: int = BOTH, preset: str | DigLavaConfig = "paper"
) -> DigLavaGrid:
    """Grids in which each episode offers the same; forbidden actions can be tried by `play`."""
    world = DigLavaGrid(n_worlds, preset=preset)
    world.reset(seed=0)
    world.offer[:] = offer
    world._allowed = None
    return world


def play(world: DigLavaGrid, *actions: int) -> list[float]:
    """What each action pays in the first world."""
    return [
        round(float(world.advance(np.full(world.num_envs, action))[1][0]), 9) for action in actions
    ]


def ended(world: DigLavaGrid, action: int) -> tuple[bool, bool]:
    _, _, terminated, truncated = world.advance(np.full(world.num_envs, action))
    return bool(terminated[0]), bool(truncated[0])


def place(world: DigLavaGrid) -> tuple[int, int]:
    return int(world.tile[0]) % 11, int(world.tile[0]) // 11


def returns(world: DigLavaGrid, choose: Callable[[], np.ndarray]) -> np.ndarray:
    """Of one episode a world, from where it stands."""
    earned, over = np.zeros(world.num_envs), np.zeros(world.num_envs, bool)
    while not over.all():
        _, rewards, terminated, truncated = world.advance(choose())
        earned += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    return earned


# --- the table of actions and what is offered


def test_the_features_are_those_of_the_table() -> None:
    actions = DigLavaGrid(1).action_set
    assert actions.features is not None
    assert actions.features.shape == (9, 11)
    assert actions.feature_names == FEATURE_NAMES
    rows = dict(zip(actions.names, actions.features.tolist(), strict=True))
    assert rows["move-down"] == [0, 0, 0, 0, 1, -1, 1, 0, 0, 0, 0]
    assert rows["turn-right"] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, -1]
    assert rows["dig-orange"] == [0, 1, *[0] * 9]
    assert rows["dig-pink"] == [1, *[0] * 10]
    assert len(np.unique(actions.features, axis=0)) == 9


def test_an_episode_offers_five_actions_and_two_of_the_other_four() -> None:
    world = DigLavaGrid(6000)
    world.reset(seed=0)
    mask = world.allowed().mask(9)
    assert mask[:, :5].all()
    assert (mask.sum(axis=1) == 7).all()
    pairs = np.bincount(mask[:, 5:] @ (1, 2, 4, 8), minlength=16)
    assert (pairs > 0).sum() == 6
    assert ((pairs[pairs > 0] - 1000) ** 2 / 1000).sum() < 5 + 4 * 10**0.5
    before = world.allowed()
    world.restart(np.arange(6000) < 3000)
    after = world.allowed().mask(9)
    np.testing.assert_array_equal(after[3000:], mask[3000:])
    assert not np.array_equal(after[:3000], mask[:3000])
    np.testing.assert_array_equal(before.mask(9), mask)


def test_the_offers_are_named_rightly() -> None:
    assert OFFERS[BOTH].tolist() == [0, 1, 2, 3, 4, DIG_ORANGE, DIG_PINK]
    assert OFFERS[0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert NAMES[DIG_PINK] == "dig-pink"


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown dig-lava grid preset 'dry'; there are paper, ag"):
        DigLavaGrid(1, preset="dry")


# --- the layout


def test_the_layout() -> None:
    tiles = LAYOUT.reshape(11, 11)
    assert (tiles[0] == WALL).all()
    assert (tiles == WALL).sum() == 40
    assert tiles[:, 3].tolist() == [WALL, EMPTY, *[ORANGE] * 8, WALL]
    assert tiles[:, 7].tolist() == [WALL, *[PINK] * 8, EMPTY, WALL]
    assert (tiles[1:10, [4, 8]] == SUBGOAL).all()
    assert tiles[5, 9] == GOAL
    assert (tiles == EMPTY).sum() == 81 - 16 - 18 - 1


def test_the_observation_is_the_inside_and_the_place_of_the_agent() -> None:
    world = grid()
    seen = world._observe()[0].reshape(2, 9, 9)
    np.testing.assert_array_equal(seen[0], LAYOUT.reshape(11, 11)[1:10, 1:10])
    assert np.argwhere(seen[1]).tolist() == [[4, 0]]
    assert world.observation_names[:2] == ("tile_1_1", "tile_2_1")
    assert world.observation_names[81 + 9 * 4] == "agent_1_5"


# --- walking, turning, digging


def test_moves_go_their_way_whatever_the_heading() -> None:
    world = grid()
    for action, expected in ((UP, (1, 4)), (RIGHT, (2, 4)), (DOWN, (2, 5)), (LEFT, (1, 5))):
        play(world, action)
        assert place(world) == expected


def test_steps_ahead_go_by_the_heading() -> None:
    world = grid()
    play(world, AHEAD)
    assert place(world) == (2, 5)
    play(world, TURN_RIGHT, AHEAD)
    assert place(world) == (2, 6)
    play(world, TURN_LEFT, TURN_LEFT, AHEAD, AHEAD)
    assert place(world) == (2, 4)
    play(world, LEFT, AHEAD)
    assert place(world) == (1, 4)
    play(world, TURN_RIGHT, TURN_RIGHT, TURN_RIGHT, TURN_RIGHT, TURN_LEFT, AHEAD)
    assert place(world) == (1, 5)


def test_the_wall_stops_a_move_which_still_turns() -> None:
    world = grid()
    play(world, UP, UP, UP, UP, UP)
    assert place(world) == (1, 1)
    play(world, RIGHT, UP, TURN_RIGHT, TURN_RIGHT, AHEAD)
    assert place(world) == (2, 2)


@pytest.mark.parametrize("wrong", [RIGHT, LEFT, TURN_LEFT, TURN_RIGHT, AHEAD, DIG_PINK])
def test_a_step_wasted_in_lava_kills(wrong: int) -> None:
    world = grid()
    play(world, RIGHT)
    assert ended(world, RIGHT) == (False, False)
    assert place(world) == (3, 5)
    assert ended(world, wrong) == (True, False)
    assert place(world) == (3, 5)


def test_lava_that_is_dug_away_is_gone() -> None:
    world = grid()
    play(world, RIGHT, RIGHT)
    assert ended(world, DIG_ORANGE) == (False, False)
    assert world._observe()[0].reshape(2, 9, 9)[0, 4, 2] == EMPTY
    assert (world.grid == ORANGE).sum() == 7
    play(world, LEFT, RIGHT)
    assert ended(world, TURN_LEFT) == (False, False)
    world.reset(seed=0)
    assert (world.grid == ORANGE).sum() == 8


def test_pink_lava_takes_the_other_skill() -> None:
    for action, dies in ((DIG_PINK, False), (DIG_ORANGE, True)):
        world = grid()
        play(world, RIGHT, RIGHT, DIG_ORANGE, RIGHT, RIGHT, RIGHT, RIGHT)
        assert place(world) == (7, 5)
        assert ended(world, action) == (dies, False)


def test_digging_elsewhere_does_nothing() -> None:
    world = grid()
    before = world.grid.copy()
    assert play(world, DIG_ORANGE, DIG_PINK) == [0.0, 0.0]
    np.testing.assert_array_equal(world.grid, before)
    assert place(world) == (1, 5)


def test_a_move_in_lava_turns_and_does_not_lead_away() -> None:
    world = grid(preset="agile")
    play(world, RIGHT, RIGHT, UP)
    assert place(world) == (3, 5)
    play(world, DIG_ORANGE, AHEAD)
    assert place(world) == (3, 4)


def test_the_authors_program_forgives_one_wasted_step() -> None:
    world = grid(preset="agile")
    play(world, RIGHT, RIGHT)
    assert ended(world, TURN_LEFT) == (False, False)
    assert ended(world, DIG_ORANGE) == (False, False)
    assert ended(world, UP) == (False, False)
    assert place(world) == (3, 4)
    assert ended(world, UP) == (False, False)
    assert ended(world, UP) == (True, False)


# --- payments and ends


def test_the_payments_of_the_shortest_way() -> None:
    way = (RIGHT, RIGHT, DIG_ORANGE, RIGHT, RIGHT, RIGHT, RIGHT, DIG_PINK, RIGHT, RIGHT)
    first = 0.5 * (1 - 0.9 * 4 / 50) - 0.01 * 4 + 0.01
    second = 0.5 * (1 - 0.9 * 9 / 50) - 0.01 * 5 + 0.01
    goal = 100 * (1 - 0.99 * 10 / 50) - 0.01 + 0.01
    expected = [0.01, 0.01, 0.01, first, 0.01, 0.01, 0.01, 0.01, second, goal]
    assert play(grid(), *way) == pytest.approx(expected)
    world = grid(preset="agile")
    expected[3] = 0.5 * (1 - 0.9 * 4 / 50) - 0.01 * 2 + 0.01
    expected[8] = 0.5 * (1 - 0.9 * 9 / 50) - 0.01 * 4 + 0.01
    expected[9] = 80.2 - 0.01 + 0.01
    assert play(world, *way) == pytest.approx(expected)
    assert world.info()["success"][0]


def test_the_goal_ends_the_episode() -> None:
    world = grid()
    play(world, RIGHT, RIGHT, DIG_ORANGE, RIGHT, RIGHT, RIGHT, RIGHT, DIG_PINK, RIGHT)
    assert not world.info()["success"][0]
    assert ended(world, RIGHT) == (True, False)


def test_a_tile_pays_once_and_the_start_never() -> None:
    assert play(grid(), UP, DOWN, UP, UP, LEFT) == [0.01, 0.0, 0.0, 0.01, 0.0]


def test_wasted_steps_are_taken_off_in_the_text_and_not_in_the_program() -> None:
    idle = (LEFT, LEFT, LEFT)
    way = (RIGHT, RIGHT, DIG_ORANGE, RIGHT)
    paid = 0.5 * (1 - 0.9 * 7 / 50)
    assert play(grid(), *idle, *way)[-1] == pytest.approx(paid - 0.07 + 0.01)
    assert play(grid(preset="agile"), *idle, *way)[-1] == pytest.approx(paid - 0.02 + 0.01)


def test_a_subgoal_pays_once_and_only_its_own_column() -> None:
    world = grid()
    play(world, RIGHT, RIGHT, DIG_ORANGE)
    assert play(world, RIGHT)[0] > 0.4
    seen = world._observe()[0].reshape(2, 9, 9)[0]
    assert (seen[:, 3] == EMPTY).all()
    assert (seen[:, 7] == SUBGOAL).all()
    assert play(world, LEFT, RIGHT, UP) == [0.0, 0.0, 0.01]
    play(world, RIGHT, RIGHT, RIGHT, DIG_PINK, RIGHT)
    assert not (world._observe()[0, :81] == SUBGOAL).any()


def test_subgoals_stay_to_be_seen_in_the_program() -> None:
    world = grid(preset="agile")
    play(world, RIGHT, RIGHT, DIG_ORANGE, RIGHT)
    assert (world._observe()[0, :81] == SUBGOAL).sum() == 18
    assert play(world, LEFT, RIGHT) == [0.0, 0.0]


def test_the_fiftieth_decision_is_the_last() -> None:
    world = grid()
    assert [ended(world, LEFT) for _ in range(50)] == [(False, False)] * 49 + [(False, True)]
    world = grid()
    play(world, *[LEFT] * 47, RIGHT, RIGHT)
    assert ended(world, LEFT) == (True, False)


# --- the truth about actions


def test_a_step_is_what_effects_say() -> None:
    world = DigLavaGrid(2000, preset=replace(PRESETS["paper"], patience=50))
    generator = np.random.default_rng(0)
    observations, _ = world.reset(seed=0)
    dug = 0
    for _ in range(30):
        actions = generator.integers(9, size=2000)
        effects = world.effects(observations, actions)
        tile, heading, lava = world.tile.copy(), world.heading.copy(), (world.grid == ORANGE).sum()
        observations = world.advance(actions)[0]
        shift = np.stack([world.tile % 11 - tile % 11, world.tile // 11 - tile // 11], axis=1)
        moves = actions < 4
        np.testing.assert_array_equal(shift[moves], effects[moves, :2])
        still = ~moves & (effects[:, 5] == 0)
        assert not shift[still].any()
        turns = effects[:, 4].astype(int)
        turned = np.where(moves, actions, (heading + turns) % 4)
        np.testing.assert_array_equal(world.heading, turned)
        orange = (actions == DIG_ORANGE) & (effects[:, 6] == 1)
        assert lava - (world.grid == ORANGE).sum() == orange.sum()
        dug += orange.sum()
    assert dug > 100


def test_effects_by_hand() -> None:
    world = grid()
    free = np.repeat(world._observe(), 9, axis=0)
    assert world.effects(free, np.arange(9)).tolist() == [
        [1, 0, 1, 0, 0, 0, 0],
        [0, 1, 0, 1, 0, 0, 0],
        [0, 0, -1, 0, 0, 0, 0],
        [0, -1, 0, -1, 0, 0, 0],
        [0, 0, 0, 0, -1, 0, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    play(world, RIGHT, RIGHT)
    lava = np.repeat(world._observe(), 9, axis=0)
    effects = world.effects(lava, np.arange(9))
    assert not effects[:, :2].any()
    assert not effects[:, 5].any()
    assert effects[:, 6].tolist() == [0] * 7 + [1, 0]


# --- the expert


def test_the_shortest_ways_take_24_17_and_10_steps() -> None:
    world = grid(6, 0)
    world.offer = np.arange(6)
    world._allowed = None
    earned = returns(world, world.expert)
    digs = (OFFERS == DIG_ORANGE).any(axis=1).astype(int) + (OFFERS == DIG_PINK).any(axis=1)
    assert digs.tolist() == [0, 1, 1, 1, 1, 2]
    np.testing.assert_allclose(earned, [53.246, 67.196, 67.169, 67.196, 67.169, 81.083])
    lengths = np.array([24, 17, 17, 17, 17, 10])
    goal = 100 * (1 - 0.99 * lengths / 50)
    np.testing.assert_allclose(goal[[0, 1, 5]], [52.48, 66.34, 80.20])
    assert goal.mean() == pytest.approx(66.34)
    assert (earned - goal < 1).all()
    assert earned.mean() == pytest.approx(world.best_return, abs=0.005)


def test_the_expert_does_what_is_allowed_from_anywhere() -> None:
    world = DigLavaGrid(500)
    generator = np.random.default_rng(0)
    world.reset(seed=0)
    for _ in range(60):
        assert world.allowed().holds(world.expert()).all()
        rows = world.allowed().indices.reshape(500, 7)
        world.step(rows[np.arange(500), generator.integers(7, size=500)])


def test_the_expert_goes_on_from_where_chance_has_led() -> None:
    world = DigLavaGrid(500)
    generator = np.random.default_rng(0)
    world.reset(seed=0)
    for _ in range(3):
        world.step(np.full(500, UP))
        world.step(generator.integers(4, size=500))
    alive = ~world._ended & (world.tile % 11 < 3)
    assert alive.sum() > 100
    success = np.zeros(500, bool)
    for _ in range(44):
        world.advance(world.expert())
        success |= world.info()["success"]
    assert success[alive].all()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_returns_are_the_measured_ones(preset: str) -> None:
    world = DigLavaGrid(3000, preset=preset)
    world.reset(seed=3)
    generator = np.random.default_rng(0)
    rows = world.allowed().indices.reshape(3000, 7)
    chance = returns(world, lambda: rows[np.arange(3000), generator.integers(7, size=3000)])
    margin = 4 * chance.std() / 3000**0.5
    assert chance.mean() == pytest.approx(world.random_return, abs=margin + 5e-4)
    world.reset(seed=4)
    best = returns(world, world.expert)
    assert best.mean() == pytest.approx(world.best_return, abs=4 * best.std() / 3000**0.5)


# --- the picture


def test_the_picture_shows_lava_goal_and_what_can_be_dug() -> None:
    world = grid(2)
    world.offer[1] = 0

    def colour(row: int, x: int, y: int) -> tuple[int, ...]:
        return tuple(world.render()[row][y * TILE + 15, x * TILE + 15].tolist())

    orange, pink, wall = (tuple(COLOURS[kind].tolist()) for kind in (ORANGE, PINK, WALL))
    assert (colour(0, 3, 5), colour(0, 7, 5), colour(0, 0, 0)) == (orange, pink, wall)
    assert (colour(0, 4, 0), colour(0, 6, 0)) == (orange, pink)
    assert (colour(1, 4, 0), colour(1, 6, 0)) == (wall, wall)
    assert colour(0, 1, 5) == (200, 40, 40)
