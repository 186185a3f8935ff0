"""Does a kill leave a trace? Run: `python tests/benchmarks/relabel_kill.py`.

Re-labels a log in child processes that are killed by SIGKILL at random moments and started again,
until there were 50 kills; every output that came to its end must have the bytes of one that was
never killed. Both sources (store, parquet), both forms (parquet, sidecar). It exits with 1 if not.
"""

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from relabel_logs import WRITERS, encoder, in_child, wait_for

from offline_actrep.relabel_stream import relabel_files


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all that lies in a folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def kill_often(
    source: Path, folder: Path, sidecar: bool, kills: int, draws: np.random.Generator
) -> tuple[int, int]:
    """(outputs that came to their end, outputs with other bytes than one that was not killed)."""
    representation = encoder(1, 64, 8)

    def work(out: Path) -> None:
        relabel_files(source, representation, out, sidecar=sidecar, rows_a_part=8192)

    began = time.monotonic()
    assert wait_for(in_child(lambda: work(folder / "whole"))) == 0
    took = time.monotonic() - began
    expected = digests(folder / "whole")
    done = wrong = killed = 0
    while killed < kills or not done:
        out = folder / f"out-{done}"
        child = in_child(lambda out=out: work(out))
        if killed < kills:
            time.sleep(draws.uniform(0, took))
            os.kill(child, signal.SIGKILL)
        ended = wait_for(child)
        assert ended in (0, -signal.SIGKILL), f"the child ended with {ended}"
        killed += ended == -signal.SIGKILL
        if ended == 0:
            done += 1
            wrong += digests(out) != expected or out.with_name(out.name + ".draft").exists()
        else:
            assert not out.exists() or digests(out) == expected, "half an output has its name"
    return done, wrong


def main() -> int:
    """Prints a line a kind of source and form of output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50, help="in all, shared among four")
    parser.add_argument("--rows", type=int, default=1 << 18)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draws = np.random.default_rng(asked.seed)
    wrong = 0
    kinds = [(kind, sidecar) for kind in WRITERS for sidecar in (False, True)]
    for n, (kind, sidecar) in enumerate(kinds):
        kills = asked.kills // 4 + (n < asked.kills % 4)
        with tempfile.TemporaryDirectory() as place:
            source = Path(place) / "source"
            assert wait_for(in_child(lambda s=source, k=kind: WRITERS[k](s, asked.rows))) == 0
            done, bad = kill_often(source, Path(place), sidecar, kills, draws)
        wrong += bad
        form = "points" if sidecar else "parquet"
        print(f"{kind} -> {form}: {kills} kills, {done} outputs, {bad} of them other bytes")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
