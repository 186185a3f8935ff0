"""What does it cost to feed d3rlpy? Run: `python tests/benchmarks/load_speed.py [part ...]`.

Set `OMP_NUM_THREADS=1` first. `replay_buffer` against d3rlpy's own `MDPDataset` of the same
columns. Parts: `sampler` (a batch of 256), `build` (from columns to the first batch, episodes of 50
rows and of one), `fit` (a step of unmodified `fit()`), `columns` (a batch of this package's own
learners, held and gathered). CPU time of one thread, variants in turn in one process, medians of
rounds with the middle half of them; trust the ratios. Floors are what no loader can do without: the
same gathers in plain numpy, or a memory copy of the same bytes.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from d3rlpy.algos import CQLConfig, DiscreteCQLConfig, TD3PlusBCConfig
from d3rlpy.constants import ActionSpace
from d3rlpy.dataset import MDPDataset, TransitionMiniBatch
from d3rlpy.logging import NoopAdapterFactory
from d3rlpy.models import VectorEncoderFactory

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.store import open_store, write_store
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline import columns as columns_module
from offline_actrep.offline.bridge import replay_buffer
from offline_actrep.offline.columns import learning_columns
from offline_actrep.offline.d3rlpy_learner import FusedAdam
from offline_actrep.relabel import Relabelled
from offline_actrep.representations.point_table import PointTable

SIZE, DIM, ACTIONS, EPISODE, BATCH = 16, 10, 4096, 50, 256
LARGE = 1_300_000
"""Rows whose observations are more than what a mapped column may keep in memory."""
Work = Callable[[], object]


def log_of(rows: int, episode: int) -> Log:
    """Random rows; every other episode is cut off where the next state is known."""
    draws = np.random.default_rng(0)
    lasts = np.arange(rows) % episode == episode - 1
    lasts[-1] = True
    seen = draws.standard_normal((rows + 1, SIZE), np.float32)
    truncated = lasts & (np.arange(rows) // episode % 2 == 1)
    offsets = np.append(0, np.flatnonzero(lasts) + 1)
    return Log(
        action_set=ActionSet.dense(ACTIONS),
        observations=seen[:-1],
        actions=draws.integers(ACTIONS, size=rows),
        rewards=draws.standard_normal(rows, np.float32),
        terminated=lasts & ~truncated,
        truncated=truncated,
        next_observations=seen[1:],
        has_next=np.ones(rows, bool),
        episode_offsets=offsets,
        episode_ids=np.arange(len(offsets) - 1),
    )


def with_points(log: Log) -> Relabelled:
    """A fixed point an action."""
    table = torch.rand((ACTIONS, DIM), generator=torch.Generator().manual_seed(0)) * 2 - 1
    space = PointTable("random_table", {}, log.action_set, SIZE, table)
    return Relabelled(log, space, table.numpy()[log.actions])


def stock(data: Log | Relabelled) -> MDPDataset:
    """d3rlpy's own data set, from the same columns."""
    log = data.log if isinstance(data, Relabelled) else data
    points = data.points if isinstance(data, Relabelled) else None
    with contextlib.redirect_stdout(io.StringIO()):
        return MDPDataset(
            log.observations,
            log.actions[:, None] if points is None else points,
            log.rewards[:, None],
            log.terminated.astype(np.float32),
            log.truncated.astype(np.float32),
            action_space=ActionSpace.DISCRETE if points is None else ActionSpace.CONTINUOUS,
            action_size=ACTIONS if points is None else DIM,
        )


def compare(
    title: str, unit: str, work: dict[str, tuple[Work, int]], rounds: int, each: int = 1
) -> None:
    """Prints the median of each variant, its middle half, and how often it goes into the first.

    Args:
        title: of the table.
        unit: "us" or "ms".
        work: by variant what to do, and how often in a round.
        rounds: in each of which every variant has its turn.
        each: how many of what is timed one repetition does.
    """
    spent: dict[str, list[float]] = {name: [] for name in work}
    for call, _ in work.values():
        call()
    for _ in range(rounds):
        for name, (call, repeats) in work.items():
            began = time.process_time()
            for _ in range(repeats):
                call()
            spent[name].append((time.process_time() - began) / repeats / each)
    print(f"\n{title}")
    scale = {"us": 1e6, "ms": 1e3}[unit]
    base = statistics.median(next(iter(spent.values())))
    for name, times in spent.items():
        low, middle, high = (scale * quarter for quarter in statistics.quantiles(times, n=4))
        ratio = f"{scale * base / middle:9.1f}x" if middle else ""
        print(f"  {name:<46} {middle:9.2f} {unit}  [{low:.2f}, {high:.2f}] {ratio}", flush=True)


def plain_gather(log: Log, actions: np.ndarray, draws: np.random.Generator) -> Work:
    """The floor of a batch: one draw, and each column's rows."""

    def gather() -> None:
        rows = draws.integers(len(log) - 1, size=BATCH)
        columns = (log.observations, log.next_observations, log.rewards, log.terminated)
        for column in columns:
            column.take(rows, axis=0)
        actions.take(rows, axis=0).astype(np.float32)
        actions.take(rows + 1, axis=0).astype(np.float32)

    return gather


def sampler(asked: argparse.Namespace, folder: Path) -> None:
    """A batch of points, and of ids; from memory and from a store."""
    log = log_of(asked.rows, EPISODE)
    large = log_of(LARGE, EPISODE)
    write_store(large, folder / "store")
    draws = np.random.default_rng(1)
    filed = {"ids": open_store(folder / "store"), "points": None}
    np.save(folder / "points.npy", with_points(large).points)
    space = with_points(log).representation
    filed["points"] = Relabelled(filed["ids"], space, np.load(folder / "points.npy", mmap_mode="r"))
    for name, data in (("points", with_points(log)), ("ids", log)):
        theirs, ours = stock(data), replay_buffer(data, seed=0)
        files = replay_buffer(filed[name], seed=0)
        actions = data.points if isinstance(data, Relabelled) else data.actions
        copied = np.ones(
            BATCH * 4 * (2 * SIZE + 2 * (DIM if name == "points" else 1) + 3), np.uint8
        )
        compare(
            f"a batch of {BATCH} {name}, {asked.rows:,} rows",
            "us",
            {
                "MDPDataset": (lambda t=theirs: t.sample_transition_batch(BATCH), 5),
                "replay_buffer": (lambda o=ours: o.sample_transition_batch(BATCH), 300),
                f"replay_buffer, store of {LARGE:,} rows": (
                    lambda f=files: f.sample_transition_batch(BATCH),
                    50,
                ),
                "floor: the gathers in numpy": (plain_gather(log, actions, draws), 300),
                "floor: memory copy of the bytes": (lambda c=copied: c.copy(), 300),
            },
            asked.rounds,
        )
    data = with_points(log)
    theirs, ours = stock(data), replay_buffer(data, seed=0)
    compare(
        "64 trajectories of 20 rows, points",
        "us",
        {
            "MDPDataset": (lambda: theirs.sample_trajectory_batch(64, 20), 5),
            "replay_buffer": (lambda: ours.sample_trajectory_batch(64, 20), 100),
        },
        asked.rounds,
    )


def build(asked: argparse.Namespace, folder: Path) -> None:
    """From columns to the first batch."""
    for title, episode in (("episodes of 50 rows", EPISODE), ("one-step log", 1)):
        log = log_of(asked.rows, episode)
        columns = {k: v for k, v in vars(log).items() if k in Log.__dataclass_fields__}
        copies = [log.observations, log.actions, log.rewards, log.terminated, log.truncated]

        def checked(columns: dict[str, Any] = columns) -> None:
            replay_buffer(Log(**columns), seed=0).sample_transition_batch(1)

        compare(
            f"a data set of ids, {asked.rows:,} rows, {title}",
            "ms",
            {
                "MDPDataset": (lambda log=log: stock(log).sample_transition(), 1),
                "replay_buffer": (
                    lambda log=log: replay_buffer(log, seed=0).sample_transition_batch(1),
                    3,
                ),
                "replay_buffer, the log's own checks included": (checked, 3),
                "floor: memory copy of the columns": (
                    lambda copies=copies: [column.copy() for column in copies],
                    3,
                ),
            },
            max(3, asked.rounds // 2),
        )


def fit(asked: argparse.Namespace, folder: Path) -> None:
    """A step of d3rlpy's own loop."""
    narrow, wide = VectorEncoderFactory([64, 64]), VectorEncoderFactory([256, 256])

    def pair(encoder: VectorEncoderFactory) -> dict[str, Any]:
        return {"actor_encoder_factory": encoder, "critic_encoder_factory": encoder}

    fused = {"actor_optim_factory": FusedAdam(), "critic_optim_factory": FusedAdam()}

    log = log_of(asked.rows, EPISODE)
    points = with_points(log)
    one_call = {"optim_factory": FusedAdam()}
    cases: list[tuple[str, Any, dict[str, Any], dict[str, Any], Log | Relabelled, int]] = [
        ("TD3+BC, 2 x 64", TD3PlusBCConfig, pair(narrow), fused, points, 300),
        ("CQL, 2 x 64", CQLConfig, pair(narrow), fused, points, 10),
        ("CQL, 2 x 256", CQLConfig, pair(wide), fused, points, 5),
        ("discrete CQL, 2 x 64", DiscreteCQLConfig, {"encoder_factory": narrow}, one_call, log, 10),
        ("discrete CQL, 2 x 256", DiscreteCQLConfig, {"encoder_factory": wide}, one_call, log, 5),
    ]
    for name, make, nets, optimisers, data, steps in cases:
        plain = {"batch_size": BATCH, **nets}
        ours = replay_buffer(data, seed=0)
        variants = (
            ("MDPDataset", stock(data), plain),
            ("replay_buffer", ours, plain),
            ("replay_buffer, FusedAdam", ours, plain | optimisers),
        )
        work: dict[str, tuple[Work, int]] = {}
        algo: Any = None
        for source, dataset, settings in reversed(variants):
            algo = make(**settings).create(device="cpu:0")
            algo.build_with_dataset(dataset)
            work = {source: (stepper(algo, dataset, steps), 1), **work}
        batch = ours.sample_transition_batch(BATCH)
        work["floor: the updates alone"] = (updater(algo, batch, steps), 1)
        compare(f"a step of fit(): {name}", "ms", work, asked.rounds, steps)


def stepper(algo: Any, dataset: Any, steps: int) -> Work:
    """So many steps of `fit`, as one repetition."""

    def work() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            algo.fit(
                dataset,
                n_steps=steps,
                n_steps_per_epoch=steps,
                show_progress=False,
                logger_adapter=NoopAdapterFactory(),
            )

    return work


def updater(algo: Any, batch: TransitionMiniBatch, steps: int) -> Work:
    """So many updates on one batch, as one repetition."""

    def work() -> None:
        for _ in range(steps):
            algo.update(batch)

    return work


def columns(asked: argparse.Namespace, folder: Path) -> None:
    """A batch for this package's own learners."""
    log = log_of(asked.rows, EPISODE)
    data = with_points(log)
    draws = np.random.default_rng(1)
    for title, config in (
        ("standardised", FeatureConfig()),
        ("and Fourier features of 2 columns", FeatureConfig(fourier=(0, 1))),
    ):
        features = ObservationFeatures.of(log.observations, config)
        made = {}
        for name, size in (("held", 1 << 40), ("gathered", 0)):
            columns_module.HELD = size
            made[name] = learning_columns(data, features, 1.0, 0.97)

        def batch(name: str, made: dict[str, Any] = made) -> Work:
            return lambda: made[name].batch(draws.integers(len(log), size=BATCH))

        compare(
            f"a batch of {BATCH} for `train`, {title}",
            "us",
            {
                **{name: (batch(name), 300) for name in made},
                "floor: the gathers in numpy": (plain_gather(log, data.points, draws), 300),
            },
            asked.rounds,
        )


def main() -> None:
    """Prints what was asked for, or all."""
    parts = {"sampler": sampler, "build": build, "fit": fit, "columns": columns}
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*parts, []])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for part in asked.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[part](asked, Path(folder))


if __name__ == "__main__":
    main()
