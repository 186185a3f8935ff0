"""Is re-labelling flat in memory? Run: `python tests/benchmarks/relabel_memory.py`.

How far the resident memory of a process rises above where it stood while it re-labels a log, for
logs of several sizes. The last column is what the larger log takes more than the smaller one; it
exits with 1 if that is more than 100 MB. Linux only: it reads `/proc/self/status`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from relabel_logs import WRITERS, in_child, table, wait_for

from offline_actrep.relabel_stream import ROWS_A_PART, relabel_files

MOST = 100
"""MB that a larger log may take more than a smaller one."""


def status(field: str) -> float:
    """A line of this process's status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/self/status has no {field}")


def growth(source: Path, out: Path, sidecar: bool, rows_a_part: int) -> float:
    """MB above the start, at the highest."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
    before = status("VmRSS")
    relabel_files(source, table(), out, sidecar=sidecar, rows_a_part=rows_a_part)
    return status("VmHWM") - before


def measure(kind: str, rows: int, sidecar: bool, rows_a_part: int, folder: Path) -> float:
    """The growth for a log of so many rows, in a process of its own."""
    source, found = folder / f"{kind}-{rows}", folder / "growth.json"
    if not source.exists():
        assert wait_for(in_child(lambda: WRITERS[kind](source, rows))) == 0

    def work() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            grown = growth(source, Path(place) / "out", sidecar, rows_a_part)
        found.write_text(json.dumps(grown))

    assert wait_for(in_child(work)) == 0
    return json.loads(found.read_text())


def main() -> None:
    """Prints a line a kind of source and form of output; as JSON with `--json`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, nargs=2, default=[1_000_000, 5_000_000])
    parser.add_argument("--rows-a-part", type=int, default=ROWS_A_PART)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in WRITERS:
            for sidecar in (False, True):
                grown = [
                    measure(kind, rows, sidecar, asked.rows_a_part, Path(folder))
                    for rows in asked.rows
                ]
                form = "points" if sidecar else "parquet"
                lines.append({"source": kind, "form": form, "MB": [round(one) for one in grown]})
    if asked.json:
        json.dump(lines, sys.stdout)
    else:
        small, large = asked.rows
        print(f"growth in MB over {small:,} and {large:,} rows, and the difference")
        for line in lines:
            less, more = line["MB"]
            print(f"{line['source']:>8} -> {line['form']:<8} {less:5} {more:5} {more - less:+5}")
    if any(more - less > MOST for less, more in (line["MB"] for line in lines)):
        sys.exit(f"not flat: more than {MOST} MB between the two sizes")


if __name__ == "__main__":
    main()
