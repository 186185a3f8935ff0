"""The worlds by name; registers their single forms with gymnasium."""

from collections.abc import Callable

import gymnasium as gym

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.dialogue.world import Dialogue
from offline_actrep.simulators.dig_lava_grid import DigLavaGrid
from offline_actrep.simulators.gridworld import Gridworld
from offline_actrep.simulators.maze import Maze
from offline_actrep.simulators.mining_grid import MiningGrid
from offline_actrep.simulators.ngram_recommender import NgramRecommender
from offline_actrep.simulators.recommender import Recommender
from offline_actrep.simulators.single import SingleWorld
from offline_actrep.simulators.skills_grid import SkillsGrid
from offline_actrep.simulators.slates import SlateRecommender
from offline_actrep.simulators.slot_machine import SlotMachine
from offline_actrep.simulators.wrappers import ChangingConfig, wrapped

WORLDS: dict[str, Callable[..., AbstractSimulator]] = {
    "maze": Maze,
    "gridworld": Gridworld,
    "slot_machine": SlotMachine,
    "recommender": Recommender,
    "slate_recommender": SlateRecommender,
    "ngram_recommender": NgramRecommender,
    "skills_grid": SkillsGrid,
    "dig_lava_grid": DigLavaGrid,
    "mining_grid": MiningGrid,
    "dialogue": Dialogue,
}
REVISIONS: dict[str, int] = {"dialogue": 2}
"""How many sets of rules a world has had under one name, where more than one; it goes into the keys
of logs, policies and results, so that those of before are not taken for today's."""


def env_id(name: str) -> str:
    """What gymnasium calls the single form: `slot_machine` -> `offline_actrep/SlotMachine-v0`."""
    return f"offline_actrep/{''.join(part.capitalize() for part in name.split('_'))}-v0"


for _name, _world in WORLDS.items():
    gym.register(env_id(_name), entry_point=SingleWorld, kwargs={"world": _world})


def make(
    name: str,
    n_worlds: int = 64,
    *,
    seed: int = 0,
    changing_actions: ChangingConfig | None = None,
    reward_noise: float = 0.0,
    earlier_end: int | None = None,
    **options: object,
) -> AbstractSimulator:
    """B worlds of the named kind, e.g. `make("maze", 64, preset="chandak")`.

    Args:
        name: a key of `WORLDS`.
        n_worlds: B.
        seed: of the worlds' random numbers.
        changing_actions: actions come and go.
        reward_noise: standard deviation of noise on every reward.
        earlier_end: most decisions of an episode, below the world's own horizon.
        options: what the world itself takes.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """
    if name not in WORLDS:
        raise ValueError(f"unknown world {name!r}; there are {', '.join(sorted(WORLDS))}")
    world = WORLDS[name](n_worlds, seed=seed, **options)
    changed = wrapped(
        world,
        changing_actions=changing_actions,
        reward_noise=reward_noise,
        earlier_end=earlier_end,
    )
    if changed is not world:
        changed.reseed(seed)
    return changed
