"""The grid of skills: an agent crosses a river of lava with 1,024 skills of five moves each.

A skill is a sequence of five moves, each one tile right, down, left or up, carried out one after
the other: a move into the wall does nothing, lava kills, the goal ends the skill and the episode.
An episode offers a small random set of skills, drawn from those of one split, so that a policy can
be tried on skills that no log contains. After Jain (2024), "Decision Making in Complex Action
Spaces", chapter 2 and appendix A.1 of its first part.

The grid has 9 x 9 tiles with its wall. One river of lava lies across it, in one of six places
(upright or level, on the third to fifth line of tiles) with an opening in one of seven; all 42
layouts are equally likely in every episode. The way leads from (1, 1), top left, to (7, 7).

Assumptions where the source is silent: the places of the river and its opening (those of the
authors' program); once paid, the subgoal turns into an empty tile, so that the observation tells
whether it was paid; a move against the wall counts as a move; a skill drawn for an episode stays
available through it.

Observation `[81]` float32: what is on each tile, row by row from the top: 0 empty, 1 wall, 2 agent,
3 goal, 4 lava, 5 subgoal. The moves made so far, on which the goal's reward depends, are not shown.
Action: index of a skill; its five base-4 digits, first move most significant, are the moves.
Reward: 0.1 on first passing the opening, 1 - 0.9 N / 50 in the goal after N moves; 0 in lava.
Ends: terminated in the goal or in lava, truncated after `horizon` decisions.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int16, Int64, UInt8

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.simulators.tiles import DIRECTIONS, picture

SIDE = 9
"""Tiles a side, wall included."""
TILES = SIDE * SIDE
SKILL_LENGTH = 5
"""Moves of a skill."""
N_SKILLS = 4**SKILL_LENGTH
EMPTY, WALL, AGENT, GOAL, LAVA, SUBGOAL = range(6)
"""What can be on a tile."""
COLOURS = np.array(
    [
        [255, 255, 255],
        [110, 110, 110],
        [255, 255, 255],
        [70, 170, 90],
        [240, 140, 40],
        [120, 190, 240],
    ],
    np.uint8,
)
START_TILE = SIDE + 1
GOAL_TILE = (SIDE - 2) * SIDE + SIDE - 2
RIVERS = (3, 4, 5)
"""Lines of tiles, from the left or from the top, on which the river may lie."""
DEMONSTRATION_SIDE = 80
"""Tiles a side of the empty grid, wall included, in which skills are demonstrated."""
NEVER = 10_000
"""More moves than any way has."""

Split = Literal["all", "train", "validation", "test"]


@dataclass(frozen=True)
class SkillsConfig:
    """Everything that makes one grid of skills differ from another."""

    split: Split = "train"
    """Whose skills are offered: 512 train, 256 validate, 256 test."""
    available: int = 50
    """Skills offered in an episode."""
    horizon: int = 10
    """Most decisions of an episode."""
    subgoal_reward: float = 0.1
    """Paid on first passing the opening."""
    goal_discount: float = 0.9
    """Share of the goal's reward of 1 that is lost after `5 * horizon` moves, in proportion."""
    random_return: float = float("nan")
    """Measured mean return of uniform actions among those offered."""
    best_return: float = float("nan")
    """Measured mean return of the expert."""


PRESETS: dict[str, SkillsConfig] = {
    "paper": SkillsConfig(random_return=0.013, best_return=0.820),
    "validation": SkillsConfig(split="validation", random_return=0.014, best_return=0.829),
    "test": SkillsConfig(split="test", random_return=0.013, best_return=0.817),
    "all": SkillsConfig(split="all", available=N_SKILLS, random_return=0.014, best_return=0.884),
}


class Walk(NamedTuple):
    """Where N agents are in the midst of a skill."""

    tile: Int64[np.ndarray, " N"]
    moves: Int64[np.ndarray, " N"]
    """Moves made."""
    paid: Bool[np.ndarray, " N"]
    """Whether the walk has passed a subgoal that was there."""
    going: Bool[np.ndarray, " N"]
    """Neither in lava nor in the goal."""


class Outcomes(NamedTuple):
    """What every skill does on every tile of every layout, the subgoal still there."""

    tile: Int8[np.ndarray, "42 81 1024"]
    """Where it ends."""
    moves: Int8[np.ndarray, "42 81 1024"]
    """Moves it makes."""
    paid: Bool[np.ndarray, "42 81 1024"]
    """Whether it passes the opening."""


@final
class SkillsGrid(AbstractSimulator):
    """B grids of skills.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        split_seed: divides the skills into those to train with, to validate and to test.
        seed: of the layouts and the skills that episodes offer.

    Raises:
        ValueError: an unknown preset, or more skills to offer than the split has.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | SkillsConfig = "paper",
        split_seed: int = 0,
        seed: int = 0,
    ) -> None:
        settings = _preset(preset)
        self.settings = settings
        self.moves = skill_moves()
        self.pool = split_skills(split_seed)[settings.split]
        if not 1 <= settings.available <= len(self.pool):
            raise ValueError(
                f"an episode may offer 1 to {len(self.pool)} skills of the split "
                f"{settings.split!r}, got available={settings.available}"
            )
        self.action_set = _action_set(self.moves)
        self.horizon = settings.horizon
        measured = split_seed == 0 or settings.split == "all"
        self.random_return = settings.random_return if measured else float("nan")
        self.best_return = settings.best_return if measured else float("nan")
        self.observation_names = tuple(f"tile_{x}_{y}" for y in range(SIDE) for x in range(SIDE))
        self.layouts, self.openings = all_layouts()
        self.layout = np.zeros(n_worlds, np.int64)
        self.tile = np.zeros(n_worlds, np.int64)
        self.paid = np.zeros(n_worlds, bool)
        self.clock = np.zeros(n_worlds, np.int64)
        self.offered = np.tile(self.pool[: settings.available], (n_worlds, 1))
        self._drawn = settings.available < len(self.pool)
        self._allowed: AllowedActions | None = None
        n_plans = n_worlds if self._drawn else len(self.layouts)
        self._planned = np.zeros(n_plans, bool)
        self._to_goal = np.zeros((n_plans, TILES), np.int16)
        self._to_subgoal = np.zeros((n_plans, TILES), np.int16)
        self._open(n_worlds, gym.spaces.Box(0.0, SUBGOAL, (TILES,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.layout[worlds] = self.draws.integers(1, len(self.layouts), worlds)[0]
        self.tile[worlds] = START_TILE
        self.paid[worlds] = False
        self.clock[worlds] = 0
        if self._drawn:
            draws = self.draws.uniform(self.settings.available, worlds)
            self.offered[worlds] = self.pool[subsets(draws, len(self.pool))]
            self._planned[worlds] = False
            self._allowed = None
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        settings = self.settings
        walk = _walk(self.layouts, self.layout, self.tile, self.moves[actions])
        reached = walk.tile == GOAL_TILE
        moves = SKILL_LENGTH * self.clock + walk.moves
        most = SKILL_LENGTH * settings.horizon
        rewards = settings.subgoal_reward * (walk.paid & ~self.paid)
        rewards += reached * (1.0 - settings.goal_discount * moves / most)
        self.tile = walk.tile
        self.paid |= walk.paid
        self.clock += 1
        late = (self.clock >= settings.horizon) & walk.going
        return self._observe(), rewards, ~walk.going, late

    def allowed(self) -> AllowedActions | None:
        """The skills that the episodes offer, ascending; None where that is all of them."""
        if self.settings.available == N_SKILLS:
            return None
        if self._allowed is None:
            offsets = self.settings.available * np.arange(self.num_envs + 1)
            self._allowed = AllowedActions(offsets, self.offered.flatten())
        return self._allowed

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 5"]:
        """Shift to the right and downwards in tiles, moves made, subgoal passed, life lost."""
        layouts = observations.astype(np.int64)
        start = (layouts == AGENT).argmax(axis=1)
        walk = _walk(layouts, np.arange(len(layouts)), start, self.moves[actions])
        lost = ~walk.going & (walk.tile != GOAL_TILE)
        shift = _place(walk.tile) - _place(start)
        return np.stack([*shift.T, walk.moves, walk.paid, lost], axis=1).astype(np.float64)

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The optimum: the first skill of a way to the goal of fewest moves, among those offered.

        Where the goal cannot be reached in the decisions left: of a way to the opening.
        """
        self._plan(np.flatnonzero(~self._planned))
        plan = np.arange(self.num_envs) if self._drawn else self.layout
        end, moves, paid, dead = self._lookup(
            self.layout[:, None], self.tile[:, None], self.offered
        )
        way = _onwards(self._to_goal[plan], end, moves, end == GOAL_TILE, dead)
        detour = _onwards(self._to_subgoal[plan], end, moves, paid, dead)
        left = SKILL_LENGTH * (self.horizon - self.clock)
        best = np.where(way.min(axis=1) <= left, way.argmin(axis=1), detour.argmin(axis=1))
        return self.offered[np.arange(self.num_envs), best]

    def _plan(self, plans: Int64[np.ndarray, " N"]) -> None:
        """Moves to the goal and to the opening from every tile: a plan a world, or a layout."""
        layout = self.layout[plans] if self._drawn else plans
        offered = self.offered[plans] if self._drawn else np.tile(self.pool, (len(plans), 1))
        tiles = np.arange(TILES)[:, None]
        end, moves, paid, dead = self._lookup(layout[:, None, None], tiles, offered[:, None])
        self._to_goal[plans] = _to_go(end, moves, end == GOAL_TILE, dead)
        self._to_subgoal[plans] = _to_go(end, moves, paid, dead)
        self._planned[plans] = True

    def _lookup(
        self,
        layout: Int64[np.ndarray, "..."],
        tile: Int64[np.ndarray, "..."],
        skills: Int64[np.ndarray, "..."],
    ) -> tuple[
        Int8[np.ndarray, "..."],
        Int8[np.ndarray, "..."],
        Bool[np.ndarray, "..."],
        Bool[np.ndarray, "..."],
    ]:
        """Where skills end, moves they make, whether they pass the opening, end in lava."""
        table = outcomes()
        end = table.tile[layout, tile, skills]
        dead = self.layouts[layout, end] == LAVA
        return end, table.moves[layout, tile, skills], table.paid[layout, tile, skills], dead

    def info(self) -> dict[str, np.ndarray]:
        """Whether each world stands in its goal: the source's measure of success."""
        return {"success": self.tile == GOAL_TILE}

    def render(self) -> tuple[UInt8[np.ndarray, "270 270 3"], ...]:
        """A picture of every world, 270 x 270, the start at the top left."""
        rows = self._observe().astype(np.int64).reshape(-1, SIDE, SIDE)
        places = _place(self.tile)
        return tuple(
            picture(COLOURS[row], (int(x), int(y)))
            for row, (x, y) in zip(rows, places, strict=True)
        )

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        every = np.arange(self.num_envs)
        shown = self.layouts.astype(np.float32)[self.layout]
        shown[every[self.paid], self.openings[self.layout[self.paid]]] = EMPTY
        shown[every, self.tile] = AGENT
        return shown


def skill_moves() -> Int64[np.ndarray, "1024 5"]:
    """The moves of all skills, as rows of `DIRECTIONS`."""
    return (np.arange(N_SKILLS)[:, None] // 4 ** np.arange(SKILL_LENGTH)[::-1]) % 4


def split_skills(seed: int) -> dict[Split, Int64[np.ndarray, " n_skills"]]:
    """The skills of each split, ascending: a random half, quarter and quarter, and all."""
    shuffled = np.random.default_rng(seed).permutation(N_SKILLS)
    train, validation, test = np.split(shuffled, (N_SKILLS // 2, 3 * N_SKILLS // 4))
    return {
        "all": np.arange(N_SKILLS),
        "train": np.sort(train),
        "validation": np.sort(validation),
        "test": np.sort(test),
    }


def demonstrations(
    skills: Int64[np.ndarray, " A"], *, each: int, seed: int
) -> Float32[np.ndarray, "A each 6 2"]:
    """Ways of an agent that carries out each skill in an empty grid of 80 x 80 tiles.

    What the source's encoder of skills observes (there 1,024 ways a skill).

    Args:
        skills: dense indices.
        each: ways of each skill; they start on random tiles.
        seed: of the starts.

    Returns:
        (x, y) in tiles, before the first move and after every move.
    """
    low, high = 1, DEMONSTRATION_SIDE - 2
    place = np.random.default_rng(seed).integers(low, high + 1, (len(skills), each, 2))
    way = [place]
    for moves in skill_moves()[skills].T:
        place = np.clip(place + DIRECTIONS[moves][:, None], low, high)
        way.append(place)
    return np.stack(way, axis=2).astype(np.float32)


@cache
def all_layouts() -> tuple[Int64[np.ndarray, "42 81"], Int64[np.ndarray, " 42"]]:
    """What is on each tile of the 42 layouts, and the tile of each one's opening."""
    bare = np.full((SIDE, SIDE), WALL)
    bare[1:-1, 1:-1] = EMPTY
    bare.flat[GOAL_TILE] = GOAL
    layouts, openings = [], []
    for upright in (False, True):
        for river in RIVERS:
            for opening in range(1, SIDE - 1):
                grid = bare.copy()
                grid[river, 1:-1] = LAVA
                grid[river, opening] = SUBGOAL
                grid = grid.T if upright else grid
                layouts.append(grid.flatten())
                openings.append(grid.flatten().argmax())
    tables = np.stack(layouts), np.array(openings)
    for table in tables:
        table.setflags(write=False)
    return tables


@cache
def outcomes() -> Outcomes:
    """Every skill on every tile of every layout."""
    layouts, _ = all_layouts()
    ends = [_outcomes(layout[None]) for layout in layouts]
    return Outcomes(*(np.stack(column) for column in zip(*ends, strict=True)))


def _outcomes(
    layout: Int64[np.ndarray, "1 81"],
) -> tuple[Int8[np.ndarray, "81 1024"], Int8[np.ndarray, "81 1024"], Bool[np.ndarray, "81 1024"]]:
    """By the tree of the skills' common first moves."""
    walk = _stand(np.where(layout[0] == WALL, START_TILE, np.arange(TILES)))
    for _ in range(SKILL_LENGTH):
        walk = Walk(*(np.repeat(column, 4) for column in walk))
        n = len(walk.tile)
        walk = _move(layout, np.zeros(n, np.int64), walk, np.arange(n) % 4)
    tile, moves = (column.astype(np.int8).reshape(TILES, N_SKILLS) for column in walk[:2])
    return tile, moves, walk.paid.reshape(TILES, N_SKILLS)


def subsets(draws: Float64[np.ndarray, "k N"], size: int) -> Int64[np.ndarray, "N k"]:
    """N random subsets of k of the numbers 0..size-1, ascending; all subsets equally likely.

    Floyd's algorithm: the j-th draw is uniform in 0..size-k+j; one drawn before gives way to the
    largest of its range, which cannot have been drawn.
    """
    k, n = draws.shape
    every = np.arange(n)
    taken = np.zeros((n, size), bool)
    for highest, draw in zip(range(size - k, size), draws, strict=True):
        drawn = (draw * (highest + 1)).astype(np.int64)
        taken[every, np.where(taken[every, drawn], highest, drawn)] = True
    return np.nonzero(taken)[1].reshape(n, k)


def _walk(
    layouts: Int64[np.ndarray, "L 81"],
    rows: Int64[np.ndarray, " N"],
    tile: Int64[np.ndarray, " N"],
    moves: Int64[np.ndarray, "N 5"],
) -> Walk:
    """Carries out a skill's moves; agent n walks in layout `rows[n]`."""
    walk = _stand(tile)
    for directions in moves.T:
        walk = _move(layouts, rows, walk, directions)
    return walk


def _stand(tile: Int64[np.ndarray, " N"]) -> Walk:
    none = np.zeros(len(tile), np.int64)
    return Walk(tile, none, none.astype(bool), tile != GOAL_TILE)


def _move(
    layouts: Int64[np.ndarray, "L 81"],
    rows: Int64[np.ndarray, " N"],
    walk: Walk,
    directions: Int64[np.ndarray, " N"],
) -> Walk:
    target = walk.tile + _OFFSETS[directions]
    target = np.where(walk.going, target, walk.tile)
    found = layouts[rows, target]
    tile = np.where(found == WALL, walk.tile, target)
    paid = walk.paid | (found == SUBGOAL)
    return Walk(tile, walk.moves + walk.going, paid, (found != LAVA) & (found != GOAL))


def _to_go(
    end: Int8[np.ndarray, "N 81 k"],
    moves: Int8[np.ndarray, "N 81 k"],
    there: Bool[np.ndarray, "N 81 k"],
    dead: Bool[np.ndarray, "N 81 k"],
) -> Int16[np.ndarray, "N 81"]:
    """Fewest moves to what is `there`; at least `NEVER` where there is no way."""
    to_go = np.full(end.shape[:2], NEVER, np.int16)
    while True:
        shorter = _onwards(to_go, end, moves, there, dead).min(axis=2)
        if (shorter >= to_go).all():
            return to_go
        to_go = np.minimum(to_go, shorter)


def _onwards(
    to_go: Int16[np.ndarray, "N 81"],
    end: Int8[np.ndarray, "N *any"],
    moves: Int8[np.ndarray, "N *any"],
    there: Bool[np.ndarray, "N *any"],
    dead: Bool[np.ndarray, "N *any"],
) -> Int16[np.ndarray, "N *any"]:
    """Moves to what is `there`, by way of each skill."""
    rows = np.arange(len(end)).reshape(-1, *[1] * (end.ndim - 1))
    onwards = np.where(dead, np.int16(NEVER), to_go[rows, end])
    return np.where(there, 0, onwards) + moves


_OFFSETS = DIRECTIONS @ (1, SIDE)
"""Moves as shifts of a tile's number."""


def _place(tile: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, "N 2"]:
    """(x, y) of tiles."""
    return np.stack([tile % SIDE, tile // SIDE], axis=1)


def _action_set(moves: Int64[np.ndarray, "1024 5"]) -> ActionSet:
    """Skills under their letters; features are the net shift and the five moves as vectors."""
    vectors = DIRECTIONS[moves]
    features = np.concatenate([vectors.sum(axis=1), vectors.reshape(N_SKILLS, -1)], axis=1)
    letters = np.array(list("RDLU"))
    return ActionSet(
        np.arange(N_SKILLS, dtype=np.int64),
        names=tuple("".join(row) for row in letters[moves]),
        features=features.astype(np.float32),
        feature_names=(
            "net_x",
            "net_y",
            *(f"{axis}{move}" for move in range(SKILL_LENGTH) for axis in "xy"),
        ),
    )


def _preset(preset: str | SkillsConfig) -> SkillsConfig:
    if isinstance(preset, SkillsConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown skills grid preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
