"""The mining grid: a way through mines, each of which only certain pick-axes can clear.

An agent crosses a field of mines of K types. A pick-axe fits one type and either turns it into
another or breaks it, after which the tile is free. Types stand on two levels: a pick-axe turns the
lower into the upper or breaks the upper, so a mine takes one or two of them. Nearby actions differ
wholly in effect, which is what the grid was made for. After Jain (2024), "Decision Making in
Complex Action Spaces", chapter 4 and appendix C.1.

The field has 10 x 10 tiles with its wall. The way leads from (1, 1), top left, facing right, to
(8, 8). Every other tile bears a mine with probability 0.7, of a uniform type, drawn anew for every
episode.

Assumptions where the source is silent: the size of the field, the density of the mines, the number
of types, the first heading and the making of the pick-axes (those of the authors' later program):
half of the types are the lower ones; each type has one pick-axe of its own, a lower one's leads to
a random upper type, and the others are random further pairs of a lower and an upper type. Breaking
a mine pays for the right tool and for the break.

Observation `[8 + K]` float32 in [0, 1]: x, y from the wall on, the heading in thirds (right, down,
left, up), 1 for each free neighbour (right, down, left, up; the goal is free), one-hot type of the
mine in front, 1 where the goal is in front. The rest of the field and the time are not shown.
Action: right, down, left, up (turns there and steps if it is free), then the pick-axes, which act
on the tile in front.
Reward: goal 10 (1 - 0.9 t / 100) after t steps, 0.1 a tile nearer to the goal (less when further),
0.1 for a pick-axe that fits, 0.1 more if it breaks the mine. A mine cleared beside the way earns a
little more than its time costs: the shortest ways return 10.7 in 22 steps, the expert 11.9 in 65.
Ends: terminated in the goal, truncated after `horizon` decisions.
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Integer, UInt8

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator, Outcome
from offline_actrep.simulators.tiles import DIRECTIONS, picture

SIDE = 10
"""Tiles a side, wall included."""
TILES = SIDE * SIDE
EMPTY, GOAL, WALL = -1, -2, -3
"""What can be on a tile beside a mine; mines are their types 0..K-1."""
START_TILE = SIDE + 1
GOAL_TILE = (SIDE - 2) * SIDE + SIDE - 2
MOVES = len(DIRECTIONS)
"""The first actions are moves, the others pick-axes."""
_MOST_STEPS = 4
"""Most decisions of a way to the goal, a tile: turn, two pick-axes, step."""
MOVE_NAMES = ("right", "down", "left", "up")


@dataclass(frozen=True)
class MiningConfig:
    """Everything that makes one mining grid differ from another."""

    mine_types: int = 15
    """K."""
    tools: int = 50
    """Pick-axes; there are so many actions and four moves."""
    density: float = 0.7
    """Probability of a mine on a tile."""
    horizon: int = 100
    """Most decisions of an episode."""
    goal_reward: float = 10.0
    goal_discount: float = 0.9
    """Share of the goal's reward that is lost after `horizon` steps, in proportion."""
    step_reward: float = 0.1
    """Paid for every tile by which the agent comes nearer to the goal, along both axes."""
    tool_reward: float = 0.1
    """Paid for a pick-axe that fits."""
    break_reward: float = 0.1
    """Paid on top when the mine breaks."""
    random_return: float = float("nan")
    """Measured mean return of uniform actions."""
    best_return: float = float("nan")
    """Measured mean return of the expert."""


PRESETS: dict[str, MiningConfig] = {
    "paper": MiningConfig(random_return=0.27, best_return=11.86),
    "hundred": MiningConfig(mine_types=20, tools=100, random_return=0.175, best_return=11.87),
    "thousand": MiningConfig(mine_types=64, tools=1020, random_return=0.05, best_return=11.87),
}
"""`paper`: 50 pick-axes, as the text says; `hundred`: 104 actions, as the table of settings says;
`thousand`: 1,024 actions."""


class Tools(NamedTuple):
    """What each pick-axe does."""

    fits: Int64[np.ndarray, " tools"]
    """The type it fits."""
    leaves: Int64[np.ndarray, " tools"]
    """The type it leaves; K where it breaks the mine."""


@final
class MiningGrid(AbstractSimulator):
    """B mining grids.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        catalogue_seed: of the pick-axes.
        seed: of the mines that are drawn for every episode.

    Raises:
        ValueError: an unknown preset, a density outside (0, 1], or more or fewer pick-axes than the
            types allow.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | MiningConfig = "paper",
        catalogue_seed: int = 0,
        seed: int = 0,
    ) -> None:
        settings = _preset(preset)
        if not 0.0 < settings.density <= 1.0:
            raise ValueError(f"the density of mines lies in (0, 1], got {settings.density}")
        self.settings = settings
        self.tools = make_tools(settings.mine_types, settings.tools, catalogue_seed)
        self.action_set = _action_set(self.tools, settings.mine_types)
        self.horizon = settings.horizon
        self.random_return, self.best_return = settings.random_return, settings.best_return
        self.observation_names = (
            *("x", "y", "heading"),
            *(f"free_{name}" for name in MOVE_NAMES),
            *(f"front_{kind}" for kind in range(settings.mine_types)),
            "front_goal",
        )
        self.grid = np.tile(_BARE, (n_worlds, 1))
        self.tile = np.zeros(n_worlds, np.int64)
        self.heading = np.zeros(n_worlds, np.int64)
        self.clock = np.zeros(n_worlds, np.int64)
        size = len(self.observation_names)
        self._open(n_worlds, gym.spaces.Box(0.0, 1.0, (size,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        settings = self.settings
        lots = self.draws.uniform(len(_FIELD), worlds).T / settings.density
        mines = (np.minimum(lots, 1.0) * settings.mine_types).astype(np.int16)
        grid = np.tile(_BARE, (len(lots), 1))
        grid[:, _FIELD] = np.where(lots < 1.0, mines, EMPTY)
        self.grid[worlds] = grid
        self.tile[worlds] = START_TILE
        self.heading[worlds] = 0
        self.clock[worlds] = 0
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        settings, every = self.settings, np.arange(self.num_envs)
        moves = actions < MOVES
        self.heading = np.where(moves, actions, self.heading)
        front = self.tile + _OFFSETS[self.heading]
        found = self.grid[every, front]
        goes = moves & ((found == EMPTY) | (found == GOAL))
        nearer = np.where(goes, _DISTANCE[self.tile] - _DISTANCE[front], 0)
        self.tile = np.where(goes, front, self.tile)
        tool = np.maximum(actions - MOVES, 0)
        fits = ~moves & (self.tools.fits[tool] == found)
        breaks = fits & (self.tools.leaves[tool] == settings.mine_types)
        left = np.where(breaks, EMPTY, self.tools.leaves[tool])
        self.grid[every[fits], front[fits]] = left[fits]
        self.clock += 1
        there = self.tile == GOAL_TILE
        spent = settings.goal_discount * self.clock / settings.horizon
        rewards = settings.goal_reward * (1.0 - spent) * there + settings.step_reward * nearer
        rewards += settings.tool_reward * fits + settings.break_reward * breaks
        return self._observe(), rewards, there, (self.clock >= settings.horizon) & ~there

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 5"]:
        """Shift right and down, heading after it (x, y), what becomes of the mine in front.

        The last is 0 where nothing happens to it, else 1 + the type that it turns into, K + 1
        where it breaks.
        """
        kinds = self.settings.mine_types
        heading = np.rint(observations[:, 2] * (MOVES - 1)).astype(np.int64)
        moves = actions < MOVES
        heading = np.where(moves, actions, heading)
        toward = DIRECTIONS[heading]
        free = observations[np.arange(len(observations)), 3 + heading] > 0
        shift = toward * (moves & free)[:, None]
        front = observations[:, 7 : 7 + kinds]
        tool = np.maximum(actions - MOVES, 0)
        fits = ~moves & (front.argmax(axis=1) == self.tools.fits[tool]) & front.any(axis=1)
        outcome = np.where(fits, 1 + self.tools.leaves[tool], 0)
        return np.stack([*shift.T, *toward.T, outcome], axis=1).astype(np.float64)

    def expert(self) -> Int64[np.ndarray, " B"]:
        """Clears every mine around it, then goes on right or down, where most is to be cleared.

        A cleared mine earns more than its time costs, a way round does not. Mines beside the way
        are left alone once the time might not suffice for the way itself.
        """
        settings, every = self.settings, np.arange(self.num_envs)
        found = self.grid[every[:, None], self.tile[:, None] + _OFFSETS].astype(np.int64)
        mine = found >= 0
        turn = mine & (np.arange(MOVES) != self.heading[:, None])
        gain = self._gains(found) - _step_cost(settings) * turn
        time = self._axes(found) + turn
        longest = _MOST_STEPS * _DISTANCE[self.tile]
        spare = (self.clock + longest)[:, None] + time <= settings.horizon
        clears = mine & (gain > 0) & spare
        beside = np.where(clears, gain, -np.inf).argmax(axis=1)
        turns = _step_cost(settings) * (self.grid >= 0)
        side = self._gains(self.grid) - turns
        right, down = wealth(side.T.copy(), turns.T.copy())[self.tile, :, every].T
        toward = np.where(clears.any(axis=1), beside, down > right)
        kind = found[every, toward]
        return np.where((kind >= 0) & (toward == self.heading), MOVES + kind, toward)

    def _axes(self, found: Integer[np.ndarray, "B N"]) -> Int64[np.ndarray, "B N"]:
        """Pick-axes that it takes to clear what is there."""
        lower = (found >= 0) & (found < self.settings.mine_types // 2)
        return (found >= 0).astype(np.int64) + lower

    def _gains(self, found: Integer[np.ndarray, "B N"]) -> Float64[np.ndarray, "B N"]:
        """What clearing what is there earns, its time taken off; 0 where there is no mine."""
        settings = self.settings
        each = settings.tool_reward - _step_cost(settings)
        return each * self._axes(found) + settings.break_reward * (found >= 0)

    def info(self) -> dict[str, np.ndarray]:
        """Whether each world stands in its goal."""
        return {"success": self.tile == GOAL_TILE}

    def render(self) -> tuple[UInt8[np.ndarray, "300 300 3"], ...]:
        """A picture of every world, 300 x 300, the start at the top left; mines bear their type."""
        phase = np.arange(self.settings.mine_types)[:, None] / self.settings.mine_types
        mines = 170 + 70 * np.cos(2 * np.pi * (phase + np.arange(3) / 3))
        kinds = np.array([[110, 110, 110], [70, 170, 90], [255, 255, 255]])
        colours = np.concatenate([kinds, mines]).astype(np.uint8)
        pictures = []
        for row, tile, heading in zip(self.grid, self.tile, self.heading, strict=True):
            labels = {(t % SIDE, t // SIDE): str(row[t]) for t in np.flatnonzero(row >= 0).tolist()}
            place = (int(tile) % SIDE, int(tile) // SIDE)
            tiles = colours[row - WALL].reshape(SIDE, SIDE, 3)
            pictures.append(picture(tiles, place, int(heading), labels))
        return tuple(pictures)

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        every = np.arange(self.num_envs)
        around = self.grid[every[:, None], self.tile[:, None] + _OFFSETS]
        front = around[every, self.heading].astype(np.int64)
        shown = np.zeros((self.num_envs, len(self.observation_names)), np.float32)
        shown[:, 0] = (self.tile % SIDE - 1) / (SIDE - 3)
        shown[:, 1] = (self.tile // SIDE - 1) / (SIDE - 3)
        shown[:, 2] = self.heading / (MOVES - 1)
        shown[:, 3:7] = (around == EMPTY) | (around == GOAL)
        mine = front >= 0
        shown[every[mine], 7 + front[mine]] = 1.0
        shown[:, -1] = front == GOAL
        return shown


def make_tools(mine_types: int, tools: int, seed: int) -> Tools:
    """The pick-axes: the own one of each of the K types in order, then further pairs.

    Raises:
        ValueError: fewer than two types, or so many pick-axes that there are not enough pairs.
    """
    lower = mine_types // 2
    upper = mine_types - lower
    if mine_types < 2 or not mine_types <= tools <= lower * upper + upper:
        raise ValueError(
            f"{mine_types} types of mines (at least 2) take {mine_types} to "
            f"{lower * upper + upper} pick-axes, got {tools}"
        )
    generator = np.random.default_rng(seed)
    own = np.concatenate([generator.integers(lower, mine_types, lower), np.full(upper, mine_types)])
    pairs = np.ones((lower, upper), bool)
    pairs[np.arange(lower), own[:lower] - lower] = False
    drawn = generator.permutation(np.flatnonzero(pairs))[: tools - mine_types]
    return Tools(
        np.concatenate([np.arange(mine_types), drawn // upper]),
        np.concatenate([own, lower + drawn % upper]),
    )


def wealth(
    side: Float64[np.ndarray, "100 B"], ahead: Float64[np.ndarray, "100 B"]
) -> Float64[np.ndarray, "100 2 B"]:
    """What an agent earns that clears all around it on the best way right and down to the goal.

    Args:
        side: what clearing each tile earns.
        ahead: what it earns on top where the agent arrives facing it.

    Returns:
        By tile and next move (right, down); the agent has cleared what is around that tile.
    """
    steps = (1, SIDE)
    corner = np.stack([np.roll(side, step, axis=0) for step in steps[::-1]], axis=1)
    corner[GOAL_TILE] = 0.0
    arrived = np.full((TILES, 2, side.shape[1]), -np.inf)
    arrived[GOAL_TILE] = 0.0
    moved = np.full_like(arrived, -np.inf)
    for tile in _INSIDE[-2::-1]:
        right, down = arrived[tile + 1, 0], arrived[tile + SIDE, 1]
        # A corner between two moves of different direction was beside the tile before already.
        moved[tile, 0] = right + corner[tile + 1, 0]
        moved[tile, 1] = down + corner[tile + SIDE, 1]
        both = side[tile + 1] + side[tile + SIDE]
        arrived[tile, 0] = both + ahead[tile + 1] + np.maximum(moved[tile, 0], down)
        arrived[tile, 1] = both + ahead[tile + SIDE] + np.maximum(right, moved[tile, 1])
    return moved


def _step_cost(settings: MiningConfig) -> float:
    """How much less the goal pays a step later."""
    return settings.goal_reward * settings.goal_discount / settings.horizon


def _field() -> Integer[np.ndarray, " 100"]:
    grid = np.full((SIDE, SIDE), WALL, np.int16)
    grid[1:-1, 1:-1] = EMPTY
    grid.flat[GOAL_TILE] = GOAL
    return grid.flatten()


_BARE = _field()
"""The field without mines."""
_FIELD = np.setdiff1d(np.flatnonzero(_BARE == EMPTY), [START_TILE])
"""Tiles that may bear a mine."""
_INSIDE = np.flatnonzero(_BARE != WALL)
_OFFSETS = DIRECTIONS @ (1, SIDE)
"""Moves as shifts of a tile's number."""
_DISTANCE = np.abs(np.stack(np.divmod(np.arange(TILES), SIDE)) - (SIDE - 2)).sum(axis=0)
"""Tiles from each tile to the goal, along both axes."""


def _action_set(tools: Tools, mine_types: int) -> ActionSet:
    """Features in [0, 1]: whether a move, its direction, the type that fits, what is left."""
    features = np.zeros((MOVES + len(tools.fits), 4))
    features[:MOVES, 0] = 1.0
    features[:MOVES, 1] = np.arange(MOVES) / (MOVES - 1)
    features[MOVES:, 2:] = np.stack(tools, axis=1) / mine_types
    axes = (
        f"axe_{fits}_{leaves}" if leaves < mine_types else f"axe_{fits}_breaks"
        for fits, leaves in zip(*tools, strict=True)
    )
    return ActionSet(
        np.arange(len(features), dtype=np.int64),
        names=(*MOVE_NAMES, *axes),
        features=features.astype(np.float32),
        feature_names=("move", "direction", "fits", "leaves"),
    )


def _preset(preset: str | MiningConfig) -> MiningConfig:
    if isinstance(preset, MiningConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown mining grid preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
