"""The policies that write logs, with the exact probability of every draw, and `collect`.

A log whose imitation is already optimal says nothing about offline learning, so the mixtures here
are of poor policies that disagree, under much uniform noise. What a policy keeps in mind during an
episode (its way-point, the part of a mixture) is not in the log: the propensity is the probability
given all of it, which is the one that importance weighting needs.
"""

from collections.abc import Callable, Sequence
from typing import final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from scipy.spatial.distance import cdist

from offline_actrep.core.actions import ActionSet, AllowedActions, refuse_empty
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.rollout import Transitions, play


def _uniform(
    rows: int, n_actions: int, generator: np.random.Generator, allowed: AllowedActions | None
) -> Int64[np.ndarray, " B"]:
    if allowed is None:
        return generator.integers(n_actions, size=rows)
    counts = allowed.counts
    refuse_empty(counts > 0)
    return allowed.indices[allowed.offsets[:-1] + generator.integers(counts)]


def _uniform_probability(
    actions: Int64[np.ndarray, " B"], n_actions: int, allowed: AllowedActions | None
) -> Float64[np.ndarray, " B"]:
    if allowed is None:
        return np.full(len(actions), 1 / n_actions)
    counts = allowed.counts
    refuse_empty(counts > 0)
    return allowed.holds(actions) / counts


@final
class Uniform(AbstractBehaviour):
    """Every action with the same probability."""

    def __init__(self, action_set: ActionSet) -> None:
        self.action_set = action_set

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        actions = _uniform(len(observations), len(self.action_set), generator, allowed)
        return actions, self.probability(observations, actions, allowed)

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        del observations
        return _uniform_probability(actions, len(self.action_set), allowed)


@final
class Greedy(AbstractBehaviour):
    """Always what a policy chooses, e.g. a checkpoint of an online learner."""

    def __init__(self, policy: AbstractPolicy) -> None:
        self.action_set, self.policy = policy.action_set, policy

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        del generator
        return self.policy.choose(observations, allowed), np.ones(len(observations))

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        return (self.policy.choose(observations, allowed) == actions).astype(np.float64)


@final
class WayPoints(AbstractBehaviour):
    """Heads for one way-point after another with actions whose motion is aligned with the way.

    Works in any world whose first two observations are a position and whose action features are
    motions `[A, 2]`. A way-point counts as reached within `reach`.

    Args:
        action_set: with motions as features.
        route: way-points `[K, 2]` in order, the last one for good; None for points drawn uniformly
            from the square, a new one when one is reached and, against getting stuck, with
            probability `restless` each step.
        best: draws uniformly among this many best-aligned actions.
    """

    def __init__(
        self,
        action_set: ActionSet,
        route: Sequence[tuple[float, float]] | None,
        *,
        best: int,
        reach: float = 0.06,
        restless: float = 0.07,
    ) -> None:
        if action_set.features is None or action_set.features.shape[1] != 2:
            raise ValueError(
                "the maze's behaviours go from way-point to way-point and need an action set whose "
                "features are motions [A, 2]; this one's are not: take the behaviour 'uniform'"
            )
        if not 1 <= best <= len(action_set):
            raise ValueError(f"best draws among 1..{len(action_set)} actions, got {best}")
        self.action_set = action_set
        self.motions = action_set.features
        self.route = None if route is None else np.asarray(route, np.float64)
        self.best, self.reach, self.restless = best, reach, restless
        self.target = np.zeros((0, 2))
        self.leg = np.zeros(0, np.int64)

    def begin(self, worlds: Bool[np.ndarray, " B"], generator: np.random.Generator) -> None:
        if len(self.target) != len(worlds):
            self.target = np.zeros((len(worlds), 2))
            self.leg = np.zeros(len(worlds), np.int64)
        drawn = generator.random((len(worlds), 2))
        self.leg[worlds] = 0
        self.target[worlds] = drawn[worlds] if self.route is None else self.route[0]

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        _refuse_mask(allowed)
        position = observations[:, :2].astype(np.float64)
        reached = np.linalg.norm(self.target - position, axis=1) < self.reach
        if self.route is None:
            bored = generator.random(len(position)) < self.restless
            fresh = generator.random((len(position), 2))
            self.target = np.where((reached | bored)[:, None], fresh, self.target)
        else:
            self.leg = np.minimum(self.leg + reached, len(self.route) - 1)
            self.target = self.route[self.leg]
        candidates = self._aligned(position)
        pick = generator.integers(self.best, size=len(position))
        actions = candidates[np.arange(len(position)), pick]
        return actions, np.full(len(position), 1 / self.best)

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        _refuse_mask(allowed)
        aligned = self._aligned(observations[:, :2].astype(np.float64))
        return (aligned == actions[:, None]).any(axis=1) / self.best

    def _aligned(self, position: Float64[np.ndarray, "B 2"]) -> Int64[np.ndarray, "B best"]:
        way = (self.target - position).astype(np.float32)
        way /= np.linalg.norm(way, axis=1, keepdims=True) + 1e-6
        gain = way @ self.motions.T
        if self.best == 1:
            return gain.argmax(axis=1)[:, None]
        if self.best == gain.shape[1]:
            return np.tile(np.arange(self.best), (len(gain), 1))
        return np.argpartition(-gain, self.best, axis=1)[:, : self.best]


def _refuse_mask(allowed: AllowedActions | None) -> None:
    if allowed is not None:
        raise ValueError("this behaviour chooses among all actions, the world forbids some")


@final
class EpisodeMixture(AbstractBehaviour):
    """One of several policies for a whole episode, drawn with the given weights."""

    def __init__(self, parts: Sequence[AbstractBehaviour], weights: Sequence[float]) -> None:
        if len(parts) != len(weights) or not np.isclose(sum(weights), 1.0):
            raise ValueError(f"{len(parts)} parts need as many weights summing to 1: {weights}")
        self.action_set = parts[0].action_set
        for number, part in enumerate(parts):
            part.action_set.must_equal(self.action_set, f"part {number}", "part 0")
        self.parts, self.weights = tuple(parts), np.asarray(weights, np.float64)
        self.part = np.zeros(0, np.int64)

    def begin(self, worlds: Bool[np.ndarray, " B"], generator: np.random.Generator) -> None:
        if len(self.part) != len(worlds):
            self.part = np.zeros(len(worlds), np.int64)
        drawn = generator.choice(len(self.parts), size=len(worlds), p=self.weights)
        self.part = np.where(worlds, drawn, self.part)
        for part in self.parts:
            part.begin(worlds, generator)

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        drawn = [part.draw(observations, generator, allowed) for part in self.parts]
        actions = self._own([actions for actions, _ in drawn])
        return actions, self._own([p for _, p in drawn])

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        each = [part.probability(observations, actions, allowed) for part in self.parts]
        return self._own(each)

    def _own(self, of_parts: list[np.ndarray]) -> np.ndarray:
        """What each world's own part says."""
        return np.stack(of_parts)[self.part, np.arange(len(self.part))]


@final
class Noisy(AbstractBehaviour):
    """A policy whose choice is replaced by a uniform one with probability `share`."""

    def __init__(self, inner: AbstractBehaviour, share: float) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"the share of noise lies in [0, 1], got {share}")
        self.action_set = inner.action_set
        self.inner, self.share = inner, share

    def begin(self, worlds: Bool[np.ndarray, " B"], generator: np.random.Generator) -> None:
        self.inner.begin(worlds, generator)

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        meant, _ = self.inner.draw(observations, generator, allowed)
        noise = _uniform(len(meant), len(self.action_set), generator, allowed)
        actions = np.where(generator.random(len(meant)) < self.share, noise, meant)
        return actions, self.probability(observations, actions, allowed)

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        uniform = _uniform_probability(actions, len(self.action_set), allowed)
        meant = self.inner.probability(observations, actions, allowed)
        return self.share * uniform + (1 - self.share) * meant


@final
class Expert(AbstractBehaviour):
    """The scripted policy of the world itself: the best known, no rival (it may see hidden state).

    Args:
        world: the very one that is played.
    """

    def __init__(self, world: AbstractSimulator) -> None:
        self.world, self.action_set = world, world.action_set

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        del generator, allowed
        return self.world.expert(), np.ones(len(observations))

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        del observations, allowed
        return (self.world.expert() == actions).astype(np.float64)


@final
class NearExpert(AbstractBehaviour):
    """Draws among the actions whose external features are nearest to the expert's action.

    It knows what to do roughly: near the best, where features tell what actions do, and mostly
    wrong where a small difference matters. The distance is l1 on standardised features.

    Args:
        world: the very one that is played; its actions have features.
        best: draws uniformly among this many nearest actions, the expert's own included.

    Raises:
        ValueError: actions without features, or more of them asked for than there are.
    """

    def __init__(self, world: AbstractSimulator, best: int) -> None:
        features = world.action_set.features
        if features is None:
            raise ValueError("a near-expert needs an action set with features [A, F]")
        if not 1 <= best <= len(features):
            raise ValueError(f"best draws among 1..{len(features)} actions, got {best}")
        deviation = features.std(axis=0)
        self.world, self.action_set, self.best = world, world.action_set, best
        self.places = features / np.where(deviation > 0, deviation, 1.0)

    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        del observations
        _refuse_mask(allowed)
        near = self._near()
        pick = generator.integers(self.best, size=len(near))
        return near[np.arange(len(near)), pick], np.full(len(near), 1 / self.best)

    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        del observations
        _refuse_mask(allowed)
        return (self._near() == actions[:, None]).any(axis=1) / self.best

    def _near(self) -> Int64[np.ndarray, "B best"]:
        """Ties are broken by the lower index, so that equal states have equal candidates."""
        wished, owner = np.unique(self.world.expert(), return_inverse=True)
        away = cdist(self.places[wished], self.places, "cityblock")
        away[np.arange(len(wished)), wished] = -1.0
        return np.argsort(away, axis=1, kind="stable")[:, : self.best][owner]


MAZE_ROUTE = ((0.65, 0.15), (0.725, 0.875), (0.52, 0.90), (0.40, 0.85), (0.275, 0.475))
"""Right, up through the bonus, over the wall, left and down into the goal."""


def maze_wanderer(action_set: ActionSet) -> AbstractBehaviour:
    """Wanders between random points with the best-aligned action."""
    return WayPoints(action_set, None, best=1)


def maze_follower(action_set: ActionSet) -> AbstractBehaviour:
    """Follows the route loosely: draws among the quarter of all actions that are best aligned.

    By itself it gets there; the noise of a mixture makes a poor player of it.
    """
    return WayPoints(action_set, MAZE_ROUTE, best=len(action_set) // 4)


def maze_mixture(action_set: ActionSet) -> AbstractBehaviour:
    """70 % of episodes wander between random points, 30 % follow the route loosely; half noise."""
    parts = (maze_wanderer(action_set), maze_follower(action_set))
    return Noisy(EpisodeMixture(parts, (0.7, 0.3)), 0.5)


def maze_expert(action_set: ActionSet) -> AbstractBehaviour:
    """Follows the route with the best-aligned action and no noise; near the best known, which is
    the maze's own `expert`."""
    return WayPoints(action_set, MAZE_ROUTE, best=1)


BEHAVIOURS: dict[str, Callable[[ActionSet], AbstractBehaviour]] = {
    "uniform": Uniform,
    "maze_wanderer": maze_wanderer,
    "maze_follower": maze_follower,
    "maze_mixture": maze_mixture,
    "maze_expert": maze_expert,
}


def make_behaviour(name: str, action_set: ActionSet) -> AbstractBehaviour:
    """The named behaviour.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """
    if name not in BEHAVIOURS:
        raise ValueError(f"unknown behaviour {name!r}; there are {', '.join(sorted(BEHAVIOURS))}")
    return BEHAVIOURS[name](action_set)


def collect(behaviour: AbstractBehaviour, world: AbstractSimulator, *, rows: int, seed: int) -> Log:
    """A log of at least `rows` rows, whole episodes only, propensities included.

    Every world contributes the same number of episodes, so that the cut favours neither short nor
    long ones.

    Raises:
        ValueError: fewer than one row asked for.
    """
    if rows < 1:
        raise ValueError(f"at least one row is needed, got {rows}")
    played: list[Transitions] = []
    begun: list[Int64[np.ndarray, " B"]] = []
    finished = np.zeros(world.num_envs, np.int64)
    rows_of_round = np.zeros(rows + 1, np.int64)
    for transitions in play(behaviour, world, seed=seed):
        played.append(transitions)
        begun.append(finished)
        np.add.at(rows_of_round, np.minimum(finished, rows), 1)
        finished = finished + (transitions.terminated | transitions.truncated)
        rounds = int(finished.min())
        if rows_of_round[:rounds].sum() >= rows:
            return _log(played, np.stack(begun) < rounds, world)
    raise AssertionError("play never ends")


def _log(
    played: Sequence[Transitions], kept: Bool[np.ndarray, "T B"], world: AbstractSimulator
) -> Log:
    def column(name: str) -> np.ndarray:
        steps = np.stack([getattr(row, name) for row in played])
        return np.concatenate([steps[kept[:, b], b] for b in range(world.num_envs)])

    terminated, truncated = column("terminated"), column("truncated")
    offsets = np.concatenate([[0], np.flatnonzero(terminated | truncated) + 1]).astype(np.int64)
    allowed = None
    if played[0].allowed is not None:
        every = AllowedActions.stack([row.allowed for row in played if row.allowed is not None])
        steps = np.arange(kept.size).reshape(kept.shape)
        allowed = every.take(steps.T[kept.T])
    return Log(
        action_set=world.action_set,
        observations=column("observations"),
        actions=column("actions"),
        rewards=column("rewards").astype(np.float32),
        terminated=terminated,
        truncated=truncated,
        next_observations=column("next_observations"),
        has_next=np.ones(len(terminated), bool),
        episode_offsets=offsets,
        episode_ids=np.arange(len(offsets) - 1),
        action_probabilities=column("probabilities"),
        allowed=allowed,
        observation_names=world.observation_names,
    )
