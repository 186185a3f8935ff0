"""How fast is re-labelling? Run: `python tests/benchmarks/relabel_speed.py`.

Set `OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1` first. CPU time of one thread, all variants in turn in
one process, medians of some rounds with their spread; trust the ratios. "Loop" is one call of the
encoder a row, as the naive way does it. The floors are what no re-labelling can do without: copying
the numbers, and scanning the columns with polars.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from relabel_logs import DIM, SIZE, WRITERS, columns, encoder

from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.relabel import embed_rows
from offline_actrep.relabel_stream import relabel_files

LOOPED = 2_000
ENCODERS = {
    "1 x 256": (1, 256, 32),
    "2 x 256": (2, 256, 32),
    "1 x 128 (default)": (1, 128, 8),
}


def loop(representation: AbstractRepresentation, seen: np.ndarray, taken: np.ndarray) -> None:
    """A call a row."""
    points = np.empty((LOOPED, DIM), np.float32)
    for n in range(LOOPED):
        one = representation.embed(
            torch.from_numpy(seen[n : n + 1]), torch.from_numpy(taken[n : n + 1])
        )
        points[n] = one.numpy()[0]


def timed(work: dict[str, tuple[Callable[[], object], int]], rounds: int) -> dict[str, list[float]]:
    """Seconds a row of every variant, a number a round."""
    spent: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, (method, rows) in work.items():
            began = time.process_time()
            method()
            spent[name].append((time.process_time() - began) / rows)
    return spent


def main() -> None:
    """Prints the floors, then a table an encoder."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    rows = asked.rows - asked.rows % 16
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as place:
        sources = {kind: Path(place) / f"source-{kind}" for kind in WRITERS}
        for kind, path in sources.items():
            WRITERS[kind](path, rows)
        block = columns(0, rows)
        seen, taken = block["observation"], block["action"]
        floors = {
            "memory copy of observations and points": (
                lambda: (seen.copy(), np.zeros((rows, DIM), np.float32).copy()),
                rows,
            ),
            "polars scan, observation and action": (
                lambda: (
                    pl.scan_parquet(sources["parquet"], glob=False)
                    .select("observation", "action")
                    .collect(engine="streaming")
                ),
                rows,
            ),
            "polars scan, all columns": (
                lambda: pl.scan_parquet(sources["parquet"], glob=False).collect(engine="streaming"),
                rows,
            ),
        }

        def variants(shape: tuple[int, int, int]) -> dict[str, tuple[Callable[[], object], int]]:
            representation = encoder(*shape)

            def stream(kind: str, sidecar: bool) -> Callable[[], object]:
                def run() -> None:
                    out = Path(place) / "out"
                    shutil.rmtree(out, ignore_errors=True)
                    relabel_files(sources[kind], representation, out, sidecar=sidecar)

                return run

            return {
                "loop": (lambda: loop(representation, seen, taken), LOOPED),
                "in memory": (lambda: embed_rows(representation, seen, taken), rows),
                **{
                    f"{kind} -> {'points' if sidecar else 'parquet'}": (stream(kind, sidecar), rows)
                    for kind in sources
                    for sidecar in (False, True)
                },
            }

        print(f"{rows:,} rows, observations of {SIZE}, points of {DIM}, 4,096 actions")
        for name, (depth, *rest) in ENCODERS.items():
            spent = timed(floors | variants((depth, *rest)), asked.rounds)
            slow = statistics.median(spent["loop"])
            print(f"\nencoder {name}{'':30} ns a row   spread   Mrows/s    x loop")
            for variant, each in spent.items():
                middle = statistics.median(each)
                spread = (max(each) - min(each)) / middle
                print(
                    f"{variant:45} {middle * 1e9:9,.0f}   {spread:5.0%} {1e-6 / middle:10.2f}"
                    f" {slow / middle:9.1f}"
                )


if __name__ == "__main__":
    main()
