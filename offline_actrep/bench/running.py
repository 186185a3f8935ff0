"""Running a bench: whatever has no row of its own yet, seed by seed.

Seeds are the outer loop, so that a bench that is stopped early has every world at fewer seeds. A
row is written as soon as its policy is judged; the same command goes on after a kill.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from offline_actrep.bench.data import (
    CellData,
    References,
    cell_data,
    make_log,
    published_hash,
    references,
)
from offline_actrep.bench.job import Job
from offline_actrep.bench.plan import BenchRecipe, Cell
from offline_actrep.bench.rows import Key, Row, read_rows, words, write_rows
from offline_actrep.bench.setup import Setup, pipeline, setup
from offline_actrep.bench.tuning import Tuned
from offline_actrep.dataset import ANOTHER_LOG, ROUNDED
from offline_actrep.run import Layout, WorkerDied, points_result, policy_result, run


def setups_of(bench: BenchRecipe, tuned: Tuned, cell: Cell, data: CellData) -> dict[str, Setup]:
    """Every method of a log by name, with the settings that the trials chose."""
    return {
        each.name: setup(bench, data, cell, each, *tuned.trial(bench, cell, each))
        for each in bench.methods_in(cell)
    }


def wanted(bench: BenchRecipe, tuned: Tuned) -> dict[Key, Setup]:
    """Every row that the bench should have, with what it is to be made from."""
    setups = dict[Key, Setup]()
    for cell in bench.cells():
        for name, each in setups_of(bench, tuned, cell, cell_data(bench, cell)).items():
            setups |= {(name, cell, seed): each for seed in bench.seeds}
    return setups


def sorted_out(rows: Mapping[Key, Row], setups: Mapping[Key, Setup]) -> tuple[list[Row], list[Row]]:
    """The rows that are as the bench says now, and those that are outdated or no longer asked.

    The first are without FQE's word where the bench says something else about FQE now.
    """
    current, outdated = list[Row](), list[Row]()
    for key, row in rows.items():
        each = setups.get(key)
        if each is None or each.hash != row.config_hash:
            outdated.append(row)
        else:
            current.append(row if each.fqe_hash == row.fqe_hash else row.without_fqe())
    return current, outdated


def unjudged(bench: BenchRecipe, current: Sequence[Row]) -> int:
    """How many rows that are as the bench says lack the word of FQE that it asks for."""
    return 0 if bench.estimate is None else sum(row.fqe_hash is None for row in current)


def run_bench(job: Job) -> list[Row]:
    """Runs what has no row, or an outdated one; the new rows.

    What fails is told, and the rest goes on.
    """
    bench, places, only = job.bench, job.places, job.only
    tuned, known, new = Tuned.read(places.tuned), dict[Cell, References](), list[Row]()

    def keep(row: Row) -> None:
        new.append(row)
        write_rows(places.rows, (read_rows(places.rows) | {row.key: row}).values())

    for seed in filter(only.has_seed, bench.seeds):
        for cell in filter(only.has, bench.cells()):
            data = cell_data(bench, cell)
            setups = setups_of(bench, tuned, cell, data)
            asked = [each for name, each in setups.items() if only.has_method(name)]
            rows = _named_anew(job, {(each.method, cell, seed): each for each in asked})
            expected = published_hash(bench, data)
            if not _missing(asked, cell, seed, rows, expected) and _one_log(asked, cell, rows):
                continue
            try:
                log = make_log(data, places.logs, on_stage=job.told.on_stage)
                if cell not in known:
                    known[cell] = references(bench, data, log)
                    if expected not in (None, known[cell].data_hash):
                        job.told.on_note(f"{cell.name}: {ANOTHER_LOG}")
                missing = _missing(asked, cell, seed, rows, known[cell].data_hash)
                if missing:
                    _refuse_mixture(job, cell, setups, rows, known[cell].data_hash)
                    said = f"{cell.name}, seed {seed}: {len(missing)} of {len(asked)} methods"
                    job.told.on_note(said)
                    run_cell(job, Ground(cell, data, log, known[cell]), missing, seed, keep)
            except (ValueError, OSError, ImportError, WorkerDied) as error:
                job.told.fail(f"{cell.name}, seed {seed}: {error}")
    return new


def _named_anew(job: Job, setups: Mapping[Key, Setup]) -> dict[Key, Row]:
    """The rows; trials that chose the defaults have changed no more than where they come from."""
    rows = read_rows(job.places.rows)
    same = {
        key: replace(rows[key], tuning=each.tuning)
        for key, each in setups.items()
        if key in rows and rows[key].config_hash == each.hash and rows[key].tuning != each.tuning
    }
    if same:
        rows |= same
        write_rows(job.places.rows, rows.values())
    return rows


@dataclass(frozen=True)
class Ground:
    """A log that is there, and what returns on it are held against."""

    cell: Cell
    data: CellData
    log: Path
    known: References


def _missing(
    setups: Iterable[Setup],
    cell: Cell,
    seed: int,
    rows: Mapping[Key, Row],
    data_hash: str | None,
) -> list[Setup]:
    """Those whose row is not there, has other settings, or (if the log is known) another log.

    Where FQE alone is set otherwise, a policy that is still there is judged again, not trained.
    """

    def stands(each: Setup) -> bool:
        row = rows.get((each.method, cell, seed))
        if row is None or (row.config_hash, row.fqe_hash) != (each.hash, each.fqe_hash):
            return False
        return data_hash is None or row.data_hash == data_hash

    return [each for each in setups if not stands(each)]


def _one_log(setups: Iterable[Setup], cell: Cell, rows: Mapping[Key, Row]) -> bool:
    """Whether the rows that these settings made, of any seed, are of the same log."""
    hashes = {each.method: each.hash for each in setups}
    made_from = {
        row.data_hash
        for row in rows.values()
        if row.cell == cell and hashes.get(row.method) == row.config_hash
    }
    return len(made_from) <= 1


def _refuse_mixture(
    job: Job, cell: Cell, setups: Mapping[str, Setup], rows: Mapping[Key, Row], data_hash: str
) -> None:
    """Rows of two logs are not to be held against each other.

    Raises:
        ValueError: rows of another log, which this part of the bench does not make anew, would
            stand beside those of this one.
    """
    asked = {(name, cell, seed): each for name, each in setups.items() for seed in job.bench.seeds}
    current, _ = sorted_out(rows, asked)
    others = [row for row in current if row.data_hash != data_hash]
    staying = [row for row in others if not job.only.has_row(row.key)]
    if staying:
        raise ValueError(
            f"the log made here ({data_hash[:12]}) is not the one ({staying[0].data_hash[:12]}) of "
            f"{len(staying)} rows that would stand beside its own: {ROUNDED}. Run all methods and "
            "seeds of this log, which makes those rows anew, or keep the new ones apart (--publish)"
        )


def run_cell(
    job: Job, ground: Ground, setups: Sequence[Setup], seed: int, on_row: Callable[[Row], None]
) -> None:
    """Runs methods on a log with one seed; a row each as soon as it is there."""
    cell, out = ground.cell, job.places.out
    recipe = pipeline(job.bench, ground.data, cell, ground.log, setups, (seed,))
    layout = Layout(recipe, out / recipe.name)
    by_name = {each.learner.name: each for each in setups}
    run(
        recipe,
        out,
        workers=job.workers,
        on_event=job.told.on_event,
        on_judged=lambda learner, made: on_row(
            _row(layout, by_name[learner.name], cell, made, ground.known)
        ),
        on_failure=lambda stage, error: job.told.fail(f"{cell.name}, {stage}: {error}"),
    )


def _row(
    layout: Layout,
    each: Setup,
    cell: Cell,
    seed: int,
    known: References,
) -> Row:
    found = policy_result(layout, each.learner, seed)
    points = {} if each.points is None else points_result(layout, each.points, seed)
    cost = found["cost"] | points.get("cost", {})
    looks = [look for look in found["curve"] if look["return"] is not None]
    mean = float(np.mean(found["returns"]))
    chosen = found.get("chosen_by_fqe")
    chosen_return = None if chosen is None else float(np.mean(chosen["returns"]))
    return Row(
        method=each.method,
        world=cell.world,
        tier=cell.tier,
        setting=cell.setting,
        seed=seed,
        learner=each.learner.method,
        representation="" if each.points is None else each.points.method,
        actions=known.actions,
        steps=found["steps"],
        tuning=each.tuning,
        learner_settings=words(each.learner_settings),
        points_settings=words(each.points_settings),
        mean_return=mean,
        normalised=known.normalised(mean),
        episodes=len(found["returns"]),
        discounted_return=float(np.mean(found["discounted_returns"])),
        **{key: _of(found.get("fqe"), name) for key, name in _VALUE.items()},
        chosen_step=_of(chosen, "step"),
        chosen_return=chosen_return,
        chosen_normalised=None if chosen_return is None else known.normalised(chosen_return),
        curve_steps=[look["step"] for look in looks],
        curve_returns=[look["return"] for look in looks],
        random_return=known.random,
        best_return=known.best,
        best_by=known.best_by,
        behaviour_return=known.behaviour.value,
        behaviour_low=known.behaviour.low,
        behaviour_high=known.behaviour.high,
        fit_seconds=_of(cost.get("fit"), "seconds"),
        fit_peak_mb=_of(cost.get("fit"), "peak_mb"),
        relabel_seconds=_of(cost.get("relabel"), "seconds"),
        relabel_peak_mb=_of(cost.get("relabel"), "peak_mb"),
        train_seconds=cost["train"]["seconds"],
        train_peak_mb=cost["train"]["peak_mb"],
        decide_seconds=found["decide_seconds"],
        effect_r2=points.get("effect_r2"),
        neighbour_ratio=points.get("neighbour_ratio"),
        config_hash=each.hash,
        fqe_hash=each.fqe_hash,
        data_hash=known.data_hash,
        git_revision=found["git_revision"],
        machine=found["machine"],
        **found.get("choices", {}),
    )


_VALUE = {"fqe": "value", "fqe_low": "low", "fqe_high": "high"}


def _of(found: Mapping[str, Any] | None, name: str) -> Any:
    return None if found is None else found[name]
