"""The worlds by name; registers their single forms with gymnasium."""

from collections.abc import Callable

import gymnasium as gym

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.maze import Maze
from offline_actrep.simulators.single import SingleWorld

WORLDS: dict[str, Callable[..., AbstractSimulator]] = {
    "maze": Maze,
}


def env_id(name: str) -> str:
    """What gymnasium calls the single form: `slot_machine` -> `offline_actrep/SlotMachine-v0`."""
    return f"offline_actrep/{''.join(part.capitalize() for part in name.split('_'))}-v0"


for _name, _world in WORLDS.items():
    gym.register(env_id(_name), entry_point=SingleWorld, kwargs={"world": _world})


def make(name: str, n_worlds: int = 64, *, seed: int = 0, **options: object) -> AbstractSimulator:
    """B worlds of the named kind, e.g. `make("maze", 64, preset="chandak")`.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """
    if name not in WORLDS:
        raise ValueError(f"unknown world {name!r}; there are {', '.join(sorted(WORLDS))}")
    return WORLDS[name](n_worlds, seed=seed, **options)
