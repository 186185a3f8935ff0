"""What does a step of training cost? Run: `python tests/benchmarks/train_speed.py [ids|points]`.

`ids`: a step of discrete CQL, BCQ and BC, ours against d3rlpy's own from the same weights, and
ours with a mask; 4,096 actions, batch 256, two hidden layers of 128. `points`: a step of every
learner of points, ours against d3rlpy with its own Adam, for several `n_action_samples`; and where
the time of CQL's and BCQ's goes. CPU time of one thread, variants in turn, median of rounds with
the middle half of them; trust the ratios.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from d3rlpy.algos import DiscreteBCConfig, DiscreteBCQConfig, DiscreteCQLConfig
from d3rlpy.models import VectorEncoderFactory
from torch.profiler import ProfilerActivity, profile, record_function

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.catalog import make_id_learner, make_point_learner
from offline_actrep.offline.columns import Columns
from offline_actrep.offline.d3rlpy_learner import CONFIGS, D3rlpyLearner, TransitionMiniBatch
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.offline.train import settings
from offline_actrep.representations.point_table import PointTable

ROWS, FEATURES, BATCH, HIDDEN = 20_000, 16, 256, (128, 128)
Step = Callable[[], object]


def compare(steps: dict[str, Step], rounds: int, repeats: int) -> dict[str, float]:
    """Median CPU milliseconds of each, run in turn; printed with the middle half."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.process_time()
            for _ in range(repeats):
                step()
            spent[name].append((time.process_time() - began) / repeats * 1e3)
    for name, times in spent.items():
        low, middle, high = statistics.quantiles(times, n=4)
        print(f"  {name:<34} {middle:8.2f} ms  [{low:.2f}, {high:.2f}]")
    return {name: statistics.median(times) for name, times in spent.items()}


def columns(dim: int, n_actions: int, allowed: int) -> Columns:
    """Random rows: points of `dim` coordinates, or ids where it is 0."""
    draws = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return draws.normal(size=shape).astype(np.float32)

    ids = draws.integers(n_actions, size=ROWS)
    sets = None
    if allowed:
        chosen = draws.integers(n_actions, size=(ROWS, allowed))
        chosen[:, 0] = ids
        sets = AllowedActions(np.arange(ROWS + 1) * allowed, chosen.ravel())
    points = np.tanh(normal(ROWS, dim)) if dim else ids
    seen, ahead = normal(ROWS, FEATURES), normal(ROWS, FEATURES)
    return Columns(
        features=seen,
        actions=points,
        rewards=normal(ROWS),
        next_features=ahead,
        terminals=(draws.random(ROWS) < 0.02).astype(np.float32),
        returns=normal(ROWS),
        observations=seen,
        next_observations=ahead,
        allowed=sets,
        next_allowed=sets,
    )


def of_ids(n_actions: int = 4096) -> None:
    """Ours, ours masked, and d3rlpy's."""
    encoder = VectorEncoderFactory(hidden_units=list(HIDDEN))
    shared = {"learning_rate": 1e-3, "encoder_factory": encoder, "batch_size": BATCH}
    made = {
        "discrete_cql": DiscreteCQLConfig(**shared, gamma=0.97, alpha=0.5),
        "discrete_bcq": DiscreteBCQConfig(**shared, gamma=0.97, action_flexibility=0.1, beta=0.01),
        "discrete_bc": DiscreteBCConfig(**shared, beta=0.0),
    }
    free, bound = columns(0, n_actions, 0), columns(0, n_actions, n_actions // 4)
    draws = np.random.default_rng(1)

    def rows() -> np.ndarray:
        return draws.integers(ROWS, size=BATCH)

    for name, config in made.items():
        algo = config.create(device="cpu:0")
        algo.create_impl((FEATURES,), n_actions)
        makes = {"n_features": FEATURES, "n_actions": n_actions, "seed": 0}
        lean = make_id_learner(name, settings(name, {}), **makes)
        steps: dict[str, Step] = {
            "d3rlpy": lambda algo=algo: algo.update(theirs(free, rows())),
            "ours": lambda lean=lean: lean.update(free.batch(rows())),
        }
        if name != "discrete_bc":
            masked = make_id_learner(f"masked_{name}", settings(name, {}), **makes)
            steps["ours, a quarter allowed"] = lambda m=masked: m.update(bound.batch(rows()))
        print(f"{name}, {n_actions:,} actions, the batch included")
        times = compare(steps, rounds=11, repeats=4)
        ratios = ", ".join(f"{k} {times['d3rlpy'] / v:.1f}x" for k, v in list(times.items())[1:])
        print(f"  against d3rlpy: {ratios}")


def theirs(data: Columns, rows: np.ndarray) -> TransitionMiniBatch:
    """A batch of ids as d3rlpy takes it."""
    actions = data.actions[rows, None].astype(np.float32)
    return TransitionMiniBatch(
        observations=data.features[rows],
        actions=actions,
        rewards=data.rewards[rows, None],
        next_observations=data.next_features[rows],
        next_actions=actions,
        terminals=data.terminals[rows, None],
        intervals=np.ones_like(actions),
        transitions=(),
    )


def point_steps(dim: int, data: Columns) -> dict[str, Step]:
    """A step of every learner of points, at several numbers of samples."""
    batch = data.batch(np.arange(BATCH))
    line = torch.rand(1024, dim) * 2 - 1
    space = PointTable("random_table", {}, ActionSet.dense(len(line)), FEATURES, line)
    changes = {
        "cql": [{"n_action_samples": n} for n in (1, 4, 10)],
        "bcq": [{"n_action_samples": n} for n in (2, 10, 30, 100)],
    }
    steps: dict[str, Step] = {}
    for name in (*CONFIGS, "td3_decoded"):
        for change in changes.get(name, [{}]):
            config = replace(settings(name, change), warmup=0.0)
            label = f"{name} {' '.join(f'{v} samples' for v in change.values())}".strip()
            made = make_point_learner(
                name, config, n_features=FEATURES, representation=space, seed=0
            )
            steps[label] = lambda made=made: made.update(batch)
            if name in CONFIGS and change in ({}, {"n_action_samples": 10}):
                own = loose(name, config, dim)
                steps[f"{label}, d3rlpy's Adam"] = lambda own=own: own.update(batch)
    return steps


def loose(name: str, config: LearnerConfig, dim: int) -> D3rlpyLearner:
    """The same learner with Adam as torch calls it by default."""
    with seeded(0):
        made = D3rlpyLearner(name, config, FEATURES, dim)
    for part in vars(made.algo.impl.modules).values():  # type: ignore[union-attr]
        for group in part.optim.param_groups if hasattr(part, "optim") else ():
            group["fused"] = None
    return made


def of_points(dim: int = 10) -> None:
    """Every learner; then what CQL and BCQ spend their steps on."""
    data = columns(dim, 1024, 0)
    steps = point_steps(dim, data)
    print(f"points of {dim} coordinates; td3_decoded decodes among 1,024 in a table")
    times = compare(steps, rounds=9, repeats=3)
    base = times["td3_plus_bc"]
    print("  of td3_plus_bc: " + ", ".join(f"{k} {v / base:.1f}x" for k, v in times.items()))
    for name in ("cql 4 samples", "bcq 10 samples", "bcq 100 samples"):
        print(f"{name}: share of the CPU time by what torch does")
        with profile(activities=[ProfilerActivity.CPU]) as seen, record_function("steps"):
            for _ in range(20):
                steps[name]()
        kinds = seen.key_averages()
        total = sum(kind.self_cpu_time_total for kind in kinds)
        largest = sorted(kinds, key=lambda kind: -kind.self_cpu_time_total)[:8]
        for kind in largest:
            print(
                f"  {kind.key[:40]:<40} {kind.self_cpu_time_total / total:5.0%} "
                f"{kind.count / 20:6.0f} calls a step"
            )


def main() -> None:
    """Prints what was asked for, or both."""
    torch.set_num_threads(1)
    parts = {"ids": of_ids, "points": of_points}
    for part in sys.argv[1:] or parts:
        parts[part]()


if __name__ == "__main__":
    main()
