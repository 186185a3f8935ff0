"""What does a log of fifty million transitions cost? Run: `python tests/benchmarks/log_speed.py`.

Makes the log (16 numbers an observation, 100,000 actions, episodes of 50 rows on average) as
parquet files of a million rows, converts it, opens the store, draws minibatches, verifies it and
re-labels it, each in a process of its own; and beside that, in the same run, the floors (a polars
scan of the same columns, a memory copy of the same bytes) and what building d3rlpy's `MDPDataset`
from a million of the rows takes. Rows a second of wall time, seconds of CPU, and the most resident
memory. `--rows 1_000_000` for a quick look. Needs 25 GB of disk at full size.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from offline_actrep.convert import convert
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.cost import costing
from offline_actrep.files.exchange.d3rlpy import mdp_dataset
from offline_actrep.files.parquet import write_action_table
from offline_actrep.files.store import open_store, verify_store
from offline_actrep.nets.batches import minibatches
from offline_actrep.relabel_stream import relabel_files
from offline_actrep.representations.random_table import RandomTableConfig
from offline_actrep.representations.random_table import fit as random_points

SIZE, ACTIONS, A_FILE, EPISODE = 16, 100_000, 1_000_000, 50
BATCH, BATCHES = 256, 4000
ROW_BYTES = 2 * 4 * SIZE + 8 + 4 + 3
"""Of a row in a store: two observations, an action, a reward, three flags."""


def make(folder: Path, rows: int) -> None:
    """The log, episode after episode; a file that is there already is kept."""
    for first in range(0, rows, A_FILE):
        path = folder / f"part-{first // A_FILE:04d}.parquet"
        n = min(A_FILE, rows - first)
        if path.exists():
            continue
        draws = np.random.default_rng(first)
        ends = draws.random(n) < 1 / EPISODE
        ends[-1] = True
        starts = np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1])
        lengths = np.diff(np.append(starts, n))
        steps = np.arange(n) - np.repeat(starts, lengths)
        cut = draws.random(n) < 0.3
        observations = draws.normal(size=n * SIZE).astype(np.float32)
        table = pa.table(
            {
                "episode_id": first + np.repeat(starts, lengths),
                "step": steps,
                "observation": pa.FixedSizeListArray.from_arrays(pa.array(observations), SIZE),
                "action": np.minimum(draws.zipf(1.3, n), ACTIONS) - 1,
                "reward": draws.normal(size=n).astype(np.float32),
                "terminated": ends & ~cut,
                "truncated": ends & cut,
            }
        )
        pq.write_table(table, path, compression="zstd", row_group_size=1 << 17)
    write_action_table(ActionSet(np.arange(ACTIONS)), folder.parent / "actions.parquet")


def measured(work: Callable[..., int], *arguments: Any) -> dict[str, float]:
    """Rows that the work says it did, its cost, in a new process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_child, args=(theirs, work, arguments))
    child.start()
    theirs.close()
    found = ours.recv()
    child.join()
    return found


def _child(pipe: Any, work: Callable[..., int], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    cpu = time.process_time()
    with costing() as cost:
        rows = work(*arguments)
    cpu = time.process_time() - cpu
    pipe.send({"rows": rows, "seconds": cost.seconds, "cpu": cpu, "peak_mb": cost.peak_mb})


def scanned(folder: Path) -> int:
    """The floor of reading: every column decoded and summed."""
    frame = pl.scan_parquet(folder / "*.parquet")
    whole = frame.select(
        pl.col("episode_id", "step", "action", "reward").sum(),
        pl.col("terminated", "truncated").sum(),
        pl.col("observation").arr.sum().sum(),
        rows=pl.len(),
    )
    return int(whole.collect(engine="streaming")["rows"][0])


def copied(rows: int) -> int:
    """The floor of writing: as many bytes as the store's, copied in memory in pieces."""
    piece = np.ones(1 << 24, np.uint8)
    into = np.empty_like(piece)
    for _ in range(-(-rows * ROW_BYTES // len(piece))):
        np.copyto(into, piece)
    return rows


def converted(folder: Path, store: Path) -> int:
    """Parquet to store."""
    return convert(
        folder, out=store, action_table=folder.parent / "actions.parquet", resume=False
    ).rows


def opened(store: Path) -> int:
    """How long until the log is there."""
    return len(open_store(store))


def drawn(store: Path) -> int:
    """Random minibatches."""
    generator = torch.Generator().manual_seed(0)
    for _ in minibatches(open_store(store), BATCH, BATCHES, generator):
        pass
    return BATCH * BATCHES


def verified(store: Path) -> int:
    """Every byte and every rule."""
    verify_store(store)
    return len(open_store(store))


def relabelled(store: Path, out: Path) -> int:
    """A table of points, the cheapest there is: what is left is reading and writing."""
    log = open_store(store)
    points = random_points(
        log.take_episodes(np.arange(1)), config=RandomTableConfig(dim=10), features=None, seed=0
    )
    return relabel_files(store, points, out, sidecar=True, resume=False).rows


def built(store: Path, rows: int) -> int:
    """d3rlpy's data set from the first of the rows."""
    log = open_store(store)
    episodes = int(np.searchsorted(log.episode_offsets, rows, side="right")) - 1
    part = log.take_episodes(np.arange(episodes))
    mdp_dataset(part)
    return len(part)


def main() -> None:
    """Prints a line a piece of work."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000_000)
    parser.add_argument("--folder", type=Path, help="kept; by default made and removed")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        log, store, points = folder / "log", folder / "store", folder / "points"
        log.mkdir(parents=True, exist_ok=True)
        make(log, asked.rows)
        print(f"{asked.rows:,} rows; {'work':>24} {'M rows/s':>9} {'CPU s':>7} {'peak MB':>8}")
        pieces: list[tuple[str, Callable[..., int], tuple[Any, ...]]] = [
            ("floor: polars scan", scanned, (log,)),
            ("floor: memory copy", copied, (asked.rows,)),
            ("convert", converted, (log, store)),
            ("open", opened, (store,)),
            ("minibatches of 256", drawn, (store,)),
            ("check everything", verified, (store,)),
            ("relabel, points alone", relabelled, (store, points)),
            ("MDPDataset of 1 M rows", built, (store, min(1_000_000, asked.rows))),
        ]
        for name, work, arguments in pieces:
            found = measured(work, *arguments)
            rate = found["rows"] / found["seconds"] / 1e6
            told = f"{found['seconds'] * 1e3:.1f} ms" if name == "open" else f"{rate:.2f}"
            print(f"{name:>38} {told:>9} {found['cpu']:7.1f} {found['peak_mb']:8,.0f}", flush=True)


if __name__ == "__main__":
    main()
