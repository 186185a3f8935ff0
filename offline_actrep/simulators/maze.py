"""The maze with actuators: 2^n discrete actions that move a point in the unit square.

n actuators stand at equal angles; an action switches any of them on and moves the point along the
sum of their unit vectors, scaled so that the strongest action has length 1. The way from the start
to the goal leads right, up over a wall and left again. After Chandak et al. (2019), "Learning
Action Representations for Reinforcement Learning"; rewards of the `paper` preset from Gu et al.
(2022), appendix A.4. In the multi-step form an action is a plan of base moves, executed open loop.

Observation `[S]` float32: x, y in sides of the square, then one 0/1 flag for every region whose
bonus is paid once (without it the world would not be Markov).
Action: index whose n bits, most significant first, switch the actuators (base-4 digits: a plan).
Reward: step cost each base move, region rewards on entry, the goal's reward with the end.
Ends: terminated in the goal, truncated after `horizon` decisions.
"""

from dataclasses import dataclass
from typing import final

import gymnasium as gym
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.simulator import AbstractSimulator, Outcome

SUB_STEP = 0.045
"""Length of a full-strength sub-step, in sides of the square: shorter than a wall is thick."""
SUB_STEPS = 4
"""Sub-steps of one base move: floor(0.2 / SUB_STEP)."""
NOISE_CEILING = 1 / 1.415
"""Noise is uniform in [0, NOISE_CEILING) on both axes: it drifts to the upper right."""
CELLS = 40
"""Cells a side of the grid on which the expert measures its way."""


@dataclass(frozen=True)
class Box:
    """A closed axis-aligned rectangle, in sides of the square."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def holds(self, positions: Float64[np.ndarray, "B 2"]) -> Bool[np.ndarray, " B"]:
        """Which positions lie inside."""
        x, y = positions[:, 0], positions[:, 1]
        return (x >= self.x_low) & (x <= self.x_high) & (y >= self.y_low) & (y <= self.y_high)


@dataclass(frozen=True)
class Region:
    """A rectangle that pays on entry; `once` pays only the first time in an episode."""

    box: Box
    reward: float
    once: bool


@dataclass(frozen=True)
class MazeConfig:
    """Everything that makes one maze differ from another."""

    actuators: int = 12
    """n; there are 2^n actions. Ignored by plans."""
    plan_length: int = 1
    """Base moves an action; above 1 the actions are all plans of the four unit moves."""
    horizon: int = 60
    """Most decisions of an episode."""
    step_cost: float = 0.0
    """Paid every base move (negative costs)."""
    goal_reward: float = 100.0
    """Paid on reaching the goal, which ends the episode."""
    noise: float = 0.1
    """Probability that a sub-step is noise instead of the action's motion."""
    idle_last_step: bool = False
    """The original's step counter: the last decision moves nothing and pays nothing."""
    start: tuple[float, float] = (0.25, 0.10)
    """Where every episode begins."""
    goal: Box = Box(0.25, 0.30, 0.45, 0.50)
    walls: tuple[Box, ...] = (Box(0.0, 0.50, 0.25, 0.30), Box(0.50, 0.55, 0.25, 0.80))
    regions: tuple[Region, ...] = ()
    random_return: float = float("nan")
    """Measured mean return of uniform actions."""
    best_return: float = float("nan")
    """Measured mean return of the best policy known."""

    def __post_init__(self) -> None:
        if self.plan_length < 1 or self.horizon < 1:
            raise ValueError(
                "a maze needs a plan_length and a horizon of 1 or more, got "
                f"{self.plan_length} and {self.horizon}"
            )
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise is a probability, got {self.noise}")
        start = np.array([self.start])
        square = Box(0.0, 1.0, 0.0, 1.0)
        if not square.holds(start)[0] or any(wall.holds(start)[0] for wall in self.walls):
            raise ValueError(f"a maze starts inside the square and in no wall, got {self.start}")


_REGIONS = (
    Region(Box(0.70, 0.75, 0.85, 0.90), 10.0, once=True),
    Region(Box(0.90, 0.95, 0.05, 0.10), -20.0, once=False),
)

PRESETS: dict[str, MazeConfig] = {
    "paper": MazeConfig(regions=_REGIONS, random_return=-2.4, best_return=110.0),
    "chandak": MazeConfig(
        horizon=150,
        step_cost=-0.05,
        idle_last_step=True,
        random_return=-7.39,
        best_return=99.5,
    ),
    "plans": MazeConfig(
        plan_length=6,
        horizon=10,
        regions=_REGIONS,
        random_return=-5.5,
        best_return=98.7,
    ),
}


@final
class Maze(AbstractSimulator):
    """B mazes.

    Args:
        n_worlds: B.
        preset: a name in `PRESETS`, or a config of one's own.
        actuators: replaces the preset's number of actuators.
        seed: of the generator that draws the noise.

    Raises:
        ValueError: an unknown preset, or actuators outside 1..16.
    """

    def __init__(
        self,
        n_worlds: int = 1,
        *,
        preset: str | MazeConfig = "paper",
        actuators: int | None = None,
        seed: int = 0,
    ) -> None:
        settings = _preset(preset)
        n = settings.actuators if actuators is None else actuators
        if not 1 <= n <= 16:
            raise ValueError(f"a maze has 1 to 16 actuators, got {n}")
        self.settings = settings
        self.motions = (
            actuator_motions(n)[:, None] if settings.plan_length == 1 else plans(settings)
        )
        self.action_set = ActionSet(
            np.arange(len(self.motions), dtype=np.int64),
            features=self.motions.reshape(len(self.motions), -1).astype(np.float32),
            feature_names=tuple(
                f"{axis}{move}" for move in range(settings.plan_length) for axis in "xy"
            ),
        )
        self.horizon = settings.horizon
        measured = settings.plan_length > 1 or n == settings.actuators
        self.random_return = settings.random_return if measured else float("nan")
        self.best_return = settings.best_return if measured else float("nan")
        self._ways: list[np.ndarray] = []
        self._paid_once = [k for k, region in enumerate(settings.regions) if region.once]
        self.observation_names = ("x", "y", *(f"paid_{k}" for k in self._paid_once))
        size = 2 + len(self._paid_once)
        self.position = np.zeros((n_worlds, 2))
        self.paid = np.zeros((n_worlds, len(settings.regions)), bool)
        self.clock = np.zeros(n_worlds, np.int64)
        self._open(n_worlds, gym.spaces.Box(0.0, 1.0, (size,), np.float32), seed)
        self.restart(np.ones(n_worlds, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.position[worlds] = self.settings.start
        self.paid[worlds] = False
        self.clock[worlds] = 0
        return self._observe()

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        settings, n_worlds, moves = self.settings, self.num_envs, self.motions.shape[1]
        self.clock += 1
        late = self.clock >= settings.horizon
        idle = late if settings.idle_last_step else np.zeros(n_worlds, bool)
        draws = self.draws.uniform(moves * SUB_STEPS * 3).reshape(moves, SUB_STEPS, 3, n_worlds)
        rewards = np.zeros(n_worlds)
        reached = np.zeros(n_worlds, bool)
        for move in range(moves):
            going = ~reached & ~idle
            rewards += settings.step_cost * going
            for draw in draws[move]:
                noisy = (draw[0] < settings.noise)[:, None]
                drift = draw[1:].T * NOISE_CEILING
                motion = np.where(noisy, drift, self.motions[actions, move])
                target = self.position + SUB_STEP * motion
                going = going & self.free(target)
                self._enter(target, going, rewards)
                self.position = np.where(going[:, None], target, self.position)
                arrived = going & settings.goal.holds(target)
                rewards += settings.goal_reward * arrived
                reached |= arrived
                going = going & ~arrived
        return self._observe(), rewards, reached, late & ~reached

    def _enter(
        self,
        target: Float64[np.ndarray, "B 2"],
        going: Bool[np.ndarray, " B"],
        rewards: Float64[np.ndarray, " B"],
    ) -> None:
        for k, region in enumerate(self.settings.regions):
            inside = going & region.box.holds(target)
            if inside.any():
                entered = inside & ~region.box.holds(self.position)
                pays = entered & ~(self.paid[:, k] & region.once)
                rewards += region.reward * pays
                self.paid[:, k] |= entered

    def allowed(self) -> None:
        return None

    def free(self, positions: Float64[np.ndarray, "B 2"]) -> Bool[np.ndarray, " B"]:
        """Inside the square and outside every wall."""
        x, y = positions[:, 0], positions[:, 1]
        free = (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0)
        for wall in self.settings.walls:
            free &= ~wall.holds(positions)
        return free

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B 2"]:
        """True displacement without noise, in sides of the square: the ground truth of a probe."""
        return self._shift(observations[:, :2].astype(np.float64), self.motions[actions])

    def _shift(
        self, start: Float64[np.ndarray, "B 2"], motions: Float64[np.ndarray, "B L 2"]
    ) -> Float64[np.ndarray, "B 2"]:
        position = start.copy()
        for move in range(motions.shape[1]):
            going = ~self.settings.goal.holds(position)
            for _ in range(SUB_STEPS):
                target = position + SUB_STEP * motions[:, move]
                going = going & self.free(target)
                position = np.where(going[:, None], target, position)
                going = going & ~self.settings.goal.holds(position)
        return position - start

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The action whose undisturbed end is nearest the goal, along the way that is free.

        Single moves fetch an unpaid bonus first; plans are too coarse to aim at one.
        """
        distinct, owner = np.unique(self.motions, axis=0, return_index=True)
        if not len(self._ways):
            self._ways = self._distances()
        chosen = np.zeros(self.num_envs, np.int64)
        for world in range(self.num_envs):
            ends = np.repeat(self.position[world : world + 1], len(distinct), axis=0)
            ends = ends + self._shift(ends, distinct)
            detour = self.settings.plan_length == 1 and not self.paid[world, self._paid_once].all()
            to_go = self._ways[int(detour)]
            chosen[world] = owner[to_go[_cells(ends)].argmin()]
        return chosen

    def _distances(self) -> list[Float64[np.ndarray, " cells"]]:
        """Free way from every cell to the goal; and to the goal through the unpaid bonuses."""
        goal = _centre(self.settings.goal)
        direct = self._way(goal)
        through = direct
        for k in self._paid_once:
            bonus = _centre(self.settings.regions[k].box)
            through = self._way(bonus) + direct[_cells(bonus[None])[0]]
        return [direct, through]

    def _way(self, target: Float64[np.ndarray, "2"]) -> Float64[np.ndarray, " cells"]:
        axis = (np.arange(CELLS) + 0.5) / CELLS
        places = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        free = np.flatnonzero(self.free(places))
        steps = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2)]
        pairs = []
        for step in np.array(steps) / CELLS:
            ends = places[free] + step
            kept = self.free(ends) & self.free(places[free] + step / 2)
            pairs.append((free[kept], _cells(ends[kept]), np.full(kept.sum(), np.hypot(*step))))
        rows, columns, lengths = (np.concatenate(part) for part in zip(*pairs, strict=True))
        graph = coo_array((lengths, (rows, columns)), shape=(CELLS**2, CELLS**2)).tocsr()
        return dijkstra(graph, directed=False, indices=_cells(target[None])[0])

    def render(self) -> tuple[UInt8[np.ndarray, "200 200 3"], ...]:
        """A picture of every world, 200 x 200, y upwards."""
        axis = (np.arange(200) + 0.5) / 200
        grid = np.stack(np.meshgrid(axis, axis[::-1]), axis=-1).reshape(-1, 2)
        base = np.full((len(grid), 3), 255, np.uint8)
        base[~self.free(grid)] = (60, 60, 60)
        base[self.settings.goal.holds(grid)] = (60, 160, 90)
        for region in self.settings.regions:
            base[region.box.holds(grid)] = (240, 190, 60) if region.reward > 0 else (210, 90, 80)
        pictures = []
        for place in self.position:
            picture = base.copy()
            picture[((grid - place) ** 2).sum(axis=1) < 0.012**2] = (40, 90, 200)
            pictures.append(picture.reshape(200, 200, 3))
        return tuple(pictures)

    def _observe(self) -> Float32[np.ndarray, "B S"]:
        flags = self.paid[:, self._paid_once]
        return np.concatenate([self.position, flags], axis=1).astype(np.float32)


def actuator_motions(n: int) -> Float64[np.ndarray, "A 2"]:
    """Motion of each of the 2^n actions; the longest has length 1."""
    angles = 2 * np.pi * np.arange(n) / n
    vectors = np.round(np.stack([np.cos(angles), np.sin(angles)], axis=1), 3)
    switched = (np.arange(2**n)[:, None] >> np.arange(n)[::-1]) & 1
    raw = switched @ vectors
    return raw / np.linalg.norm(raw, axis=1).max()


def _cells(positions: Float64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """The cell of the expert's grid that each position lies in."""
    column = np.clip((positions * CELLS).astype(np.int64), 0, CELLS - 1)
    return column[:, 0] * CELLS + column[:, 1]


def _centre(box: Box) -> Float64[np.ndarray, "2"]:
    return np.array([(box.x_low + box.x_high) / 2, (box.y_low + box.y_high) / 2])


BASE_MOVES = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
"""Down, right, up, left: the digits of a plan."""


def plans(settings: MazeConfig) -> Float64[np.ndarray, "A L 2"]:
    """The moves of all 4^L plans; the first move is the most significant base-4 digit."""
    length = settings.plan_length
    digits = (np.arange(4**length)[:, None] // 4 ** np.arange(length)[::-1]) % 4
    return BASE_MOVES[digits]


def _preset(preset: str | MazeConfig) -> MazeConfig:
    if isinstance(preset, MazeConfig):
        return preset
    if preset not in PRESETS:
        raise ValueError(f"unknown maze preset {preset!r}; there are {', '.join(PRESETS)}")
    return PRESETS[preset]
