"""The worlds by name; registers their single forms with gymnasium."""

from collections.abc import Callable

import gymnasium as gym

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.maze import Maze

WORLDS: dict[str, Callable[..., AbstractSimulator]] = {"maze": Maze}

gym.register("offline_actrep/Maze-v0", entry_point="offline_actrep.simulators.maze:MazeEnv")


def make(name: str, n_worlds: int = 64, *, seed: int = 0, **options: object) -> AbstractSimulator:
    """B worlds of the named kind, e.g. `make("maze", 64, preset="chandak")`.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """
    if name not in WORLDS:
        raise ValueError(f"unknown world {name!r}; there are {', '.join(sorted(WORLDS))}")
    return WORLDS[name](n_worlds, seed=seed, **options)
