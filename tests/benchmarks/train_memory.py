"""Is training flat in memory? Run: `python tests/benchmarks/train_memory.py`.

How far the resident memory of a process rises above where it stood while it trains on a store of
several sizes: a learner of ids, one of points (a sidecar file), and d3rlpy's own TD3+BC through
`replay_buffer`. The last column is bytes a row that the larger store takes more than the smaller;
a row of the store has 64 bytes of observation and 64 of next observation. Columns of no more than
64 MiB may stay in memory; `--limit` lowers that, for a quick look at small stores. Linux only: it
reads `/proc/self/status`.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from d3rlpy.algos import TD3PlusBCConfig
from d3rlpy.logging import NoopAdapterFactory
from relabel_logs import in_child, table, wait_for, write_store
from relabel_memory import status

from offline_actrep.core import mapped
from offline_actrep.files.store import open_store
from offline_actrep.offline import columns
from offline_actrep.offline.bridge import replay_buffer
from offline_actrep.offline.train import train
from offline_actrep.relabel import Relabelled
from offline_actrep.relabel_stream import open_points, relabel_files

SETTINGS = {"hidden": (32,), "batch_size": 256}


def on_ids(store: Path, points: Path, steps: int) -> None:
    """This package's discrete BC."""
    train(open_store(store), "discrete_bc", seed=0, steps=steps, **SETTINGS)


def on_points(store: Path, points: Path, steps: int) -> None:
    """This package's TD3+BC."""
    train(_relabelled(store, points), "td3_plus_bc", seed=0, steps=steps, **SETTINGS)


def through_d3rlpy(store: Path, points: Path, steps: int) -> None:
    """d3rlpy's TD3+BC."""
    TD3PlusBCConfig().create().fit(
        replay_buffer(_relabelled(store, points), seed=0),
        n_steps=steps,
        n_steps_per_epoch=steps,
        show_progress=False,
        logger_adapter=NoopAdapterFactory(),
    )


def _relabelled(store: Path, points: Path) -> Relabelled:
    return Relabelled(open_store(store), table(), open_points(points))


WORK: dict[str, Callable[[Path, Path, int], None]] = {
    "ids": on_ids,
    "points": on_points,
    "d3rlpy": through_d3rlpy,
}


def measure(name: str, rows: int, steps: int, folder: Path) -> float:
    """MB above the start, at the highest, in a process of its own."""
    store, points, found = folder / f"{rows}", folder / f"{rows}-points", folder / "growth.json"

    def write() -> None:
        write_store(store, rows)
        relabel_files(store, table(), points, sidecar=True)

    def work() -> None:
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        WORK[name](store, points, steps)
        found.write_text(json.dumps(status("VmHWM") - before))

    if not store.exists():
        assert wait_for(in_child(write)) == 0
    assert wait_for(in_child(work)) == 0
    return json.loads(found.read_text())


def main() -> None:
    """Prints a line a way to train; as JSON with `--json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs=2, default=[2_000_000, 6_000_000])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.limit is not None:
        mapped._SMALL = columns.HELD = asked.limit
    torch.set_num_threads(1)
    few, many = (rows - rows % 16 for rows in asked.rows)
    lines = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in WORK:
            grown = [measure(name, rows, asked.steps, Path(folder)) for rows in (few, many)]
            lines[name] = {"MB": grown, "bytes_a_row": (grown[1] - grown[0]) * 2**20 / (many - few)}
    if asked.json:
        json.dump(lines, sys.stdout)
        return
    print(f"growth in MB over {few:,} and {many:,} rows; bytes a row more")
    for name, line in lines.items():
        less, more = line["MB"]
        print(f"{name:>8} {less:6.0f} {more:6.0f} {line['bytes_a_row']:6.1f}")


if __name__ == "__main__":
    main()
