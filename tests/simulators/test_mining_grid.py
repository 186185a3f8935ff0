"""The mining grid: its pick-axes, its fields, its payments, its best ways."""

from itertools import combinations

import numpy as np
import pytest

from offline_actrep.simulators.mining_grid import (
    EMPTY,
    GOAL,
    GOAL_TILE,
    PRESETS,
    START_TILE,
    WALL,
    MiningConfig,
    MiningGrid,
    make_tools,
)
from offline_actrep.simulators.tiles import TILE

RIGHT, DOWN, LEFT, UP = range(4)
LOWER, UPPER = 2, 9
"""A lower and an upper type of the `paper` preset."""


def clear_grid(n_worlds: int = 1, **mines: int) -> MiningGrid:
    """Fields without mines but those named `t<tile>`."""
    world = MiningGrid(n_worlds)
    world.reset(seed=0)
    world.grid[world.grid >= 0] = EMPTY
    for tile, kind in mines.items():
        world.grid[:, int(tile[1:])] = kind
    return world


def play(world: MiningGrid, *actions: int) -> list[float]:
    """What each action pays in the first world."""
    return [
        round(float(world.advance(np.full(world.num_envs, action))[1][0]), 9) for action in actions
    ]


def axe(fits: int) -> int:
    """The own pick-axe of a type."""
    return 4 + fits


def returns(world: MiningGrid, policy: str, seed: int) -> np.ndarray:
    """Of one episode a world."""
    world.reset(seed=seed)
    generator = np.random.default_rng(seed)
    earned, over = np.zeros(world.num_envs), np.zeros(world.num_envs, bool)
    while not over.all():
        drawn = generator.integers(len(world.action_set), size=world.num_envs)
        actions = world.expert() if policy == "expert" else drawn
        _, rewards, terminated, truncated = world.advance(actions)
        earned += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    return earned


# --- the pick-axes


@pytest.mark.parametrize(("mine_types", "tools"), [(15, 50), (20, 100), (64, 1020), (2, 2), (3, 4)])
def test_pick_axes_lead_from_the_lower_to_the_upper_types_or_break_those(
    mine_types: int, tools: int
) -> None:
    made = make_tools(mine_types, tools, seed=0)
    lower = mine_types // 2
    pairs = np.stack(made, axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs) == tools
    assert made.fits[:mine_types].tolist() == list(range(mine_types))
    upper = made.fits >= lower
    assert (made.leaves[upper] == mine_types).all()
    assert upper.sum() == mine_types - lower
    assert ((made.leaves[~upper] >= lower) & (made.leaves[~upper] < mine_types)).all()


def test_the_catalogue_has_a_seed_of_its_own() -> None:
    one, same, other = MiningGrid(1, seed=1), MiningGrid(1, seed=2), MiningGrid(1, catalogue_seed=1)
    assert one.action_set.names == same.action_set.names
    assert one.action_set.names != other.action_set.names


@pytest.mark.parametrize(("mine_types", "tools"), [(15, 14), (15, 65), (1, 1)])
def test_pick_axes_that_cannot_be_made_are_refused(mine_types: int, tools: int) -> None:
    with pytest.raises(ValueError, match=rf"{mine_types} types of mines .* got {tools}"):
        MiningGrid(1, preset=MiningConfig(mine_types=mine_types, tools=tools))


def test_as_many_pick_axes_as_there_are_pairs() -> None:
    assert len(make_tools(15, 64, seed=0).fits) == 7 * 8 + 8


def test_features_lie_in_the_unit_cube() -> None:
    actions = MiningGrid(1).action_set
    assert actions.features is not None
    np.testing.assert_allclose(actions.features[:4], [[1, k / 3, 0, 0] for k in range(4)])
    np.testing.assert_allclose(actions.features[4 + UPPER], [0, 0, UPPER / 15, 1])
    assert actions.names[:4] == ("right", "down", "left", "up")
    assert actions.names[4 + UPPER] == "axe_9_breaks"
    assert (actions.features >= 0).all()
    assert (actions.features <= 1).all()
    assert len(np.unique(actions.features, axis=0)) == 54


def test_the_presets_have_54_104_and_1024_actions() -> None:
    assert [len(MiningGrid(1, preset=preset).action_set) for preset in PRESETS] == [54, 104, 1024]


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mining grid preset 'coal'; there are paper, hun"):
        MiningGrid(1, preset="coal")


@pytest.mark.parametrize("density", [0.0, 1.1])
def test_a_density_that_is_none_is_refused(density: float) -> None:
    with pytest.raises(ValueError, match=rf"density of mines lies in \(0, 1\], got {density}"):
        MiningGrid(1, preset=MiningConfig(density=density))


# --- the field


def test_a_tile_bears_a_mine_of_any_type_with_probability_07() -> None:
    world = MiningGrid(2000)
    world.reset(seed=0)
    fields = world.grid.reshape(-1, 10, 10)
    assert (fields[:, [0, 9]] == WALL).all()
    assert (fields[:, :, [0, 9]] == WALL).all()
    assert (world.grid[:, START_TILE] == EMPTY).all()
    assert (world.grid[:, GOAL_TILE] == GOAL).all()
    inner = fields[:, 1:9, 1:9].reshape(-1, 64)[:, 1:63]
    n = inner.size
    assert (inner >= 0).mean() == pytest.approx(0.7, abs=4 * (0.21 / n) ** 0.5)
    counts = np.bincount(inner[inner >= 0], minlength=15)
    expected = 0.7 * n / 15
    assert len(counts) == 15
    assert ((counts - expected) ** 2 / expected).sum() < 14 + 4 * (2 * 14) ** 0.5
    assert inner.std(axis=0).min() > 0


def test_every_episode_has_a_new_field() -> None:
    world = MiningGrid(3)
    world.reset(seed=0)
    before = world.grid.copy()
    world.restart(np.array([True, False, False]))
    assert (world.grid[0] != before[0]).any()
    np.testing.assert_array_equal(world.grid[1:], before[1:])


def test_a_field_may_be_full_or_nearly_bare() -> None:
    full = MiningGrid(20, preset=MiningConfig(density=1.0))
    assert ((full.grid >= 0).sum(axis=1) == 62).all()
    assert full.grid.max() == 14
    bare = MiningGrid(20, preset=MiningConfig(density=1e-9))
    assert (bare.grid < 0).all()


def test_the_observation_by_hand() -> None:
    world = clear_grid(t12=LOWER, t21=EMPTY)
    expected = np.zeros(8 + 15)
    expected[3:7] = [0, 1, 0, 0]
    expected[7 + LOWER] = 1
    np.testing.assert_array_equal(world._observe()[0], expected)
    play(world, DOWN)
    expected = np.zeros(8 + 15)
    expected[:3] = [0, 1 / 7, 1 / 3]
    expected[3:7] = [1, 1, 0, 1]
    np.testing.assert_allclose(world._observe()[0], expected, atol=1e-7)
    names = world.observation_names
    assert (names[2], names[4], names[7], names[-1]) == (
        "heading",
        "free_down",
        "front_0",
        "front_goal",
    )


def test_the_goal_in_front_is_seen() -> None:
    world = clear_grid()
    world.tile[:] = GOAL_TILE - 1
    seen = world._observe()[0]
    assert (seen[-1], seen[3], seen[7:-1].sum()) == (1, 1, 0)
    play(world, DOWN)
    assert world._observe()[0, -1] == 0


# --- moves and pick-axes


def test_a_move_pays_by_the_distance_to_the_goal() -> None:
    assert play(clear_grid(), RIGHT, DOWN, LEFT, UP) == [0.1, 0.1, -0.1, -0.1]


def test_what_is_blocked_only_turns() -> None:
    world = clear_grid(t21=UPPER)
    assert play(world, UP, LEFT, DOWN) == [0.0, 0.0, 0.0]
    assert (world.tile[0], world.heading[0]) == (START_TILE, DOWN)


def test_a_pick_axe_breaks_an_upper_mine_in_front() -> None:
    world = clear_grid(t12=UPPER)
    assert play(world, axe(UPPER)) == [0.2]
    assert world.grid[0, 12] == EMPTY
    assert play(world, axe(UPPER), RIGHT) == [0.0, 0.1]


def test_a_pick_axe_turns_a_lower_mine_into_another() -> None:
    world = clear_grid(t12=LOWER)
    assert play(world, axe(LOWER)) == [0.1]
    left = world.tools.leaves[LOWER]
    assert world.grid[0, 12] == left >= 7
    assert play(world, axe(LOWER), axe(int(left)), RIGHT) == [0.0, 0.2, 0.1]


def test_a_further_pick_axe_fits_its_own_type_too() -> None:
    world = clear_grid(t12=0)
    other = int(np.flatnonzero(world.tools.fits[15:] == 0)[0]) + 15
    assert world.tools.leaves[other] != world.tools.leaves[0]
    assert play(world, 4 + other) == [0.1]
    assert world.grid[0, 12] == world.tools.leaves[other]


def test_a_pick_axe_that_does_not_fit_does_nothing() -> None:
    world = clear_grid(t12=UPPER, t21=LOWER)
    before = world.grid.copy()
    assert play(world, axe(LOWER), axe(UPPER + 1)) == [0.0, 0.0]
    np.testing.assert_array_equal(world.grid, before)
    assert play(clear_grid(), axe(0)) == [0.0]


def test_the_goal_pays_less_for_every_step() -> None:
    world = clear_grid(t88=EMPTY)
    paid = play(world, *[RIGHT] * 7, *[DOWN] * 6)
    assert paid == [0.1] * 13
    _, rewards, terminated, truncated = world.advance(np.array([DOWN]))
    assert rewards[0] == pytest.approx(10 * (1 - 0.9 * 14 / 100) + 0.1)
    assert (terminated[0], truncated[0]) == (True, False)
    assert world.info()["success"][0]


def test_the_hundredth_decision_is_the_last() -> None:
    world = clear_grid()
    ends = [world.advance(np.array([LEFT]))[2:] for _ in range(100)]
    assert [bool(truncated[0]) for _, truncated in ends] == [False] * 99 + [True]
    assert not any(terminated[0] for terminated, _ in ends)
    world = clear_grid()
    play(world, *[LEFT] * 86, *[RIGHT] * 7, *[DOWN] * 6)
    _, _, terminated, truncated = world.advance(np.array([DOWN]))
    assert (terminated[0], truncated[0]) == (True, False)


# --- the truth about actions


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_is_what_effects_say(preset: str) -> None:
    world = MiningGrid(3000, preset=preset)
    generator = np.random.default_rng(0)
    observations, _ = world.reset(seed=0)
    kinds, fitting = world.settings.mine_types, 0
    for _ in range(20):
        front = world.grid[np.arange(3000), world.tile + world_offsets()[world.heading]]
        suiting = np.where(front >= 0, 4 + front, 0)
        drawn = generator.integers(len(world.action_set), size=3000)
        actions = np.where(generator.random(3000) < 0.3, suiting, drawn).astype(np.int64)
        effects = world.effects(observations, actions)
        tile, going = world.tile.copy(), ~world._ended
        ahead = tile + world_offsets()[world.heading]
        observations = world.step(actions)[0]
        shift = np.stack([world.tile % 10 - tile % 10, world.tile // 10 - tile // 10], axis=1)
        np.testing.assert_array_equal(shift[going], effects[going, :2])
        headings = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])[world.heading]
        np.testing.assert_array_equal(headings[going], effects[going, 2:4])
        left = world.grid[np.arange(3000), ahead].astype(int)
        outcome = np.where(left == EMPTY, kinds + 1, left + 1)
        fits = going & (effects[:, 4] > 0)
        np.testing.assert_array_equal(outcome[fits], effects[fits, 4])
        unchanged = going & (actions >= 4) & ~fits
        np.testing.assert_array_equal(left[unchanged], front[unchanged])
        fitting += fits.sum()
    assert fitting > 500


def world_offsets() -> np.ndarray:
    return np.array([1, 10, -1, -10])


def test_pick_axes_that_do_not_fit_are_all_alike() -> None:
    world = clear_grid(t12=LOWER)
    every = np.arange(54)
    effects = world.effects(np.repeat(world._observe(), 54, axis=0), every)
    fitting = np.flatnonzero(world.tools.fits == LOWER) + 4
    assert len(fitting) > 1
    assert len(np.unique(effects[fitting], axis=0)) == len(fitting)
    others = np.setdiff1d(every[4:], fitting)
    assert len(np.unique(effects[others], axis=0)) == 1
    assert effects[RIGHT].tolist() == effects[others[0]].tolist()


# --- the expert


def clear_all_along(world: MiningGrid, ways: np.ndarray) -> np.ndarray:
    """Returns of agents that clear all around them and then follow their way of right and down."""
    n, earned, done = len(ways), np.zeros(len(ways)), np.zeros(len(ways), bool)
    leg = np.zeros(n, np.int64)
    every = np.arange(n)
    while not done.all():
        found = world.grid[every[:, None], world.tile[:, None] + world_offsets()]
        mine = found >= 0
        aligned = mine[every, world.heading]
        toward = np.where(aligned, world.heading, mine.argmax(axis=1))
        kind = found[every, toward].astype(np.int64)
        onwards = ways[every, np.minimum(leg, 13)]
        walks = ~mine.any(axis=1)
        actions = np.where(walks, onwards, np.where(toward == world.heading, 4 + kind, toward))
        _, rewards, terminated, truncated = world.advance(actions)
        assert not truncated[~done & ~terminated].any()
        earned += np.where(done, 0.0, rewards)
        leg += walks
        done |= terminated
    return earned


@pytest.mark.parametrize("seed", range(3))
def test_no_way_of_right_and_down_earns_more_than_the_experts(seed: int) -> None:
    downs = np.array(list(combinations(range(14), 7)))
    ways = np.zeros((len(downs), 14), np.int64)
    np.put_along_axis(ways, downs, DOWN, axis=1)
    one, many = MiningGrid(1), MiningGrid(len(ways))
    one.reset(seed=seed)
    many.reset(seed=seed)
    many.grid[:] = one.grid
    earned = clear_all_along(many, ways)
    assert len(ways) == 3432
    assert returns(one, "expert", seed)[0] == pytest.approx(earned.max())
    assert earned.max() > earned.mean() + 0.2


def test_the_expert_breaks_off_where_time_is_short() -> None:
    world = MiningGrid(500)
    world.reset(seed=0)
    world.clock[:] = 100 - 4 * 14
    success = np.zeros(500, bool)
    for _ in range(56):
        world.advance(world.expert())
        success |= world.info()["success"]
    assert success.all()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_returns_are_the_measured_ones(preset: str) -> None:
    world = MiningGrid(2000, preset=preset)
    chance = returns(world, "chance", seed=1)
    margin = 4 * chance.std() / 2000**0.5
    assert chance.mean() == pytest.approx(world.random_return, abs=margin + 5e-3)
    best = returns(world, "expert", seed=2)
    assert best.mean() == pytest.approx(world.best_return, abs=4 * best.std() / 2000**0.5 + 5e-3)


# --- the picture


def test_the_picture_shows_the_mines_in_colours_of_their_types() -> None:
    world = clear_grid(t13=LOWER, t14=LOWER, t15=UPPER)
    picture = world.render()[0]

    def corner(x: int, y: int) -> tuple[int, ...]:
        return tuple(picture[y * TILE + 4, x * TILE + 4].tolist())

    assert corner(3, 1) == corner(4, 1) != corner(5, 1)
    assert corner(8, 8) == (70, 170, 90)
    assert corner(0, 0) == (110, 110, 110)
    assert tuple(picture[TILE + 15, TILE + 15].tolist()) == (200, 40, 40)
