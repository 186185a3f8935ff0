"""Is a row what the same settings give again? A random slice of them is run anew and compared."""

import shutil
from dataclasses import dataclass, replace

import numpy as np

from offline_actrep.bench.data import cell_data, make_log, references
from offline_actrep.bench.job import Job
from offline_actrep.bench.rows import FQE, LATER, Row, read_rows
from offline_actrep.bench.running import Ground, run_cell, setups_of, sorted_out, wanted
from offline_actrep.bench.tuning import Tuned

AGAIN = "again"
"""Folder of what is run again, in that of the runs."""
SAME_BITS = "same bits"
WITHIN = "within tolerance"
DIFFERS = "differs"
COMPARED = (
    "mean_return", "discounted_return", "fqe", "fqe_low", "fqe_high", "chosen_step",
    "chosen_return", "curve_steps", "curve_returns", "effect_r2", "neighbour_ratio",
    "random_return", "best_return",
)  # fmt: skip
"""What a row must give again, with what it knows of `LATER`: all it found but what it cost."""


@dataclass(frozen=True)
class Again:
    """A row that was run again.

    Attributes:
        row: as it stands.
        found: what the row's normalised return is now.
        verdict: `SAME_BITS`, `WITHIN` or `DIFFERS`.
        why: what was compared, and where it differs.
    """

    row: Row
    found: float
    verdict: str
    why: str


def check(job: Job) -> list[Again]:
    """Runs a random slice of the rows again, in a fresh folder, and compares.

    The log must be the same everywhere. On the kind of machine that made a row, with the same
    versions, everything but its cost must be the same bit for bit; elsewhere its normalised return
    must lie within the bench's tolerance.

    Raises:
        ValueError: there is no row to run again.
    """
    bench, places = job.bench, job.places
    tuned = Tuned.read(places.tuned)
    current, _ = sorted_out(read_rows(places.rows), wanted(bench, tuned))
    there = [row for row in current if job.only.has_row(row.key)]
    if not there:
        raise ValueError(f"{places.rows} has no row of this bench to run again")
    draws = np.random.default_rng(bench.check.seed)
    count = min(bench.check.rows, len(there))
    places_drawn = sorted(draws.choice(len(there), size=count, replace=False))
    fresh = replace(job, places=replace(places, out=places.out / AGAIN))
    if fresh.places.out.exists():
        shutil.rmtree(fresh.places.out)
    return [_again(fresh, tuned, there[place]) for place in places_drawn]


def _again(job: Job, tuned: Tuned, row: Row) -> Again:
    job.told.on_note(f"again: {row.method} on {row.cell.name}, seed {row.seed}")
    data = cell_data(job.bench, row.cell)
    each = setups_of(job.bench, tuned, row.cell, data)[row.method]
    log = make_log(data, job.places.logs, on_stage=job.told.on_stage)
    ground, made = Ground(row.cell, data, log, references(job.bench, data, log)), list[Row]()
    run_cell(job, ground, [each], row.seed, made.append)
    if not made:
        return Again(row, float("nan"), DIFFERS, "it failed this time")
    return compared(row, made[0], job.bench.check.tolerance)


def compared(row: Row, again: Row, tolerance: float) -> Again:
    """A row and what it is now: bit for bit where the machine is the same."""
    unknown = {name for name in LATER if getattr(row, name) is None}
    if row.fqe_hash != again.fqe_hash:
        unknown |= set(FQE)
    names = [name for name in (*COMPARED, *LATER) if name not in unknown]
    wrong = [name for name in names if getattr(row, name) != getattr(again, name)]
    found, gap = again.normalised, abs(again.normalised - row.normalised)
    if row.data_hash != again.data_hash:
        return Again(row, found, DIFFERS, "the log that was made is another one")
    if not wrong:
        return Again(row, found, SAME_BITS, "everything but the cost is the same bit for bit")
    there = f"other {', '.join(wrong)}; normalised return {row.normalised:.4g}, now {found:.4g}"
    if row.machine == again.machine:
        return Again(row, found, DIFFERS, f"on the same kind of machine, same versions: {there}")
    verdict = WITHIN if gap <= tolerance else DIFFERS
    return Again(row, found, verdict, f"on another machine (tolerance {tolerance:g}): {there}")
