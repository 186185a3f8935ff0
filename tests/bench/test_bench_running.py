"""The small bench from nothing: logs, rows, trials, a kill, running rows again."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from invented import a_row
from typer.testing import CliRunner

from offline_actrep.bench.checking import DIFFERS, SAME_BITS, WITHIN, check, compared
from offline_actrep.bench.data import CellData, cell_data, make_log, read_cell_log, references
from offline_actrep.bench.job import Job, Only, Places, Told
from offline_actrep.bench.plan import Cell, read_bench
from offline_actrep.bench.rows import FQE, Row, read_rows, write_rows
from offline_actrep.bench.running import run_bench, sorted_out, wanted
from offline_actrep.bench.tuning import TUNED, UNTUNED, Tuned, tune
from offline_actrep.cli import app
from offline_actrep.dataset import ANOTHER_LOG, Dataset
from offline_actrep.files.artifact import read_json, write_json
from offline_actrep.made_by import git_revision, machine
from offline_actrep.run import WorkerDied

PROGRAM = Path(sys.executable).with_name("offline-actrep")
SMALL = Path(__file__).parents[2] / "pipelines" / "bench_small.toml"
PLAIN, SWEPT = Cell("maze", "medium"), Cell("maze", "medium", "actuators=3")
COST = {
    "fit_seconds", "fit_peak_mb", "relabel_seconds", "relabel_peak_mb", "train_seconds",
    "train_peak_mb", "decide_seconds",
}  # fmt: skip


def quiet() -> Told:
    return Told(lambda event: None, lambda what: lambda *step: None, lambda line: None)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The small bench, run whole in this process; not to be written to."""
    folder = tmp_path_factory.mktemp("bench")
    places = Places(folder / "logs", folder / "out", folder / "pub")
    job = Job(read_bench(SMALL), places, quiet(), Only(), 1)
    assert len(run_bench(job)) == 8
    assert job.told.failed == []
    return job


def elsewhere(job: Job, folder: Path, **changes: Any) -> Job:
    """The same logs, other runs and rows."""
    places = replace(job.places, out=folder / "out", publish=folder / "pub")
    return replace(job, places=places, told=quiet(), **changes)


def found_in(row: Row) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name not in COST}


def test_there_is_a_row_of_everything_that_the_bench_asks_for(finished: Job) -> None:
    rows = read_rows(finished.places.rows)
    setups = wanted(finished.bench, Tuned.read(finished.places.tuned))
    hashes = {key: (each.hash, each.fqe_hash) for key, each in setups.items()}
    assert {key: (row.config_hash, row.fqe_hash) for key, row in rows.items()} == hashes
    assert {row.tuning for row in rows.values()} == {UNTUNED}
    assert {row.machine for row in rows.values()} == {machine()}
    assert {row.git_revision for row in rows.values()} == {git_revision()}
    for row in rows.values():
        assert row.actions == (8 if row.cell == SWEPT else 16)
        assert row.steps == 40 and row.curve_steps == [20, 40] and row.episodes == 4
        reach = row.best_return - row.random_return
        assert row.normalised == pytest.approx((row.mean_return - row.random_return) / reach)
        assert row.chosen_step in (20, 40) and row.fqe is not None
        assert (row.fit_seconds is None) == (row.method == "BC")
        assert row.train_seconds > 0 and row.decide_seconds > 0


def test_rows_of_one_log_share_it_and_its_references(finished: Job) -> None:
    rows = read_rows(finished.places.rows).values()
    for cell in (PLAIN, SWEPT):
        data = cell_data(finished.bench, cell)
        folder = make_log(data, finished.places.logs, on_stage=quiet().on_stage)
        known = references(finished.bench, data, folder)
        log = read_cell_log(folder)
        assert known.behaviour.value == pytest.approx(float(log.returns.mean()))
        assert known.best > known.random and known.normalised(known.best) == 1.0
        mine = [row for row in rows if row.cell == cell]
        assert {row.data_hash for row in mine} == {log.fingerprint}
        assert {(row.random_return, row.best_return) for row in mine} == {
            (known.random, known.best)
        }


def test_the_headroom_table_is_taken_where_it_knows_the_log(finished: Job, tmp_path: Path) -> None:
    table = tmp_path / "headroom.json"
    known = {"random": {"value": -1.0}, "best": {"value": 3.0}, "best_by": "somebody"}
    write_json(table, {"small_maze-medium": {"headroom": known}})
    bench = finished.bench.model_copy(update={"headroom": str(table)})
    for cell, best_by in ((PLAIN, "somebody"), (SWEPT, "scripted")):
        data = cell_data(bench, cell)
        folder = make_log(data, finished.places.logs, on_stage=quiet().on_stage)
        assert references(bench, data, folder).best_by == best_by
    known["best"]["value"] = -2.0
    write_json(table, {"small_maze-medium": {"headroom": known}})
    data = cell_data(bench, PLAIN)
    folder = make_log(data, finished.places.logs, on_stage=quiet().on_stage)
    with pytest.raises(ValueError, match="cannot be normalised"):
        references(bench, data, folder)


def test_a_changed_log_is_played_by_the_same_players(finished: Job) -> None:
    data = cell_data(finished.bench, SWEPT)
    log = read_cell_log(make_log(data, finished.places.logs, on_stage=quiet().on_stage))
    assert len(log.action_set) == 8 and len(log) >= data.base.rows
    plain = Dataset(data.base, finished.places.logs / data.base.name)
    assert not (finished.places.logs / data.name / "checkpoints").exists()
    assert len(list(plain.checkpoints.parent.iterdir())) == 1, "nobody was trained for the sweep"


def test_what_has_its_row_is_not_run_again(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    rows = read_rows(finished.places.rows)
    write_rows(job.places.rows, rows.values())
    assert run_bench(job) == []
    assert not job.places.out.exists()
    assert read_rows(job.places.rows) == rows


def test_where_fqe_alone_is_set_otherwise_policies_are_judged_again(
    finished: Job, tmp_path: Path
) -> None:
    estimate = finished.bench.estimate
    assert estimate is not None
    longer = replace(estimate, target_update_interval=7)
    bench = finished.bench.model_copy(update={"estimate": longer})
    lines = list[str]()
    told = replace(quiet(), on_event=lambda event: lines.append(f"{event.stage}, {event.note}"))
    only = Only(methods=["BC"], seeds=[1], sweeps=False)
    job = replace(elsewhere(finished, tmp_path, bench=bench, only=only), told=told)
    shutil.copytree(finished.places.out, job.places.out)
    before = read_rows(finished.places.rows)
    write_rows(job.places.rows, before.values())
    (made,) = run_bench(job)
    earlier = before[made.key]
    assert made.fqe != earlier.fqe and made.fqe_hash != earlier.fqe_hash
    assert replace(made, **{name: getattr(earlier, name) for name in FQE}) == replace(
        earlier, decide_seconds=made.decide_seconds
    ), "trained once"
    assert any(line.startswith("train BC") and line.endswith("kept") for line in lines)
    rows = read_rows(job.places.rows)
    current, outdated = sorted_out(rows, wanted(bench, Tuned.read(job.places.tuned)))
    assert outdated == [] and len(current) == len(rows)
    assert [row.key for row in current if row.fqe is not None] == [made.key]
    assert all(row.mean_return == rows[row.key].mean_return for row in current)
    assert compared(earlier.without_fqe(), made, 0.0).verdict == SAME_BITS
    assert compared(earlier, replace(made, fqe_hash=earlier.fqe_hash), 0.0).verdict == DIFFERS


@pytest.mark.parametrize("change", [{"config_hash": "other"}, {"data_hash": "another"}])
def test_rows_of_other_settings_or_of_two_logs_are_run_again(
    change: dict[str, Any], finished: Job, tmp_path: Path
) -> None:
    job = elsewhere(finished, tmp_path, only=Only(methods=["BC"]))
    rows = read_rows(finished.places.rows)
    one = rows["BC", PLAIN, 1]
    stale = replace(one, mean_return=0.5, **change)
    write_rows(job.places.rows, (rows | {one.key: stale}).values())
    assert [row.key for row in run_bench(job)] == [one.key]
    assert found_in(read_rows(job.places.rows)[one.key]) == found_in(one)


def test_rows_of_another_log_than_the_published_one_are_run_again(
    finished: Job, tmp_path: Path
) -> None:
    rows = {
        key: replace(row, data_hash="another", mean_return=0.5)
        for key, row in read_rows(finished.places.rows).items()
        if key == ("BC", PLAIN, 1)
    }
    only = Only(methods=["BC"], seeds=[1], sweeps=False)
    job = elsewhere(finished, tmp_path, only=only)
    write_rows(job.places.rows, rows.values())
    assert run_bench(job) == [], "nobody says which log it should be"
    table, data = tmp_path / "headroom.json", cell_data(job.bench, PLAIN)
    log = make_log(data, job.places.logs, on_stage=quiet().on_stage)
    known = references(job.bench, data, log)
    ends = {"random": {"value": known.random}, "best": {"value": known.best}, "best_by": "us"}
    entry = {"headroom": ends, "fingerprint": known.data_hash}
    write_json(table, {data.base.name: entry})
    notes: list[str] = []
    told = replace(quiet(), on_note=notes.append)
    job = replace(job, bench=job.bench.model_copy(update={"headroom": str(table)}), told=told)
    assert [row.key for row in run_bench(job)] == list(rows)
    assert run_bench(job) == []
    assert not any(ANOTHER_LOG in note for note in notes)
    write_json(table, {data.base.name: entry | {"fingerprint": "of another processor"}})
    assert run_bench(job) == []
    assert notes[-1] == f"maze-medium: {ANOTHER_LOG}"


def test_rows_of_another_log_are_not_mixed_with_those_made_here(
    finished: Job, tmp_path: Path
) -> None:
    rows = read_rows(finished.places.rows)
    elsewhere_made = {
        key: replace(row, data_hash="another") if key[1] == PLAIN else row
        for key, row in rows.items()
        if key != ("BC", PLAIN, 1)
    }
    part = elsewhere(finished, tmp_path, only=Only(methods=["BC"], seeds=[1]))
    write_rows(part.places.rows, elsewhere_made.values())
    assert run_bench(part) == []
    (failed,) = part.told.failed
    assert "another" in failed and "3 rows" in failed and "--publish" in failed
    assert read_rows(part.places.rows) == elsewhere_made, "what is there stays as it was"
    whole = replace(part, only=Only(sweeps=False), told=quiet())
    assert len(run_bench(whole)) == 4 and whole.told.failed == []
    assert {row.data_hash for row in read_rows(part.places.rows).values() if row.cell == PLAIN} == {
        rows["BC", PLAIN, 1].data_hash
    }


def test_a_log_that_cannot_be_made_costs_its_own_rows_only(
    finished: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: CellData, logs: Path, **how: Any) -> Path:
        if data.changed:
            raise ImportError("no players today")
        return make_log(data, logs, **how)

    monkeypatch.setattr("offline_actrep.bench.running.make_log", broken)
    job = elsewhere(finished, tmp_path, only=Only(methods=["BC"], seeds=[1]))
    assert [row.cell for row in run_bench(job)] == [PLAIN]
    assert job.told.failed == ["maze-medium@actuators=3, seed 1: no players today"]


def test_a_killed_worker_costs_its_own_log_only(
    finished: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*what: Any, **how: Any) -> None:
        raise WorkerDied("a process died")

    monkeypatch.setattr("offline_actrep.bench.running.run", killed)
    job = elsewhere(finished, tmp_path, only=Only(methods=["BC"], seeds=[1]))
    assert run_bench(job) == []
    assert job.told.failed == [f"{cell.name}, seed 1: a process died" for cell in (PLAIN, SWEPT)]


def test_a_failure_costs_its_own_row_only(
    finished: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*what: Any, **how: Any) -> None:
        raise RuntimeError("no points today")

    monkeypatch.setattr(sys.modules["offline_actrep.run"], "fit", broken)
    job = elsewhere(finished, tmp_path, only=Only(seeds=[1], sweeps=False))
    assert [row.method for row in run_bench(job)] == ["BC"]
    assert job.told.failed == ["maze-medium, points merlion seed 1: no points today"]
    monkeypatch.undo()
    job = replace(job, told=quiet())
    assert [row.method for row in run_bench(job)] == ["MERLION-CQL"]
    assert job.told.failed == []


def test_a_killed_bench_goes_on_with_the_same_command(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    places = job.places
    command = [
        str(PROGRAM), "bench", str(SMALL), "--logs", str(places.logs), "--out", str(places.out),
        "--publish", str(places.publish), "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not places.rows.is_file():
            assert process.poll() is None, "the bench ended without a row"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = read_rows(places.rows)
    assert 0 < len(before) < 8, "the bench was over before it was killed"
    new = run_bench(job)
    assert {row.key for row in new}.isdisjoint(before)
    after, unbroken = read_rows(places.rows), read_rows(finished.places.rows)
    assert {key: found_in(row) for key, row in after.items()} == {
        key: found_in(row) for key, row in unbroken.items()
    }
    assert all(after[key] == row for key, row in before.items())


def test_rows_run_again_are_the_same_bits(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path, only=Only(sweeps=False))
    rows = read_rows(finished.places.rows)
    write_rows(job.places.rows, rows.values())
    (same,) = check(job)
    assert (same.row.key in rows, same.verdict) == (True, SAME_BITS), same.why
    changed = replace(same.row, discounted_return=same.row.discounted_return + 1e-9)
    write_rows(job.places.rows, (rows | {changed.key: changed}).values())
    (other,) = check(job)
    assert other.row.key == same.row.key, "the slice is drawn with a seed"
    assert other.verdict == DIFFERS and "discounted_return" in other.why
    assert read_rows(job.places.rows)[changed.key] == changed, "a check writes no row"


def test_a_check_needs_rows(finished: Job, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row of this bench to run again"):
        check(elsewhere(finished, tmp_path))


def test_choices_are_compared_where_a_row_knows_them() -> None:
    now = a_row("a", PLAIN, 1, 0.5, distinct_actions=3, largest_share=0.5, repeated=0.25)
    before = replace(now, distinct_actions=None, largest_share=None, repeated=None)
    assert compared(before, now, 0.1).verdict == SAME_BITS
    assert compared(replace(now, repeated=0.5), now, 0.1).verdict == DIFFERS


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"train_seconds": 1.0, "git_revision": "later"}, SAME_BITS),
        ({"normalised": 0.52, "mean_return": 42.0}, DIFFERS),
        ({"normalised": 0.52, "mean_return": 42.0, "machine": "another"}, WITHIN),
        ({"normalised": 0.9, "mean_return": 80.0, "machine": "another"}, DIFFERS),
        ({"data_hash": "another log"}, DIFFERS),
        ({"best_return": 7.0}, DIFFERS),
    ],
)
def test_how_a_row_is_compared(changes: dict[str, Any], verdict: str) -> None:
    row = a_row("a", PLAIN, 1, 0.5)
    assert compared(row, replace(row, **changes), 0.1).verdict == verdict


@pytest.mark.parametrize(
    ("only", "word", "expected"),
    [
        (Only(), "each", [PLAIN, SWEPT]),
        (Only(sweeps=False), "each", [PLAIN]),
        (Only(sweeps=True), "each", [SWEPT]),
        (Only(sweeps=True), "world", [PLAIN]),
    ],
)
def test_trials_are_run_for_the_part_that_is_asked_for(
    only: Only, word: str, expected: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = read_bench(SMALL)
    bench = bench.model_copy(
        update={"sweeps": tuple(each.model_copy(update={"tuned": word}) for each in bench.sweeps)}
    )
    tried: list[Cell] = []

    def note(job: Job, tuning: Any, cell: Cell, todo: Any) -> dict[str, Any]:
        tried.append(cell)
        return {}

    monkeypatch.setattr("offline_actrep.bench.tuning._tried", note)
    tune(Job(bench, Places(tmp_path, tmp_path, tmp_path / "pub"), quiet(), only, 1))
    assert tried == expected


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (Only(worlds=["maze_long"]), {"BC"}),
        (Only(methods=["variant"], sweeps=False), {"MERLION-CQL"}),
        (Only(sweeps=False), {"MERLION-CQL", "BC"}),
    ],
)
def test_trials_are_those_of_the_methods_that_are_asked_for(
    only: Only, expected: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer world takes the maze's trials, a variant those of MERLION-CQL."""
    bench = read_bench(SMALL)
    plain, cql = bench.worlds[0], bench.method("MERLION-CQL")
    changes = {"name": "maze_long", "dataset": "maze", "trials_of": "maze", "methods": ("BC",)}
    variant = {"name": "variant", "trials": (), "trials_of": "MERLION-CQL"}
    bench = bench.model_copy(
        update={
            "worlds": (plain, plain.model_copy(update=changes)),
            "methods": (*bench.methods, cql.model_copy(update=variant)),
        }
    )
    tried: dict[Cell, set[str]] = {}

    def note(job: Job, tuning: Any, cell: Cell, todo: Any) -> dict[str, Any]:
        tried[cell] = set(todo)
        return {}

    monkeypatch.setattr("offline_actrep.bench.tuning._tried", note)
    tune(Job(bench, Places(tmp_path, tmp_path, tmp_path / "pub"), quiet(), only, 1))
    assert tried == {PLAIN: expected}


@pytest.fixture(scope="module")
def tuned(finished: Job, tmp_path_factory: pytest.TempPathFactory) -> Job:
    job = elsewhere(finished, tmp_path_factory.mktemp("tuned"))
    tune(job)
    return job


def test_the_trials_are_kept_with_what_they_came_to(tuned: Job) -> None:
    content = read_json(tuned.places.tuned)
    assert content["trials_a_method"] == 2 and "tuning seeds 101, 102" in content["rule"]
    assert "curve of 30 steps" in content["rule"]
    methods, swept = content["worlds"]["maze"], content["worlds"]["maze@actuators=3"]
    assert methods.keys() == swept.keys() == {"MERLION-CQL", "BC"}
    assert methods["BC"]["hash"] != swept["BC"]["hash"]
    tried = read_cell_log(tuned.places.logs / "small_maze-medium-seed101" / "log").fingerprint
    assert methods["BC"]["log"] == methods["MERLION-CQL"]["log"] == tried != swept["BC"]["log"]
    for name, entry in [*methods.items(), *swept.items()]:
        assert len(entry["trials"]) == 2
        for trial in entry["trials"]:
            looks = trial["last_returns"]
            assert looks.keys() == {"101", "102"} and all(len(v) == 2 for v in looks.values())
            assert trial["score"] == pytest.approx(np.mean(list(looks.values())))
        scores = [trial["score"] for trial in entry["trials"]]
        assert entry["chosen"] == int(np.argmax(scores)), name
    settings = methods["MERLION-CQL"]["trials"][1]["settings"]
    assert settings["points"]["penalty"] == 0.1 and settings["learner"]["steps"] == 30


def test_the_trials_learn_on_another_log(tuned: Job) -> None:
    logs = tuned.places.logs
    other = read_cell_log(logs / "small_maze-medium-seed101" / "log")
    assert other.fingerprint != read_cell_log(logs / "small_maze-medium" / "log").fingerprint
    assert len(list((logs / "checkpoints").iterdir())) == 1, "the same players"


def test_the_bench_takes_what_the_trials_chose(tuned: Job) -> None:
    bench = tuned.bench
    assert Tuned.read(tuned.places.tuned).trial(bench, PLAIN, bench.method("BC"))[1] == TUNED
    content = read_json(tuned.places.tuned)
    content["worlds"]["maze"]["MERLION-CQL"]["chosen"] = 1
    content["worlds"]["maze@actuators=3"]["MERLION-CQL"]["chosen"] = 0
    for cell, points in ((PLAIN, {"penalty": 0.1}), (SWEPT, {})):
        trial, label = Tuned(content).trial(bench, cell, bench.method("MERLION-CQL"))
        assert (trial.points, label) == (points, TUNED)
    other = wanted(bench, Tuned(content))["MERLION-CQL", PLAIN, 1]
    assert other != wanted(bench, Tuned({"worlds": {}}))["MERLION-CQL", PLAIN, 1]


def test_trials_that_are_there_are_not_run_again(tuned: Job, tmp_path: Path) -> None:
    job = elsewhere(tuned, tmp_path)
    job.places.publish.mkdir(parents=True)
    write_json(job.places.tuned, read_json(tuned.places.tuned))
    tune(job)
    assert not job.places.out.exists()


def test_trials_that_failed_are_run_again(tuned: Job, tmp_path: Path) -> None:
    job = elsewhere(tuned, tmp_path, only=Only(methods=["BC"], sweeps=False))
    content = read_json(tuned.places.tuned)
    whole = content["worlds"]["maze"]["BC"]["trials"]
    content["worlds"]["maze"]["BC"]["trials"] = [whole[0], whole[1] | {"score": None}]
    job.places.publish.mkdir(parents=True)
    write_json(job.places.tuned, content)
    tune(job)
    assert read_json(job.places.tuned)["worlds"]["maze"]["BC"]["trials"] == whole


def test_trials_do_not_hang_on_what_judges_the_last_policy(tuned: Job) -> None:
    content = Tuned.read(tuned.places.tuned)
    bench, estimate = tuned.bench, tuned.bench.estimate
    assert estimate is not None
    longer = bench.model_copy(
        update={
            "estimate": replace(estimate, steps=estimate.steps + 1),
            "evaluate": bench.evaluate.model_copy(update={"episodes": 9, "candidates": 1}),
        }
    )
    other = bench.model_copy(
        update={"evaluate": bench.evaluate.model_copy(update={"curve_episodes": 9})}
    )
    for changed, label in ((longer, TUNED), (other, UNTUNED)):
        for key, each in wanted(bench, content).items():
            assert wanted(changed, content)[key].hash != each.hash
        assert content.trial(changed, PLAIN, bench.method("BC"))[1] == label


def test_trials_that_chose_the_defaults_only_rename_the_rows(finished: Job, tuned: Job) -> None:
    content = read_json(tuned.places.tuned)
    for methods in content["worlds"].values():
        for entry in methods.values():
            entry["chosen"] = 0
    write_json(tuned.places.tuned, content)
    before = read_rows(finished.places.rows)
    write_rows(tuned.places.rows, before.values())
    assert run_bench(tuned) == []
    after = read_rows(tuned.places.rows)
    assert {row.tuning for row in after.values()} == {TUNED}
    assert all(replace(row, tuning=UNTUNED) == before[key] for key, row in after.items())


def call(job: Job, *arguments: str) -> tuple[int, dict[str, Any]]:
    places = job.places
    result = CliRunner().invoke(
        app,
        ["bench", str(SMALL), "--logs", str(places.logs), "--out", str(places.out),
         "--publish", str(places.publish), "--workers", "1", *arguments, "--json"],
    )  # fmt: skip
    return result.exit_code, json.loads(result.stdout)


def test_the_command_says_what_is_there(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    rows = read_rows(finished.places.rows)
    write_rows(job.places.rows, rows.values())
    code, said = call(job)
    assert code == 0 and said["failed"] == []
    assert (said["new"], said["there"], said["missing"], said["outdated"]) == (0, 8, 0, 0)
    assert said["unjudged"] == 0
    code, said = call(job, "--report")
    assert code == 0 and Path(said["page"]).is_file() and Path(said["tables"]).is_file()


def test_the_command_refuses(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    code, said = call(job, "--tune", "--report")
    assert code == 2 and "one of --tune" in said["error"]
    code, said = call(job, "--methods", "BD")
    assert code == 2 and "no method 'BD'" in said["error"]
    code, said = call(job, "--report")
    assert code == 2 and "run the bench first" in said["error"]


HOLDER = """
import sys, time
from pathlib import Path
from offline_actrep.bench.job import Places, alone
with alone(Places(Path("unused"), Path(sys.argv[1]), Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such lock there")
def test_two_benches_do_not_write_the_same_rows(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    write_rows(job.places.rows, read_rows(finished.places.rows).values())
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(job.places.publish)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        code, said = call(job)
        assert code == 2 and f"another bench writes into {job.places.publish}" in said["error"]
        assert call(job, "--report")[0] == 0, "drawing writes no row"
        other.kill()
    assert call(job)[0] == 0


def test_a_row_that_cannot_be_had_again_ends_with_a_fault(finished: Job, tmp_path: Path) -> None:
    job = elsewhere(finished, tmp_path)
    row = read_rows(finished.places.rows)["BC", PLAIN, 1]
    write_rows(job.places.rows, [replace(row, mean_return=row.mean_return + 1.0)])
    code, said = call(job, "--check")
    assert code == 1
    assert said["BC on maze-medium, seed 1"].startswith(DIFFERS)
