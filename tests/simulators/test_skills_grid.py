"""The grid of skills: its layouts, its skills, its payments, its best ways."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from offline_actrep.core.actions import AllowedActions
from offline_actrep.simulators.skills_grid import (
    AGENT,
    COLOURS,
    EMPTY,
    GOAL,
    LAVA,
    N_SKILLS,
    PRESETS,
    SUBGOAL,
    WALL,
    SkillsConfig,
    SkillsGrid,
    all_layouts,
    demonstrations,
    outcomes,
    skill_moves,
    split_skills,
    subsets,
)
from offline_actrep.simulators.tiles import TILE

LEVEL_3_AT_1 = 0
"""The river on row 3, its opening in column 1: right under the start."""
UPRIGHT_5_AT_7 = 41
"""The river on column 5, its opening in row 7."""


def skill(letters: str) -> int:
    """The index of RDLU letters, first letter most significant."""
    return int("".join(str("RDLU".index(letter)) for letter in letters), 4)


def free_choice(layout: int, n_worlds: int = 1, **changes: int) -> SkillsGrid:
    """Grids of one layout in which all skills may be chosen."""
    world = SkillsGrid(n_worlds, preset=replace(PRESETS["all"], **changes))
    world.reset(seed=0)
    world.layout[:] = layout
    return world


def carry_out(world: SkillsGrid, *skills: str) -> list[tuple[float, bool, bool]]:
    """Reward, terminated, truncated after each skill, in the first world."""
    rows = []
    for letters in skills:
        _, rewards, terminated, truncated, _ = world.step(np.full(world.num_envs, skill(letters)))
        rows.append((round(float(rewards[0]), 9), bool(terminated[0]), bool(truncated[0])))
    return rows


def place(world: SkillsGrid) -> tuple[int, int]:
    return int(world.tile[0]) % 9, int(world.tile[0]) // 9


def allowed_of(world: SkillsGrid) -> AllowedActions:
    allowed = world.allowed()
    assert allowed is not None
    return allowed


def uniform(world: SkillsGrid, generator: np.random.Generator) -> np.ndarray:
    return world.offered[
        np.arange(world.num_envs), generator.integers(world.offered.shape[1], size=world.num_envs)
    ]


def returns(world: SkillsGrid, choose: Callable[[], np.ndarray], seed: int = 1) -> np.ndarray:
    """Of one episode a world."""
    world.reset(seed=seed)
    earned, over = np.zeros(world.num_envs), np.zeros(world.num_envs, bool)
    while not over.all():
        _, rewards, terminated, truncated = world.advance(choose())
        earned += np.where(over, 0.0, rewards)
        over |= terminated | truncated
    return earned


# --- skills and their splits


def test_a_skill_is_five_base_4_digits_the_first_move_most_significant() -> None:
    actions = SkillsGrid(1).action_set
    assert len(actions) == N_SKILLS == 1024
    assert [actions.names[k] for k in (0, 1, 4**4, 1023)] == ["RRRRR", "RRRRD", "DRRRR", "UUUUU"]
    assert all(skill(name) == k for k, name in enumerate(actions.names))


def test_features_are_the_net_shift_and_the_moves() -> None:
    actions = SkillsGrid(1).action_set
    assert actions.features is not None
    assert actions.features[skill("RRDUU")].tolist() == [2, -1, 1, 0, 1, 0, 0, 1, 0, -1, 0, -1]
    assert actions.feature_names[:4] == ("net_x", "net_y", "x0", "y0")
    assert actions.features[skill("LLLLL")].tolist() == [-5, 0, *[-1, 0] * 5]


def test_half_of_the_skills_train_a_quarter_validate_a_quarter_test() -> None:
    splits = split_skills(0)
    sizes = {name: len(skills) for name, skills in splits.items()}
    assert sizes == {"all": 1024, "train": 512, "validation": 256, "test": 256}
    parts = np.concatenate([splits[name] for name in ("train", "validation", "test")])
    np.testing.assert_array_equal(np.sort(parts), np.arange(1024))
    assert not np.array_equal(splits["test"], split_skills(1)["test"])
    np.testing.assert_array_equal(
        SkillsGrid(1, preset="test", split_seed=3).pool, split_skills(3)["test"]
    )


def test_an_episode_offers_50_skills_of_its_split() -> None:
    world = SkillsGrid(300, preset="validation")
    world.reset(seed=0)
    allowed = allowed_of(world)
    rows = allowed.indices.reshape(300, 50)
    assert (np.diff(rows, axis=1) > 0).all()
    assert np.isin(rows, world.pool).all()
    counts = np.bincount(np.searchsorted(world.pool, rows.ravel()), minlength=256)
    expected, sd = 300 * 50 / 256, (300 * 50 / 256 * (1 - 50 / 256)) ** 0.5
    assert (np.abs(counts - expected) < 5 * sd).all()
    assert counts.std() == pytest.approx(sd, rel=0.2)


def test_what_is_offered_changes_with_the_episode_alone() -> None:
    world = SkillsGrid(4)
    world.reset(seed=0)
    before = allowed_of(world)
    held = before.indices.copy()
    world.step(uniform(world, np.random.default_rng(0)))
    assert world.allowed() is before
    world.restart(np.array([False, True, False, False]))
    after = allowed_of(world)
    np.testing.assert_array_equal(before.indices, held)
    for row, same in enumerate((True, False, True, True)):
        assert np.array_equal(before.row(row), after.row(row)) == same


def test_all_skills_of_a_split_can_be_offered() -> None:
    assert SkillsGrid(2, preset="all").allowed() is None
    world = SkillsGrid(2, preset=SkillsConfig(split="test", available=256))
    rows = allowed_of(world)
    world.reset(seed=1)
    assert world.allowed() is rows
    np.testing.assert_array_equal(rows.row(1), world.pool)
    assert (world.expert() >= 0).all()


@pytest.mark.parametrize("available", [0, 257])
def test_more_skills_than_there_are_cannot_be_offered(available: int) -> None:
    config = SkillsConfig(split="test", available=available)
    with pytest.raises(ValueError, match=f"1 to 256 skills of the split 'test', got.*{available}"):
        SkillsGrid(1, preset=config)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown skills grid preset 'easy'; there are paper, val"):
        SkillsGrid(1, preset="easy")


def test_all_subsets_are_equally_likely() -> None:
    n = 60_000
    drawn = subsets(np.random.default_rng(0).random((2, n)), 5)
    assert (drawn[:, 0] < drawn[:, 1]).all()
    shares = [(drawn == pair).all(axis=1).mean() for pair in combinations(range(5), 2)]
    assert sum(shares) == pytest.approx(1.0)
    np.testing.assert_allclose(shares, 0.1, atol=4 * (0.1 * 0.9 / n) ** 0.5)
    whole = subsets(np.random.default_rng(0).random((5, 3)), 5)
    np.testing.assert_array_equal(whole, np.tile(np.arange(5), (3, 1)))


# --- layouts


def test_the_42_layouts() -> None:
    layouts, openings = all_layouts()
    assert len(np.unique(layouts, axis=0)) == 42
    for layout, opening in zip(layouts, openings, strict=True):
        grid = layout.reshape(9, 9)
        assert (grid[0] == WALL).all()
        assert (grid[:, 8] == WALL).all()
        assert (grid == WALL).sum() == 32
        assert (grid[1, 1], grid[7, 7]) == (EMPTY, GOAL)
        assert ((grid == LAVA).sum(), (grid == SUBGOAL).sum()) == (6, 1)
        y, x = np.nonzero((grid == LAVA) | (grid == SUBGOAL))
        assert len(set(x)) == 1 or len(set(y)) == 1
        line = x[0] if len(set(x)) == 1 else y[0]
        assert line in (3, 4, 5)
        assert layout[opening] == SUBGOAL


def test_all_layouts_are_equally_likely_and_new_in_every_episode() -> None:
    world = SkillsGrid(8400)
    world.reset(seed=0)
    counts = np.bincount(world.layout, minlength=42)
    assert ((counts - 200) ** 2 / 200).sum() < 41 + 4 * (2 * 41) ** 0.5
    before = world.layout.copy()
    world.reset()
    assert (world.layout == before).mean() < 0.05


def test_the_observation_is_what_is_on_each_tile() -> None:
    world = free_choice(UPRIGHT_5_AT_7)
    expected = np.full((9, 9), float(WALL))
    expected[1:8, 1:8] = EMPTY
    expected[1:7, 5] = LAVA
    expected[7, 5] = SUBGOAL
    expected[7, 7] = GOAL
    expected[1, 1] = AGENT
    np.testing.assert_array_equal(world._observe()[0].reshape(9, 9), expected)
    assert world.observation_names[9 * 2 + 1] == "tile_1_2"


# --- carrying out a skill


def test_moves_are_made_one_after_the_other() -> None:
    world = free_choice(UPRIGHT_5_AT_7)
    assert carry_out(world, "RRDDL") == [(0.0, False, False)]
    assert place(world) == (2, 3)


def test_the_wall_stops_a_move_and_not_the_skill() -> None:
    world = free_choice(UPRIGHT_5_AT_7)
    assert carry_out(world, "LUURD") == [(0.0, False, False)]
    assert place(world) == (2, 2)


def test_lava_ends_the_episode_and_pays_nothing() -> None:
    world = free_choice(LEVEL_3_AT_1)
    assert carry_out(world, "RDDDD") == [(0.0, True, False)]
    assert place(world) == (2, 3)
    assert not world.info()["success"][0]


def test_the_opening_pays_once_and_is_seen_to_be_paid() -> None:
    world = free_choice(LEVEL_3_AT_1)
    assert carry_out(world, "DDLUU") == [(0.1, False, False)]
    assert world._observe()[0].reshape(9, 9)[3, 1] == EMPTY
    assert carry_out(world, "DDDUU") == [(0.0, False, False)]
    world.reset(seed=0)
    world.layout[:] = LEVEL_3_AT_1
    assert world._observe()[0].reshape(9, 9)[3, 1] == SUBGOAL
    assert carry_out(world, "DDDUU") == [(0.1, False, False)]


def test_the_opening_pays_even_if_the_skill_ends_in_lava() -> None:
    assert carry_out(free_choice(LEVEL_3_AT_1), "DDRUU") == [(0.1, True, False)]


def test_the_goal_pays_less_for_every_move() -> None:
    world = free_choice(LEVEL_3_AT_1)
    rows = carry_out(world, "DDDDD", "DRRRR", "RRUUU")
    assert rows == [(0.1, False, False), (0.0, False, False), (0.784, True, False)]
    assert place(world) == (7, 7)
    assert world.info()["success"][0]


def test_a_move_against_the_wall_counts() -> None:
    rows = carry_out(free_choice(LEVEL_3_AT_1), "LLLDD", "DDDDR", "RRRRR")
    assert rows[-1] == (0.73, True, False)


def test_the_opening_and_the_goal_can_be_paid_together() -> None:
    world = free_choice(UPRIGHT_5_AT_7)
    rows = carry_out(world, "DDDDD", "DRRRL", "RRRRR")
    assert rows[-1] == (0.1 + 0.748, True, False)


def test_the_tenth_decision_is_the_last() -> None:
    rows = carry_out(free_choice(LEVEL_3_AT_1), *["LLLLL"] * 10)
    assert [row[1:] for row in rows] == [(False, False)] * 9 + [(False, True)]
    rows = carry_out(free_choice(LEVEL_3_AT_1), *["LLLLL"] * 7, "DDDDD", "DRRRR", "RRRRR")
    assert rows[-1] == (0.154, True, False)


# --- the truth about skills


def scalar(grid: np.ndarray, tile: tuple[int, int], letters: str) -> tuple:
    """Place, moves made, opening passed, lost: one skill, carried out the plain way."""
    x, y = tile
    passed = False
    for made, letter in enumerate(letters, start=1):
        step = {"R": (1, 0), "D": (0, 1), "L": (-1, 0), "U": (0, -1)}[letter]
        if grid[y + step[1], x + step[0]] != WALL:
            x, y = x + step[0], y + step[1]
        passed |= grid[y, x] == SUBGOAL
        if grid[y, x] in (LAVA, GOAL):
            return (x, y), made, passed, grid[y, x] == LAVA
    return (x, y), 5, passed, False


def test_effects_and_outcomes_are_those_of_the_plain_way() -> None:
    generator = np.random.default_rng(0)
    layouts, _ = all_layouts()
    names = SkillsGrid(1).action_set.names
    table = outcomes()
    seen, actions, expected = [], [], []
    for _ in range(400):
        number, action = int(generator.integers(42)), int(generator.integers(1024))
        grid = layouts[number].reshape(9, 9)
        free = np.argwhere(grid == EMPTY)
        y, x = free[generator.integers(len(free))].tolist()
        end, made, passed, lost = scalar(grid, (x, y), names[action])
        at = (number, 9 * y + x, action)
        ended = (9 * end[1] + end[0], made, passed)
        assert (table.tile[at], table.moves[at], table.paid[at]) == ended
        shown = grid.copy()
        shown[y, x] = AGENT
        seen.append(shown.ravel())
        actions.append(action)
        expected.append([end[0] - x, end[1] - y, made, passed, lost])
    effects = SkillsGrid(1).effects(np.array(seen, np.float32), np.array(actions))
    np.testing.assert_array_equal(effects, np.array(expected, np.float64))
    assert effects[:, 3].any()
    assert effects[:, 4].any()


def test_a_step_is_what_effects_say() -> None:
    world = SkillsGrid(500)
    generator = np.random.default_rng(0)
    observations, _ = world.reset(seed=0)
    for _ in range(4):
        actions = uniform(world, generator)
        effects = world.effects(observations, actions)
        tile, going = world.tile.copy(), ~world._ended
        observations, rewards, terminated, _, _ = world.step(actions)
        shift = np.stack([world.tile % 9 - tile % 9, world.tile // 9 - tile // 9], axis=1)
        np.testing.assert_array_equal(shift[going], effects[going, :2])
        lost = terminated & ~world.info()["success"]
        np.testing.assert_array_equal(lost[going], effects[going, 4] == 1)
        unreached = going & ~world.info()["success"]
        np.testing.assert_allclose(rewards[unreached], 0.1 * effects[unreached, 3])


# --- the expert


def best_value(world: SkillsGrid, row: int, names: tuple[str, ...]) -> float:
    """The optimum of an episode from its start, by exhaustion."""
    grid = world.layouts[world.layout[row]].reshape(9, 9)
    skills = [names[action] for action in world.offered[row]]
    values: dict[tuple, float] = {}
    for decision in range(world.horizon - 1, -1, -1):
        later, values = values, {}
        for y in range(1, 8):
            for x in range(1, 8):
                for paid in (False, True):
                    best = -np.inf
                    for letters in skills:
                        end, made, passed, lost = scalar(grid, (x, y), letters)
                        value = 0.1 * (passed and not paid)
                        if grid[end[1], end[0]] == GOAL:
                            value += 1 - 0.9 * (5 * decision + made) / 50
                        elif not lost:
                            value += later.get((end, paid or passed), 0.0)
                        best = max(best, value)
                    values[(x, y), paid] = best
    return values[(1, 1), False]


@pytest.mark.parametrize("available", [2, 6])
def test_the_expert_is_the_optimum(available: int) -> None:
    world = SkillsGrid(5, preset=SkillsConfig(available=available))
    earned = returns(world, world.expert, seed=2)
    world.reset(seed=2)
    names = world.action_set.names
    expected = [best_value(world, row, names) for row in range(world.num_envs)]
    np.testing.assert_allclose(earned, expected)


def test_the_expert_goes_on_from_wherever_it_is() -> None:
    world = SkillsGrid(400)
    generator = np.random.default_rng(0)
    world.reset(seed=0)
    world.step(uniform(world, generator))
    alive = ~world._ended
    success = np.zeros(400, bool)
    for _ in range(8):
        actions = world.expert()
        assert allowed_of(world).holds(actions).all()
        world.advance(actions)
        success |= world.info()["success"]
    assert success[alive].mean() > 0.98


def test_with_all_skills_the_best_way_takes_12_moves() -> None:
    world = SkillsGrid(84, preset="all")
    np.testing.assert_allclose(returns(world, world.expert), 0.1 + 1 - 0.9 * 12 / 50)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_stated_returns_are_the_measured_ones(preset: str) -> None:
    world = SkillsGrid(3000, preset=preset)
    generator = np.random.default_rng(5)
    chance = returns(world, lambda: uniform(world, generator), seed=7)
    assert chance.mean() == pytest.approx(
        world.random_return, abs=4 * chance.std() / 3000**0.5 + 5e-4
    )
    few = SkillsGrid(600, preset=preset)
    best = returns(few, few.expert, seed=8)
    assert best.mean() == pytest.approx(few.best_return, abs=4 * best.std() / 600**0.5 + 1e-3)


def test_the_stated_returns_hold_for_the_preset_alone() -> None:
    assert np.isnan(SkillsGrid(1, split_seed=1).random_return)
    assert np.isnan(SkillsGrid(1, split_seed=1).best_return)
    assert SkillsGrid(1, preset="all", split_seed=1).best_return == 0.884


# --- what an encoder of skills sees, and a person


def test_demonstrations_are_ways_through_an_empty_grid() -> None:
    skills = np.array([skill("RRDUL"), skill("UUUUU")])
    ways = demonstrations(skills, each=500, seed=0)
    assert (ways.shape, ways.dtype) == ((2, 500, 6, 2), np.float32)
    assert (ways.min(), ways.max()) == (1, 78)
    inside = ways[0, ((ways[0, :, 0] > 5) & (ways[0, :, 0] < 74)).all(axis=1)]
    steps = np.diff(inside, axis=1)
    assert (steps == [[1, 0], [1, 0], [0, 1], [0, -1], [-1, 0]]).all()
    assert (ways[1, :, -1, 1] == np.maximum(ways[1, :, 0, 1] - 5, 1)).all()
    np.testing.assert_array_equal(ways, demonstrations(skills, each=500, seed=0))
    assert not np.array_equal(ways, demonstrations(skills, each=500, seed=1))


def test_the_picture_shows_the_tiles() -> None:
    world = free_choice(LEVEL_3_AT_1)

    def colour(x: int, y: int) -> tuple[int, ...]:
        return tuple(world.render()[0][y * TILE + 15, x * TILE + 15].tolist())

    assert colour(1, 1) == (200, 40, 40)
    assert colour(1, 3) == tuple(COLOURS[SUBGOAL].tolist())
    assert colour(5, 3) == tuple(COLOURS[LAVA].tolist())
    assert colour(7, 7) == tuple(COLOURS[GOAL].tolist())


def test_skill_moves_are_all_different() -> None:
    assert len(np.unique(skill_moves(), axis=0)) == 1024
