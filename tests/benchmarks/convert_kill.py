"""Does a kill leave a trace? Run: `python tests/benchmarks/convert_kill.py [--kills 50]`.

Converts a dirty log in child processes that are killed by SIGKILL at random moments and started
again until there were so many kills. Every result must have the bytes of one that was never
killed, and nothing that a kill leaves may open. Rows in order and in no order, as a store and as
parquet, in turn. It exits with 1 if not.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from offline_actrep.files.manifest import is_store

CHILD = """
import sys
from offline_actrep.convert import convert
module = sys.modules[convert.__module__]
module.LEAST_ROWS = module.MOST_ROWS = {rows}
print("ready", flush=True)
convert({source!r}, out={out!r}, format={format!r})
"""
CASES = [(format, order) for format in ("store", "parquet") for order in (True, False)]


def write_log(folder: Path, episodes: int, in_order: bool) -> None:
    """Five rows an episode, some of them broken, in four files."""
    rng = np.random.default_rng(0)
    n = 5 * episodes
    reward = rng.random(n).astype(np.float32)
    reward[rng.integers(0, n, n // 500)] = np.nan
    last = np.arange(n) % 5 == 4
    whole = pl.DataFrame(
        {
            "episode_id": np.repeat([f"e{k:07d}" for k in range(episodes)], 5),
            "step": np.tile(np.arange(5), episodes),
            "observation": pl.Series(rng.normal(size=(n, 4)).astype(np.float32)),
            "action": rng.integers(0, 1000, n),
            "reward": reward,
            "terminated": last,
            "action_probability": rng.uniform(0.1, 1, n),
        }
    )
    order = np.arange(n) if in_order else rng.permutation(n)
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(order, 4)):
        whole[rows].write_parquet(folder / f"part-{number}.parquet")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def run(code: str, seconds: float | None) -> tuple[bool, float]:
    """Whether the child came to its end before it was killed, and how long it worked."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        begun = time.monotonic()
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.returncode not in (0, -9):
            raise SystemExit(f"a child ended with {child.returncode}")
        return child.returncode == 0, time.monotonic() - begun


def main() -> int:
    """Kills, and compares."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--kills", type=int, default=50)
    asked.add_argument("--episodes", type=int, default=20_000)
    asked.add_argument("--partition-rows", type=int, default=2_000)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    rng = np.random.default_rng(given.seed)
    kills = compared = wrong = 0
    with tempfile.TemporaryDirectory() as place:
        cases = []
        for format, in_order in CASES:
            folder = Path(place) / f"{format}-{in_order}"
            write_log(folder / "logs", given.episodes, in_order)
            out = folder / "out"
            code = CHILD.format(
                rows=given.partition_rows,
                source=str(folder / "logs"),
                out=str(out),
                format=format,
            )
            _, seconds = run(code, None)
            cases.append((f"{format}, in order: {in_order}", out, code, digests(out), seconds))
            shutil.rmtree(out)
        while kills < given.kills:
            name, out, code, expected, seconds = cases[compared % len(cases)]
            ended = False
            while not ended:
                limit = float(rng.uniform(0, seconds)) if kills < given.kills else None
                ended, _ = run(code, limit)
                kills += not ended
                if not ended and out.exists() and "store" in name and not is_store(out):
                    wrong += 1
                    print(f"after kill {kills}: half a store at {out}")
            same = digests(out) == expected
            left = sorted(one.name for one in out.parent.iterdir())
            wrong += not same or left != ["logs", "out"]
            compared += 1
            verdict = "same bytes" if same else "OTHER BYTES"
            print(f"{kills:3d} kills, result {compared:2d} ({name}): {verdict}", flush=True)
            shutil.rmtree(out)
    print(f"{kills} kills, {compared} results compared, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
