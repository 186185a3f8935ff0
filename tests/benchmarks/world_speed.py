"""How fast is every world? Run: `OMP_NUM_THREADS=1 python tests/benchmarks/world_speed.py [name]`.

CPU time of one thread: steps a second of a batch, observations included, under random allowed
actions that are drawn beforehand where nothing is forbidden; the batch and a batch of one in turn,
median of three rounds. Beside it what the original programs did on one core of a similar machine
(each measured once, elsewhere): an order of magnitude, not a race.
"""

import statistics
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.simulators.catalog import WORLDS, make

BATCH = 1024
SECONDS = 1.0
"""Of one measurement."""
CASES: dict[str, dict[str, dict]] = {
    "maze": {"maze": {}, "maze, plans of six moves": {"preset": "plans"}},
    "recommender": {
        "recommender": {},
        "recommender, RecSim's rules": {"preset": "recsim"},
        "recommender, 500,000 videos": {"videos": 500_000},
    },
}
ORIGINALS = {
    "maze": "12-33 k (Chandak et al.)",
    "recommender": "2.9 k (RecSim in gym), 23-27 k (its user model)",
    "recommender, RecSim's rules": "2.9 k (RecSim in gym), 23-27 k (its user model)",
    "dialogue": "0.06-0.3 k (ConvLab)",
}


def steps_per_second(world: AbstractSimulator) -> float:
    """Decisions of all worlds in a second of CPU time, ends and restarts included."""
    world.reset(seed=0)
    generator = np.random.default_rng(0)
    n_worlds, n_actions = world.num_envs, len(world.action_set)
    prepared = generator.integers(n_actions, size=(16, n_worlds))
    steps = 0
    began = time.process_time()
    while time.process_time() - began < SECONDS:
        for actions in prepared:
            if (allowed := world.allowed()) is not None:
                picks = generator.integers(np.diff(allowed.offsets))
                actions = allowed.indices[allowed.offsets[:-1] + picks]
            _, _, terminated, truncated = world.advance(actions)
            if (ended := terminated | truncated).any():
                world.restart(ended)
            steps += n_worlds
    return steps / (time.process_time() - began)


def main(names: list[str]) -> None:
    """Prints the table."""
    table = Table("world", f"steps/s, B = {BATCH}", "steps/s, B = 1", "ratio", "originals")
    for name in names or sorted(WORLDS):
        for title, options in CASES.get(name, {name: {}}).items():
            batch, single = make(name, BATCH, **options), make(name, 1, **options)
            rounds = [(steps_per_second(batch), steps_per_second(single)) for _ in range(3)]
            fast, slow = (statistics.median(column) for column in zip(*rounds, strict=True))
            ratio = f"{fast / slow:,.0f}"
            table.add_row(title, f"{fast:,.0f}", f"{slow:,.0f}", ratio, ORIGINALS.get(title, "-"))
    Console(width=110).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
