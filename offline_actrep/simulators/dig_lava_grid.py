"""The dig-lava grid: which way is best depends on the two extra actions an episode offers.

An agent crosses two rivers of lava, one orange, one pink. It may walk around through their openings
or step into the lava and dig it away at once, if it has the skill for that colour. Of nine actions
an episode offers seven: four moves, turn-left, and two drawn from turn-right, step-forward,
dig-orange and dig-pink. A policy that does not look at what is available must walk around.
After Jain (2024), "Decision Making in Complex Action Spaces", chapter 3 and appendix A.1 of its
second part.

The inside has 9 x 9 tiles, (1, 1) at the top left. The orange river is column 3 with its opening at
the top, the pink one column 7 with its opening at the bottom. The way leads from (1, 5), facing
right, to (9, 5); entering column 4 and column 8 for the first time pays as a subgoal. The shortest
ways take 24 steps without digging, 17 with one of the two skills, 10 with both.

Assumptions where the source is silent: the layout (that of the authors' program); a move sets the
heading even where it does not lead away; the start counts as visited; once paid, a subgoal column
turns into empty tiles, so that the observation tells whether it was paid; the steps since the last
subgoal that a payment takes off include the step that earns it.

Observation `[162]` float32: what is on each inner tile, row by row from the top (0 empty, 1 orange
lava, 2 pink lava, 3 goal, 4 subgoal), then 1 on the agent's tile. The heading, the time, the tiles
visited and the actions available are not shown.
Action: see `NAMES`; turns and step-forward go by the heading.
Reward: goal 100 (1 - 0.99 t / 50) and subgoals 0.5 (1 - 0.9 t / 50) after t steps, each less 0.01
for every step since the last of them; 0.01 for digging lava away; 0.01 for a tile not yet visited.
Ends: terminated in the goal, or by a step that begins and ends in the same lava; truncated after
`horizon` decisions.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer, UInt8

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.simulators.tiles import DIRECTIONS, picture

INNER = 9
"""Tiles a side inside the wall."""
SIDE = INNER + 2
TILES = SIDE * SIDE
EMPTY, ORANGE, PINK, GOAL, SUBGOAL, WALL = range(6)
"""What can be on a tile."""
COLOURS = np.array(
    [
        [255, 255, 255],
        [240, 150, 50],
        [240, 150, 200],
        [70, 170, 90],
        [215, 235, 250],
        [110, 110, 110],
    ],
    np.uint8,
)
START = (1, 5)
GOAL_PLACE = (9, 5)
RIVERS = ((3, ORANGE, 1), (7, PINK, 9))
"""Column, lava, row of the opening."""
SUBGOAL_COLUMNS = (4, 8)
SIGNS = ((4, 0), (6, 0))
"""Tiles of the wall on which a picture shows whether orange and pink can be dug."""

NAMES = (
    "move-right",
    "move-down",
    "move-left",
    "move-up",
    "turn-left",
    "turn-right",
    "step-forward",
    "dig-orange",
    "dig-pink",
)
TURN_LEFT, TURN_RIGHT, FORWARD, DIG_ORANGE, DIG_PINK = range(4, 9)
ALWAYS = 5
"""The first actions are available in every episode."""
EXTRAS = 2
"""Of the others, so many are."""
OFFERS = np.array(
    [[*range(ALWAYS), *extra] for extra in combinations(range(ALWAYS, len(NAMES)), EXTRAS)],
    np.int64,
)
"""What episodes offer, all rows equally likely."""
FEATURES = np.array(
    [
        [0, 0, 0, 0, 1, -1, -1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, -1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, -1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0, 0, 0, -1, 1],
        [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, -1],
        [0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1],
        [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ],
    np.float32,
)
"""Table B.1: category (digging pink, digging orange, elemental, none, movement), then codes."""
FEATURE_NAMES = (
    "dig_pink",
    "dig_orange",
    "elemental",
    "unused",
    "movement",
    "movement_0",
    "movement_1",
    "diagonal_0",
    "diagonal_1",
    "elemental_0",
    "elemental_1",
)


@dataclass(frozen=True)
class DigLavaConfig:
    """Everything that makes one dig-lava grid differ from another."""

    horizon: int = 50
    """Most decisions of an episode."""
    patience: int = 0
    """Steps that may be wasted in lava without dying."""
    refund: Literal["steps", "visits"] = "steps"
    """What a goal or subgoal takes off: 0.01 a step, or a tile first visited, since the last."""
    subgoals_vanish: bool = True
    """Whether a subgoal column, once paid, turns into empty tiles."""
    goal_reward: float = 100.0
    goal_discount: float = 0.99
    """Share of the goal's reward that is lost after `horizon` steps, in proportion."""
    subgoal_reward: float = 0.5
    subgoal_discount: float = 0.9
    dig_reward: float = 0.01
    exploration_reward: float = 0.01
    """Paid for every tile not yet visited, and taken off at the next goal or subgoal."""
    random_return: float = float("nan")
    """Measured mean return of uniform actions among those available."""
    best_return: float = float("nan")
    """Measured mean return of the expert."""


PRESETS: dict[str, DigLavaConfig] = {
    "paper": DigLavaConfig(random_return=0.061, best_return=67.18),
    "agile": DigLavaConfig(
        patience=1,
        refund="visits",
        subgoals_vanish=False,
        random_return=0.077,
        best_return=67.20,
    ),
}
"""`agile`: as the authors' program has it, where it differs from what they write."""


@final
class DigLavaGrid(AbstractSimulator):
    """B dig-lava grids.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        seed: of the actions that episodes offer; nothing else is random.

    Raises:
        ValueError: an unknown preset.
    """

    def __init__(
        self, n_worlds: int = 1, *, preset: str | DigLavaConfig = "paper", seed: int = 0
    ) -> None:
        settings = _preset(preset)
        self.settings = settings
        self.action_set = ActionSet(
            np.arange(len(NAMES), dtype=np.int64),
            names=NAMES,
            features=FEATURES.copy(),
            feature_names=FEATURE_NAMES,
        )
        self.horizon = settings.horizon
        self.random_return, self.best_return = settings.random_return, settings.best_return
        inner = range(1, INNER + 1)
        self.observation_names = tuple(
            f"{what}_{x}_{y}" for what in ("tile", "agent") for y in inner for x in inner
        )
        self.grid = np.zeros((n_worlds, TILES), np.int8)
        self.tile = np.zeros(n_worlds, np.int64)
        self.heading = np.zeros(n_worlds, np.int64)
        self.offer = np.zeros(n_worlds, np.int64)
        self.clock = np.zeros(n_worlds, np.int64)
        self.wasted = np.zeros(n_worlds, np.int64)
        self.taken = np.zeros((n_worlds, len(SUBGOAL_COLUMNS)), bool)
        self.visited = np.zeros((n_worlds, TILES), bool)
        self.owed = np.zeros(n_worlds, np.int64)
        self._allowed: AllowedActions | None = None
        high = np.repeat(np.array([SUBGOAL, 1], np.float32), INNER * INNER)
        self._open(n_worlds, gym.spaces.Box(np.zeros_like(high), high), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.grid[worlds] = LAYOUT
        self.tile[worlds] = _START_TILE
        self.heading[worlds] = 0
        self.offer[worlds] = self.draws.integers(1, len(OFFERS), worlds)[0]
        self.clock[worlds] = 0
        self.wasted[worlds] = 0
        self.taken[worlds] = False
        self.visited[worlds] = False
        self.visited[worlds, _START_TILE] = True
        self.owed[worlds] = 0
        self._allowed = None
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        settings, every = self.settings, np.arange(self.num_envs)
        under = self.grid[every, self.tile]
        in_lava = (under == ORANGE) | (under == PINK)
        dug = _digs(actions, under)
        self.grid[every[dug], self.tile[dug]] = EMPTY
        self.heading = _turned(self.heading, actions)
        self._step((actions < TURN_LEFT) | (actions == FORWARD), in_lava)
        self.clock += 1
        self.owed += settings.refund == "steps"
        rewards = settings.dig_reward * dug + self._arrive()
        fresh = ~self.visited[every, self.tile]
        self.visited[every, self.tile] = True
        self.owed += fresh & (settings.refund == "visits")
        rewards += settings.exploration_reward * fresh
        self.wasted = np.where(in_lava & ~dug, self.wasted + 1, 0)
        terminated = (self.tile == _GOAL_TILE) | (self.wasted > settings.patience)
        return self._observe(), rewards, terminated, (self.clock >= self.horizon) & ~terminated

    def _step(self, tries: Bool[np.ndarray, " B"], in_lava: Bool[np.ndarray, " B"]) -> None:
        ahead = self.tile + _OFFSETS[self.heading]
        goes = tries & ~in_lava & (LAYOUT[ahead] != WALL)
        self.tile = np.where(goes, ahead, self.tile)

    def _arrive(self) -> Float64[np.ndarray, " B"]:
        """What the goal and the subgoals pay after this step."""
        settings = self.settings
        spent = self.clock / settings.horizon
        refund = settings.exploration_reward * self.owed
        column = self.tile % SIDE
        firsts = (column[:, None] == SUBGOAL_COLUMNS) & ~self.taken
        first = firsts.any(axis=1)
        there = self.tile == _GOAL_TILE
        goal = settings.goal_reward * (1.0 - settings.goal_discount * spent) - refund
        subgoal = settings.subgoal_reward * (1.0 - settings.subgoal_discount * spent) - refund
        self.taken |= firsts
        self.owed = np.where(first | there, 0, self.owed)
        if settings.subgoals_vanish and first.any():
            grid = self.grid.reshape(-1, SIDE, SIDE)
            for k, x in enumerate(SUBGOAL_COLUMNS):
                grid[firsts[:, k], 1:-1, x] = EMPTY
        return np.where(there, goal, 0.0) + np.where(first, subgoal, 0.0)

    def allowed(self) -> AllowedActions:
        """The seven actions that each episode offers, ascending."""
        if self._allowed is None:
            offered = OFFERS[self.offer]
            offsets = offered.shape[1] * np.arange(self.num_envs + 1)
            self._allowed = AllowedActions(offsets, offered.flatten())
        return self._allowed

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 7"]:
        """Shift right and down, heading taken up (x, y), turn to the right, step ahead, lava dug.

        Where a step ahead leads depends on the heading, which observations do not show: it is an
        effect of its own.
        """
        rows = np.arange(len(observations))
        seen = observations.astype(np.int64).reshape(-1, 2, INNER, INNER)
        rim = ((0, 0), (1, 1), (1, 1))
        grid = np.pad(seen[:, 0], rim, constant_values=WALL).reshape(-1, TILES)
        tile = np.pad(seen[:, 1], rim).reshape(-1, TILES).argmax(axis=1)
        under = grid[rows, tile]
        free = (under != ORANGE) & (under != PINK)
        moves = actions < TURN_LEFT
        toward = np.where(moves[:, None], DIRECTIONS[actions % 4], 0)
        goes = free & (grid[rows, tile + _OFFSETS[actions % 4]] != WALL)
        turn = (actions == TURN_RIGHT).astype(np.float64) - (actions == TURN_LEFT)
        ahead = free & (actions == FORWARD)
        shift = toward * goes[:, None]
        return np.stack([*shift.T, *toward.T, turn, ahead, _digs(actions, under)], axis=1)

    def expert(self) -> Int64[np.ndarray, " B"]:
        """A shortest way by moves, through the lava that can be dug away."""
        every = np.arange(self.num_envs)
        can_dig = (OFFERS[self.offer][:, :, None] == (DIG_ORANGE, DIG_PINK)).any(axis=1)
        cost = np.ones(self.grid.shape)
        cost[self.grid == WALL] = np.inf
        for lava, able in zip((ORANGE, PINK), can_dig.T, strict=True):
            cost = np.where(self.grid == lava, np.where(able, 2.0, np.inf)[:, None], cost)
        around = self.tile[:, None] + _OFFSETS
        onwards = (cost + _to_go(cost))[every[:, None], around]
        under = self.grid[every, self.tile].astype(np.int64)
        digs = np.where(can_dig, (ORANGE, PINK), -1) == under[:, None]
        return np.where(digs.any(axis=1), DIG_ORANGE + under - ORANGE, onwards.argmin(axis=1))

    def info(self) -> dict[str, np.ndarray]:
        """Whether each world stands in its goal."""
        return {"success": self.tile == _GOAL_TILE}

    def render(self) -> tuple[UInt8[np.ndarray, "330 330 3"], ...]:
        """A picture of every world, 330 x 330, the start at the left.

        Two tiles of the upper wall bear the colours of the lavas that can be dug.
        """
        rows = self.grid.reshape(-1, SIDE, SIDE).copy()
        for (x, y), lava, dig in zip(SIGNS, (ORANGE, PINK), (DIG_ORANGE, DIG_PINK), strict=True):
            rows[(OFFERS[self.offer] == dig).any(axis=1), y, x] = lava
        return tuple(
            picture(COLOURS[row], (int(tile) % SIDE, int(tile) // SIDE), int(heading))
            for row, tile, heading in zip(rows, self.tile, self.heading, strict=True)
        )

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        inner = INNER * INNER
        shown = np.zeros((self.num_envs, 2 * inner), np.float32)
        grid = self.grid.reshape(-1, SIDE, SIDE)[:, 1:-1, 1:-1]
        shown[:, :inner] = grid.reshape(-1, inner)
        x, y = self.tile % SIDE, self.tile // SIDE
        shown[np.arange(self.num_envs), inner + (y - 1) * INNER + x - 1] = 1
        return shown


def _layout() -> Int64[np.ndarray, " 121"]:
    grid = np.full((SIDE, SIDE), WALL)
    grid[1:-1, 1:-1] = EMPTY
    for x, lava, opening in RIVERS:
        grid[1:-1, x] = lava
        grid[opening, x] = EMPTY
    grid[1:-1, SUBGOAL_COLUMNS] = SUBGOAL
    grid[GOAL_PLACE[::-1]] = GOAL
    return grid.flatten()


LAYOUT = _layout()
"""What is on each tile when an episode begins."""
_START_TILE, _GOAL_TILE = (x + SIDE * y for x, y in (START, GOAL_PLACE))
_OFFSETS = DIRECTIONS @ (1, SIDE)
"""Moves as shifts of a tile's number."""


def _digs(
    actions: Int64[np.ndarray, " B"], under: Integer[np.ndarray, " B"]
) -> Bool[np.ndarray, " B"]:
    """Whether an action digs away the lava under the agent."""
    orange = (actions == DIG_ORANGE) & (under == ORANGE)
    return orange | ((actions == DIG_PINK) & (under == PINK))


def _turned(
    heading: Int64[np.ndarray, " B"], actions: Int64[np.ndarray, " B"]
) -> Int64[np.ndarray, " B"]:
    """The heading that an action leaves."""
    turn = (actions == TURN_RIGHT).astype(np.int64) - (actions == TURN_LEFT)
    return np.where(actions < TURN_LEFT, actions, (heading + turn) % 4)


def _to_go(cost: Float64[np.ndarray, "B 121"]) -> Float64[np.ndarray, "B 121"]:
    """Fewest steps from every inner tile to the goal, where entering a tile costs so many."""
    to_go = np.full((len(cost), SIDE, SIDE), np.inf)
    to_go.reshape(-1, TILES)[:, _GOAL_TILE] = 0
    inside = to_go[:, 1:-1, 1:-1]
    while True:
        way = cost.reshape(to_go.shape) + to_go
        level = np.minimum(way[:, 1:-1, 2:], way[:, 1:-1, :-2])
        upright = np.minimum(way[:, 2:, 1:-1], way[:, :-2, 1:-1])
        shorter = np.minimum(level, upright)
        if (shorter >= inside).all():
            return to_go.reshape(-1, TILES)
        np.minimum(inside, shorter, out=inside)


def _preset(preset: str | DigLavaConfig) -> DigLavaConfig:
    if isinstance(preset, DigLavaConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown dig-lava grid preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
