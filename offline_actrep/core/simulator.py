"""A batch of worlds stepped at once; gymnasium's vector contract on top of two primitives."""

from abc import abstractmethod
from typing import Any, ClassVar, final

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.draws import Draws

Outcome = tuple[
    Float32[np.ndarray, "B S"],
    Float64[np.ndarray, " B"],
    Bool[np.ndarray, " B"],
    Bool[np.ndarray, " B"],
]
"""Of one decision in every world: observations, rewards, terminated, truncated."""


class AbstractSimulator(gym.vector.VectorEnv):
    """B worlds of one kind.

    A world gives `restart` and `advance`; `reset` and `step` are gymnasium's, with next-step
    autoreset (gymnasium 1.0: the step after an end ignores its action and returns a fresh start).
    Observations are copies: what was returned never changes. World b draws from its own stream, so
    its life depends on the seed, on b and on its own actions, never on B or on other worlds.

    Attributes:
        action_set: the catalogue, with external features where the world has them.
        observation_names: a name a column of the observation.
        horizon: most decisions of an episode.
        random_return: mean undiscounted return of uniformly random actions.
        best_return: mean undiscounted return of the best policy known.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}

    action_set: ActionSet
    observation_names: tuple[str, ...]
    horizon: int
    random_return: float
    best_return: float
    draws: Draws
    single_observation_space: gym.spaces.Box
    _ended: Bool[np.ndarray, " B"]

    @final
    def _open(self, n_worlds: int, observation_space: gym.spaces.Box, seed: int) -> None:
        """Sets what gymnasium asks of a vector environment; every world calls it once."""
        if n_worlds < 1:
            raise ValueError(f"a simulator needs at least one world, got {n_worlds}")
        self.num_envs = n_worlds
        self.single_observation_space = observation_space
        self.single_action_space = gym.spaces.Discrete(len(self.action_set))
        self.observation_space = batch_space(observation_space, n_worlds)
        self.action_space = batch_space(self.single_action_space, n_worlds)
        self._ended = np.zeros(n_worlds, bool)
        self.reseed(seed)

    def reseed(self, seed: int | np.random.SeedSequence, *, alike: bool = False) -> None:
        """Begins every world's stream of random numbers anew; worlds stay where they are.

        Alike, all worlds draw the numbers of the first.
        """
        self.draws = Draws(seed, self.num_envs, alike=alike)

    @abstractmethod
    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        """Begins a new episode in the worlds named; the observations of all."""

    @abstractmethod
    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        """One decision in every world: observations, rewards, terminated, truncated."""

    @abstractmethod
    def allowed(self) -> AllowedActions | None:
        """What each world may choose now, or None for all actions."""

    @abstractmethod
    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"] | None:
        """What each action would truly do, without noise (ground truth); None if unknown."""

    @abstractmethod
    def expert(self) -> Int64[np.ndarray, " B"]:
        """What the best scripted policy known does in each world now.

        It may look at what observations do not show: it marks the ceiling, it is no rival.
        """

    def info(self) -> dict[str, np.ndarray]:
        """What `reset` and `step` tell beside the observations, a row a world; nothing if empty."""
        return {}

    @final
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """gymnasium's reset of all worlds; a seed begins the random numbers anew."""
        del options
        if seed is not None:
            self.reseed(seed)
        self._ended = np.zeros(self.num_envs, bool)
        return self.restart(np.ones(self.num_envs, bool)), self.info()

    @final
    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """gymnasium's step; worlds that ended in the last step begin anew and pay nothing."""
        chosen = self.checked(actions, self.allowed())
        fresh = self._ended
        observations, rewards, terminated, truncated = self.advance(chosen)
        if fresh.any():
            observations = self.restart(fresh)
            rewards = np.where(fresh, 0.0, rewards)
            terminated, truncated = terminated & ~fresh, truncated & ~fresh
        self._ended = terminated | truncated
        return observations, rewards, terminated, truncated, self.info()

    @final
    def checked(
        self, actions: np.ndarray, allowed: AllowedActions | None
    ) -> Int64[np.ndarray, " B"]:
        """The actions, seen to be what the worlds can take.

        Args:
            actions: one a world.
            allowed: what `allowed()` says; a world that ended in the last step may ignore it.

        Raises:
            ValueError: not a dense index a world, or one that is not allowed there.
        """
        chosen = np.asarray(actions)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind not in "iu":
            raise self._no_actions(f"{chosen.dtype} of shape {chosen.shape}")
        wrong = (chosen < 0) | (chosen >= len(self.action_set))
        if wrong.any():
            raise self._no_actions(str(chosen[wrong][:3].tolist()))
        chosen = chosen.astype(np.int64, copy=False)
        if allowed is None:
            return chosen
        forbidden = np.flatnonzero(~allowed.holds(chosen) & ~self._ended)
        if len(forbidden):
            world = int(forbidden[0])
            raise ValueError(
                f"action {chosen[world]} is not allowed in world {world}, which may choose "
                f"among {len(allowed.row(world))}: see allowed()"
            )
        return chosen

    def _no_actions(self, got: str) -> ValueError:
        return ValueError(
            f"actions must be {self.num_envs} dense indices 0..{len(self.action_set) - 1}, "
            f"got {got}"
        )
