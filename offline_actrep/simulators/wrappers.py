"""Worlds changed from outside: actions that come and go, noisy rewards, an earlier end.

Each wrapper is a world itself, so they nest; `wrapped` puts them on in a fixed order. What a
wrapper changes, no one has measured: the stated returns become NaN.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.draws import Draws
from offline_actrep.core.simulator import AbstractSimulator, Outcome


class AbstractWrapper(AbstractSimulator):
    """A world that passes everything on to an inner one; its own draws come from another stream.

    Both streams begin anew with seed 0 when it is made: seed it, and not what it is put on.
    """

    def __init__(self, inner: AbstractSimulator) -> None:
        self.inner = inner
        self.action_set = inner.action_set
        self.observation_names = inner.observation_names
        self.horizon = inner.horizon
        self.random_return = self.best_return = float("nan")
        self._open(inner.num_envs, inner.single_observation_space, 0)

    def reseed(self, seed: int | np.random.SeedSequence, *, alike: bool = False) -> None:
        source = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        inside, outside = np.random.SeedSequence(source.entropy, spawn_key=source.spawn_key).spawn(
            2
        )
        self.inner.reseed(inside, alike=alike)
        self.draws = Draws(outside, self.num_envs, alike=alike)

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        return self.inner.restart(worlds)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        return self.inner.advance(actions)

    def allowed(self) -> AllowedActions | None:
        return self.inner.allowed()

    def effects(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float64[np.ndarray, "B D"] | None:
        return self.inner.effects(observations, actions)

    def expert(self) -> Int64[np.ndarray, " B"]:
        return self.inner.expert()

    def info(self) -> dict[str, np.ndarray]:
        return self.inner.info()

    def render(self) -> Any:
        """The inner world's pictures."""
        return self.inner.render()


@dataclass(frozen=True)
class ChangingConfig:
    """How actions come and go."""

    share: float = 0.5
    """Probability that an action is there."""
    every: Literal["step", "episode"] = "step"
    """When the set is drawn anew."""


@final
class ChangingActions(AbstractWrapper):
    """Every action is there with a fixed probability, independently; at least one always is.

    Where the inner world allows only actions that are gone, it has its own way.

    Args:
        inner: the world.
        config: how often, and how many.

    Raises:
        ValueError: a share outside (0, 1].
    """

    def __init__(self, inner: AbstractSimulator, config: ChangingConfig) -> None:
        if not 0 < config.share <= 1:
            raise ValueError(f"the share of actions that are there lies in (0, 1]: {config.share}")
        self.config = config
        self.there = np.ones((inner.num_envs, len(inner.action_set)), bool)
        super().__init__(inner)
        self.restart(np.ones(inner.num_envs, bool))

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        observations = self.inner.restart(worlds)
        self._redraw(worlds)
        return observations

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        found = self.inner.advance(actions)
        if self.config.every == "step":
            self._redraw(np.ones(self.num_envs, bool))
        return found

    def _redraw(self, worlds: Bool[np.ndarray, " B"]) -> None:
        drawn = self.draws.uniform(len(self.action_set), worlds)
        self.there[worlds] = (drawn <= np.maximum(self.config.share, drawn.min(axis=0))).T

    def allowed(self) -> AllowedActions:
        inner = self.inner.allowed()
        if inner is None:
            return AllowedActions.of_mask(self.there)
        mask = inner.mask(len(self.action_set))
        both = mask & self.there
        return AllowedActions.of_mask(np.where(both.any(axis=1, keepdims=True), both, mask))

    def expert(self) -> Int64[np.ndarray, " B"]:
        """The inner expert's action, or of those that are there the one with the nearest features.

        Raises:
            ValueError: the wished one is not there, and actions have no features.
        """
        wished, allowed, features = self.inner.expert(), self.allowed(), self.action_set.features
        chosen = wished.copy()
        for world in np.flatnonzero(~allowed.holds(wished)):
            if features is None:
                raise ValueError("an expert that lacks its action needs features of actions")
            row = allowed.row(int(world))
            away = np.linalg.norm(features[row] - features[wished[world]], axis=1)
            chosen[world] = row[away.argmin()]
        return chosen


@final
class NoisyRewards(AbstractWrapper):
    """Normal noise on every reward.

    Args:
        inner: the world.
        deviation: standard deviation, in the rewards' unit.

    Raises:
        ValueError: a negative deviation.
    """

    def __init__(self, inner: AbstractSimulator, deviation: float) -> None:
        if deviation < 0:
            raise ValueError(f"a deviation is not negative, got {deviation}")
        self.deviation = deviation
        super().__init__(inner)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        observations, rewards, terminated, truncated = self.inner.advance(actions)
        noise = self.deviation * self.draws.normal(1)[0]
        return observations, rewards + noise, terminated, truncated


@final
class EarlierEnd(AbstractWrapper):
    """Episodes are cut after fewer decisions.

    Args:
        inner: the world.
        horizon: most decisions of an episode.

    Raises:
        ValueError: a horizon below 1 or above the world's own.
    """

    def __init__(self, inner: AbstractSimulator, horizon: int) -> None:
        if not 1 <= horizon <= inner.horizon:
            raise ValueError(f"an earlier end lies in 1..{inner.horizon}, got {horizon}")
        super().__init__(inner)
        self.horizon = horizon
        self.clock = np.zeros(inner.num_envs, np.int64)

    def restart(self, worlds: Bool[np.ndarray, " B"]) -> Float32[np.ndarray, "B S"]:
        self.clock[worlds] = 0
        return self.inner.restart(worlds)

    def advance(self, actions: Int64[np.ndarray, " B"]) -> Outcome:
        observations, rewards, terminated, truncated = self.inner.advance(actions)
        self.clock += 1
        return (
            observations,
            rewards,
            terminated,
            truncated | ((self.clock >= self.horizon) & ~terminated),
        )


def wrapped(
    world: AbstractSimulator,
    *,
    changing_actions: ChangingConfig | None = None,
    reward_noise: float = 0.0,
    earlier_end: int | None = None,
) -> AbstractSimulator:
    """The world with the wrappers asked for; the world itself if none is."""
    if earlier_end is not None:
        world = EarlierEnd(world, earlier_end)
    if reward_noise:
        world = NoisyRewards(world, reward_noise)
    if changing_actions is not None:
        world = ChangingActions(world, changing_actions)
    return world
