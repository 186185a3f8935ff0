"""The trials before the bench: as many for every method, on another log and other seeds.

What was tried, what it came to and what was chosen is kept in `tuned.json`; the bench takes its
settings from there, and says `untuned default` where a method has none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from offline_actrep.bench.data import cell_data, make_log, read_cell_log
from offline_actrep.bench.job import Job
from offline_actrep.bench.plan import BenchMethod, BenchRecipe, Cell, Trial, Tuning
from offline_actrep.bench.setup import Setup, pipeline, setup
from offline_actrep.files.artifact import digest, read_json, write_json
from offline_actrep.made_by import made_by
from offline_actrep.run import Layout, policy_result, run

TUNED = "tuned"
UNTUNED = "untuned default"


@dataclass(frozen=True)
class Tuned:
    """What the trials chose.

    Attributes:
        content: of `tuned.json`.
    """

    content: Mapping[str, Any]

    @staticmethod
    def read(file: Path) -> "Tuned":
        """Nothing is chosen if there is no file."""
        return Tuned(read_json(file) if file.is_file() else {"worlds": {}})

    def trial(self, bench: BenchRecipe, cell: Cell, each: BenchMethod) -> tuple[Trial, str]:
        """The settings of a method on a log, and whether trials chose them.

        Trials of other settings than the bench lists now choose nothing.
        """
        each = each if each.trials_of is None else bench.method(each.trials_of)
        if bench.tuning is None:
            return Trial(), UNTUNED
        tried = bench.tried_on(bench.tuning, cell)
        entry = self.content["worlds"].get(_place(bench.tuning, tried), {}).get(each.name)
        if entry is None or entry["chosen"] is None:
            return Trial(), UNTUNED
        setups = trial_setups(bench, bench.tuning, tried, each)
        if entry["hash"] != trials_hash(bench.tuning, setups):
            return Trial(), UNTUNED
        return each.trials[entry["chosen"]], TUNED


def _place(tuning: Tuning, cell: Cell) -> str:
    """The key of a log's trials in `tuned.json`: what it is called, without the tuning's tier."""
    world = cell.world if cell.tier == tuning.tier else f"{cell.world}-{cell.tier}"
    return world + (f"@{cell.setting}" if cell.setting else "")


def trial_setups(bench: BenchRecipe, tuning: Tuning, cell: Cell, each: BenchMethod) -> list[Setup]:
    """A method's trials as they are run."""
    data = cell_data(bench, cell, tuning.data_seed)
    steps = {} if tuning.steps is None else {"steps": tuning.steps}
    trials = [trial.model_copy(update={"learner": trial.learner | steps}) for trial in each.trials]
    return [
        setup(bench, data, cell, each, trial, TUNED, name=f"{each.name} #{k}")
        for k, trial in enumerate(trials)
    ]


def trials_hash(tuning: Tuning, setups: list[Setup]) -> str:
    """Of everything that the choice depends on."""
    return digest("trials", [each.trial_hash for each in setups], tuning.seeds, tuning.rule)


def tune(job: Job) -> None:
    """Runs the trials that the part needs and `tuned.json` lacks; it is written after every log.

    Trials that failed are run again.

    Raises:
        ValueError: the bench has no trials.
    """
    bench, tuning = job.bench, job.bench.tuning
    if tuning is None:
        raise ValueError("the bench has no [tuning] table: nothing to try")
    asked: dict[Cell, dict[str, BenchMethod]] = {}
    for cell in filter(job.only.has, bench.cells()):
        wanted = [each for each in bench.methods_in(cell) if job.only.has_method(each.name)]
        own = [bench.method(each.trials_of or each.name) for each in wanted]
        tried = asked.setdefault(bench.tried_on(tuning, cell), {})
        tried |= {each.name: each for each in own}
    for cell, methods in asked.items():
        place = _place(tuning, cell)
        known = Tuned.read(job.places.tuned).content["worlds"].get(place, {})
        todo = {}
        for name, each in methods.items():
            setups = trial_setups(bench, tuning, cell, each)
            if not _done(known.get(name), trials_hash(tuning, setups)):
                todo[name] = setups
        if todo:
            _keep(tuning, job.places.tuned, place, _tried(job, tuning, cell, todo))


def _done(entry: Mapping[str, Any] | None, hash_now: str) -> bool:
    """Whether all trials of an entry are those that are listed now, and came to a score."""
    if entry is None or entry["hash"] != hash_now:
        return False
    return all(trial["score"] is not None for trial in entry["trials"])


def _tried(job: Job, tuning: Tuning, cell: Cell, todo: Mapping[str, list[Setup]]) -> dict[str, Any]:
    """Every trial on a log with every seed; the entries of its methods."""
    bench, out = job.bench, job.places.out
    data = cell_data(bench, cell, tuning.data_seed)
    log = make_log(data, job.places.logs, on_stage=job.told.on_stage)
    short = bench.evaluate.model_copy(update={"episodes": 2, "candidates": 1})
    setups = [each for trials in todo.values() for each in trials]
    curves: dict[tuple[str, int], list[float]] = {}
    recipe = pipeline(
        bench, data, cell, log, setups, tuning.seeds, evaluate=short, estimating=False
    )
    layout = Layout(recipe, out / recipe.name)

    def keep(learner: Any, made: int) -> None:
        looks = policy_result(layout, learner, made)["curve"]
        curves[learner.name, made] = [look["return"] for look in looks][-tuning.looks :]

    run(
        recipe,
        out,
        workers=job.workers,
        on_event=job.told.on_event,
        on_judged=keep,
        on_failure=lambda stage, error: job.told.fail(f"{data.name}, {stage}: {error}"),
    )
    tried_on = {"log": read_cell_log(log).fingerprint}
    return {name: tried_on | _entry(tuning, name, trials, curves) for name, trials in todo.items()}


def _entry(
    tuning: Tuning,
    name: str,
    trials: list[Setup],
    curves: Mapping[tuple[str, int], list[float]],
) -> dict[str, Any]:
    """A trial that failed with any seed has no score and is not chosen."""
    tried = []
    for k, each in enumerate(trials):
        looks = {str(seed): curves.get((f"{name} #{k}", seed)) for seed in tuning.seeds}
        whole = [seen for seen in looks.values() if seen]
        score = float(np.mean(whole)) if len(whole) == len(looks) else None
        settings = {"learner": each.learner_settings, "points": each.points_settings}
        tried.append({"settings": settings, "last_returns": looks, "score": score})
    scores = [-np.inf if trial["score"] is None else trial["score"] for trial in tried]
    best = int(np.argmax(scores))
    return {
        "hash": trials_hash(tuning, trials),
        "chosen": best if np.isfinite(scores[best]) else None,
        "trials": tried,
    }


def _keep(tuning: Tuning, file: Path, place: str, found: dict[str, Any]) -> None:
    worlds = dict(Tuned.read(file).content["worlds"])
    stamped = {name: entry | made_by() for name, entry in found.items()}
    worlds[place] = worlds.get(place, {}) | stamped
    file.parent.mkdir(parents=True, exist_ok=True)
    # not in tuning.rule, which is in every trial's hash: it says nothing new of the others
    rule = f"{tuning.rule}; a sweep that is tuned at each value has trials on its own logs"
    said = {"rule": rule, "trials_a_method": tuning.trials, "worlds": worlds}
    write_json(file, said)
