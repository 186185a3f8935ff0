"""Any world in its single form: a `gymnasium.Env` over a batch of one."""

from collections.abc import Callable
from typing import Literal, final

import gymnasium as gym
import numpy as np

from offline_actrep.core.simulator import AbstractSimulator

RenderMode = Literal["rgb_array"]


@final
class SingleWorld(gym.Env[np.ndarray, np.int64]):
    """One world of a batch of one, registered as `offline_actrep/<Name>-v0`.

    As in all of gymnasium, a world whose first reset names no seed is unlike any other.

    Args:
        world: makes the batch: a class of simulators.
        render_mode: None or `rgb_array`.
        options: what the world takes beside the number of worlds and the seed.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012

    def __init__(
        self,
        world: Callable[..., AbstractSimulator],
        render_mode: RenderMode | None = None,
        **options: object,
    ) -> None:
        self.render_mode = render_mode
        self.worlds = world(1, **options)
        self._unseeded = "seed" not in options
        self.observation_space = self.worlds.single_observation_space
        self.action_space = gym.spaces.Discrete(len(self.worlds.action_set))

    def reset(
        self, *, seed: int | None = None, options: dict[str, object] | None = None
    ) -> tuple[np.ndarray, dict[str, object]]:
        """A new episode; a seed begins the random numbers anew."""
        super().reset(seed=seed)
        if seed is None and self._unseeded:
            seed = int(self.np_random.integers(2**31))
        self._unseeded = False
        observations, info = self.worlds.reset(seed=seed, options=options)
        return observations[0], {name: column[0] for name, column in info.items()}

    def step(
        self, action: np.int64 | int
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, object]]:
        """One decision."""
        observations, rewards, terminated, truncated, info = self.worlds.step(np.array([action]))
        return (
            observations[0],
            float(rewards[0]),
            bool(terminated[0]),
            bool(truncated[0]),
            {name: column[0] for name, column in info.items()},
        )

    def render(self) -> np.ndarray | None:
        """A picture if asked for at the making."""
        pictures = self.worlds.render() if self.render_mode == "rgb_array" else None
        return pictures[0] if pictures else None
