"""How fast is the batched maze beside the single one? Run: `python tests/benchmarks/maze_speed.py`.

CPU time of one thread, the two forms in turn, median of five rounds; trust the ratio.
"""

import statistics
import time

import numpy as np

from offline_actrep.simulators.maze import Maze

BATCH = 1024
STEPS = {1: 2000, BATCH: 200}


def steps_per_second(n_worlds: int) -> float:
    """Steps of all worlds in a second of CPU time."""
    world = Maze(n_worlds)
    actions = np.random.default_rng(0).integers(len(world.action_set), size=n_worlds)
    began = time.process_time()
    for _ in range(STEPS[n_worlds]):
        world.advance(actions)
    return n_worlds * STEPS[n_worlds] / (time.process_time() - began)


if __name__ == "__main__":
    rounds = [(steps_per_second(1), steps_per_second(BATCH)) for _ in range(5)]
    single, batched = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"1 world: {single:,.0f} steps/s; {BATCH} worlds: {batched:,.0f} steps/s")
    print(f"ratio {batched / single:.0f}")
