"""The gridworld with actuators: 2^n actions that move a point around an L-shaped obstacle.

The small sister of the maze: the same actuators, walls, start and goal, but +1 for the goal, a
price for every collision, and a position that is seen either as it is or as one of 40 x 40 cells.
After Pritz et al. (2021), "Jointly-Trained State-Action Embedding for Efficient
Reinforcement Learning", section 5.1 and appendix A.4.1.

The paper shows walls, start and goal in a figure only and otherwise points to Chandak et al.
(2019). Assumed from there: the geometry, the sub-steps of a move (0.18 at most, where the paper
says 0.2) and the noise, which the paper does not mention (`noise=0` takes it away). A collision is
counted once a step, whether the actuators or the noise caused it; it ends the move.

Observation `[2]` float32: x, y in sides of the square; in the `discrete` preset the centre of the
cell that the point is in. The point itself stays where it is ("we discretize this continuous
coordinate"), so cells hide where in them it stands.
Action: index whose n bits, most significant first, switch the actuators.
Reward: -0.01 each step, -0.05 more for running into a wall or the rim, +1 for the goal.
Ends: terminated in the goal, truncated after `horizon` decisions.
"""

from dataclasses import dataclass, replace
from typing import final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from scipy.sparse import csr_array

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.maze import (
    NOISE_CEILING,
    SUB_STEP,
    SUB_STEPS,
    Box,
    MazeConfig,
    actuator_motions,
)

MOST_ACTUATORS = 14
"""16,384 actions."""
DIGITS = 12
"""Motions are rounded so that actions whose motions are equal on paper are equal in bits."""
PLAN_CELLS = 40
"""Cells a side of the grid on which the expert values places: walls fill whole cells."""
PLAN_GRAIN = 0.1
"""Motions alike to this share of the strongest one are one to the expert."""
PLAN_CHANGE = 1e-5
"""The expert's values are done when no sweep changes one by more."""
SIDE = 400
"""Pixels a side of a picture."""
DOT = 0.01
"""Radius of the point in a picture, in sides of the square."""


_MAZE = MazeConfig()


@dataclass(frozen=True)
class GridworldConfig:
    """Everything that makes one gridworld differ from another."""

    actuators: int = 11
    """n; there are 2^n actions. The paper takes 5, 9 and 11."""
    cells: int | None = None
    """Cells a side of the grid that observations are snapped to; None for none."""
    horizon: int = 150
    """Most decisions of an episode."""
    step_reward: float = -0.01
    """Paid every step."""
    collision_reward: float = -0.05
    """Paid besides in a step that runs into a wall or the rim."""
    goal_reward: float = 1.0
    """Paid besides on reaching the goal, which ends the episode."""
    noise: float = _MAZE.noise
    """Probability that a sub-step is noise instead of the action's motion."""
    start: tuple[float, float] = _MAZE.start
    """Where every episode begins."""
    goal: Box = _MAZE.goal
    walls: tuple[Box, ...] = _MAZE.walls
    random_return: float = float("nan")
    """Measured mean return of uniform actions."""
    best_return: float = float("nan")
    """Measured mean return of the best policy known."""


_CONTINUOUS = GridworldConfig(random_return=-3.27, best_return=0.904)

PRESETS: dict[str, GridworldConfig] = {
    "continuous": _CONTINUOUS,
    "discrete": replace(_CONTINUOUS, cells=40),
}


@final
class Gridworld(AbstractSimulator):
    """B gridworlds.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        actuators: replaces the preset's number of actuators.
        obstacles: False takes the walls away.
        seed: of the noise.

    Raises:
        ValueError: an unknown preset, or actuators outside 1..14.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | GridworldConfig = "continuous",
        actuators: int | None = None,
        obstacles: bool = True,
        seed: int = 0,
    ) -> None:
        stated = _preset(preset)
        settings = replace(
            stated,
            actuators=stated.actuators if actuators is None else actuators,
            walls=stated.walls if obstacles else (),
        )
        n = settings.actuators
        if not 1 <= n <= MOST_ACTUATORS:
            raise ValueError(f"a gridworld has 1 to {MOST_ACTUATORS} actuators, got {n}")
        self.settings = settings
        self.motions = np.round(actuator_motions(n).T, DIGITS) + 0.0
        self.action_set = ActionSet(
            np.arange(2**n, dtype=np.int64),
            names=tuple(f"{action:0{n}b}" for action in range(2**n)),
            features=self.motions.T.astype(np.float32),
            feature_names=("x", "y"),
        )
        self.observation_names = ("x", "y")
        self.horizon = settings.horizon
        measured = settings == stated
        self.random_return = settings.random_return if measured else float("nan")
        self.best_return = settings.best_return if measured else float("nan")
        self._planner: _Planner | None = None
        self.position = np.zeros((2, n_worlds))
        self.clock = np.zeros(n_worlds, np.int64)
        rim = 0.5 / settings.cells if settings.cells else 0.0
        self._open(n_worlds, gym.spaces.Box(rim, 1.0 - rim, (2,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        self.position[:, worlds] = np.array(self.settings.start)[:, None]
        self.clock[worlds] = 0
        return self._observe()

    def advance(
        self, actions: Int64[np.ndarray, " B"]
    ) -> tuple[
        Float32[np.ndarray, "B 2"],
        Float64[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
        Bool[np.ndarray, " B"],
    ]:
        settings = self.settings
        self.clock += 1
        draws = self.draws.uniform(SUB_STEPS * 3).reshape(SUB_STEPS, 3, self.num_envs)
        noisy = draws[:, :1] < settings.noise
        drift = draws[:, 1:] * (SUB_STEP * NOISE_CEILING)
        shifts = np.where(noisy, drift, SUB_STEP * self.motions.take(actions, axis=1))
        self.position, collided, reached = walk(settings, self.position, shifts)
        rewards = settings.step_reward + settings.collision_reward * collided
        rewards += settings.goal_reward * reached
        return self._observe(), rewards, reached, (self.clock >= self.horizon) & ~reached

    def allowed(self) -> None:
        return None

    def effects(
        self, observations: Float32[np.ndarray, "B 2"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 3"]:
        """Displacement without noise, in sides of the square, and whether it collides (0 or 1).

        Where cells are observed the point is taken to stand in the middle of its cell.
        """
        position = observations.T.astype(np.float64)
        shifts = np.broadcast_to(SUB_STEP * self.motions[:, actions], (SUB_STEPS, *position.shape))
        ends, collided, _ = walk(self.settings, position, shifts)
        return np.column_stack([*(ends - position), collided])

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The action with the greatest expected value, by values of places computed beforehand.

        It knows the position also where only cells are observed.
        """
        if self._planner is None:
            self._planner = _Planner(self.settings, self.motions)
        return self._planner.choose(self.position)

    def render(self) -> tuple[UInt8[np.ndarray, "400 400 3"], ...]:
        """A picture of every world, y upwards; the observed cell shaded, if there are cells."""
        axis = (np.arange(SIDE) + 0.5) / SIDE
        grid = np.stack(np.meshgrid(axis, axis[::-1])).reshape(2, -1)
        base = np.full((SIDE**2, 3), 255, np.uint8)
        base[~free(self.settings, grid)] = (60, 60, 60)
        base[self.settings.goal.holds(grid.T)] = (60, 160, 90)
        pictures = []
        for place, seen in zip(self.position.T, self._observe(), strict=True):
            picture = base.copy()
            if self.settings.cells:
                offset = np.abs(grid - seen.astype(np.float64)[:, None])
                picture[(offset < 0.5 / self.settings.cells).all(axis=0)] = (160, 190, 240)
            picture[((grid.T - place) ** 2).sum(axis=1) < DOT**2] = (200, 50, 50)
            pictures.append(picture.reshape(SIDE, SIDE, 3))
        return tuple(pictures)

    def _observe(self) -> Float32[np.ndarray, "B 2"]:
        seen = self.position
        if self.settings.cells:
            index = np.minimum(np.floor(seen * self.settings.cells), self.settings.cells - 1)
            seen = (index + 0.5) / self.settings.cells
        return seen.T.astype(np.float32, order="C")


def free(
    settings: GridworldConfig, positions: Float64[np.ndarray, "2 N"]
) -> Bool[np.ndarray, " N"]:
    """Inside the square and outside every wall."""
    x, y = positions
    inside = (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0)
    for wall in settings.walls:
        inside &= ~wall.holds(positions.T)
    return inside


def walk(
    settings: GridworldConfig,
    starts: Float64[np.ndarray, "2 N"],
    shifts: Float64[np.ndarray, "K 2 N"],
) -> tuple[Float64[np.ndarray, "2 N"], Bool[np.ndarray, " N"], Bool[np.ndarray, " N"]]:
    """K sub-steps one after another: ends, who ran into something, who is in the goal.

    A blocked sub-step is not made and drops those that follow, and so does the goal.
    """
    position = starts.copy()
    reached = settings.goal.holds(position.T)
    going = ~reached
    collided = np.zeros_like(going)
    for shift in shifts:
        target = position + shift
        clear = free(settings, target)
        collided |= going & ~clear
        going &= clear
        np.copyto(position, target, where=going)
        reached |= going & settings.goal.holds(target.T)
        going &= ~reached
    return position, collided, reached


@final
class _Planner:
    """Values of places by value iteration on a grid, and the action that leads to the best ones.

    Noise is thought of as its mean, and as striking at most once a step.
    """

    def __init__(self, settings: GridworldConfig, motions: Float64[np.ndarray, "2 A"]) -> None:
        self.settings = settings
        strong_first = np.argsort(-np.hypot(*motions), kind="stable")
        lattice = np.round(motions[:, strong_first].T / PLAN_GRAIN) + 0.0
        self.actions = strong_first[np.unique(lattice, axis=0, return_index=True)[1]]
        self.shifts, self.weights = _patterns(settings.noise, motions[:, self.actions])
        axis = (np.arange(PLAN_CELLS) + 0.5) / PLAN_CELLS
        self.places = np.stack(np.meshgrid(axis, axis, indexing="ij")).reshape(2, -1)
        self.open = free(settings, self.places)
        self.values = self._iterate()

    def choose(self, positions: Float64[np.ndarray, "2 B"]) -> Int64[np.ndarray, " B"]:
        """The best action in each position."""
        paid, ahead = self._outcomes(positions)
        expected = (paid + ahead @ self.values).reshape(positions.shape[1], -1)
        return self.actions[expected.argmax(axis=1)]

    def _iterate(self) -> Float64[np.ndarray, " cells"]:
        settings = self.settings
        goal = settings.goal.holds(self.places.T)
        going = np.flatnonzero(self.open & ~goal)
        values = np.where(goal, settings.goal_reward, settings.horizon * settings.step_reward)
        paid, ahead = self._outcomes(self.places[:, going])
        for _ in range(settings.horizon):
            better = (paid + ahead @ values).reshape(len(going), -1).max(axis=1)
            change = np.abs(better - values[going]).max()
            values[going] = better
            if change < PLAN_CHANGE:
                break
        return values

    def _outcomes(
        self, positions: Float64[np.ndarray, "2 N"]
    ) -> tuple[Float64[np.ndarray, " NK"], csr_array]:
        """Expected payment of every candidate, and weights `[N*K, cells]` of where it leads."""
        settings, n_actions = self.settings, len(self.actions)
        starts = np.repeat(positions, n_actions, axis=1)
        paid = np.full(starts.shape[1], settings.step_reward)
        ahead = csr_array((starts.shape[1], PLAN_CELLS**2))
        for shifts, weight in zip(self.shifts, self.weights, strict=True):
            moves = np.tile(shifts, positions.shape[1])
            ends, collided, reached = walk(settings, starts, moves)
            paid += weight * (settings.collision_reward * collided + settings.goal_reward * reached)
            ahead += self._between(ends, weight * ~reached)
        return paid, ahead

    def _between(
        self, positions: Float64[np.ndarray, "2 N"], weights: Float64[np.ndarray, " N"]
    ) -> csr_array:
        """Weights `[N, cells]` of the open cells around each position, bilinear."""
        where = positions * PLAN_CELLS - 0.5
        corner = np.clip(np.floor(where), 0, PLAN_CELLS - 2).astype(np.int64)
        share = np.clip(where - corner, 0.0, 1.0)
        cells, shares = [], []
        for right, up in ((0, 0), (0, 1), (1, 0), (1, 1)):
            cells.append((corner[0] + right) * PLAN_CELLS + corner[1] + up)
            across = share[0] if right else 1 - share[0]
            shares.append(across * (share[1] if up else 1 - share[1]) * self.open[cells[-1]])
        columns, table = np.stack(cells, axis=1), np.stack(shares, axis=1)
        table *= (weights / table.sum(axis=1))[:, None]
        rows = np.arange(0, columns.size + 1, columns.shape[1])
        return csr_array((table.ravel(), columns.ravel(), rows), (len(columns), PLAN_CELLS**2))


def _patterns(
    noise: float, motions: Float64[np.ndarray, "2 A"]
) -> tuple[Float64[np.ndarray, "P K 2 A"], Float64[np.ndarray, " P"]]:
    """Sub-steps without noise, or with its mean in one place of K; and their probabilities."""
    quiet = np.broadcast_to(SUB_STEP * motions, (SUB_STEPS, *motions.shape))
    patterns = np.stack([quiet] * (SUB_STEPS + 1))
    patterns[np.arange(SUB_STEPS) + 1, np.arange(SUB_STEPS)] = SUB_STEP * NOISE_CEILING / 2
    weights = np.array([1 - noise, *[noise] * SUB_STEPS])
    return patterns, weights / weights.sum()


def _preset(preset: str | GridworldConfig) -> GridworldConfig:
    if isinstance(preset, GridworldConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown gridworld preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
