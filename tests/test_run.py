"""A run: every stage once, nothing twice, the same result however it came about."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import write_recipe

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.files.artifact import DONE, is_whole, read_json
from offline_actrep.files.store import write_store
from offline_actrep.offline.learner import REVISIONS
from offline_actrep.offline.train import train
from offline_actrep.recipe import read_recipe
from offline_actrep.relabel import relabel
from offline_actrep.representations.catalog import fit
from offline_actrep.run import Event, Layout, _inspect, prepare_log, run
from offline_actrep.saved import load_critic, load_policy, load_representation
from offline_actrep.summary import publish, summarise

PROGRAM = Path(sys.executable).with_name("offline-actrep")
SLOWER = ("{ steps = 20, hidden = [8] }", "{ steps = 300, hidden = [8] }")
SHORT = "{ hidden = [8], n_steps = 4, n_epochs = 1, batch_size = 32 }"
"""Settings of a learner in the world that is done in a moment."""
COLLECTED = '[log.collect]\nbehaviour = "uniform"\nrows = 400\nworlds = 8\n'
STORED = '[log]\npath = "store"\n'
STAGES = {
    "log",
    *(f"points merlion seed {seed}" for seed in (0, 1)),
    *(
        f"{verb} {learner} seed {seed}"
        for verb in ("train", "judge")
        for learner in ("on points", "on ids")
        for seed in (0, 1)
    ),
}
"""The stages of the tiny recipe that can be kept."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """One run of the tiny recipe, not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    return run(read_recipe(write_recipe(folder)), folder / "runs")


@pytest.fixture
def copied(finished: Layout, tmp_path: Path) -> Path:
    """A copy of the finished run's folder, with its times."""
    shutil.copytree(finished.folder, tmp_path / "runs" / "tiny")
    return tmp_path / "runs"


def without_seconds(content: Any) -> Any:
    if isinstance(content, dict):
        return {
            k: without_seconds(v)
            for k, v in content.items()
            if not (k.endswith("seconds") or k == "cost")
        }
    return [without_seconds(v) for v in content] if isinstance(content, list) else content


def results_of(folder: Path) -> Any:
    return without_seconds(read_json(folder / "results.json"))


def times(folder: Path) -> dict[str, int]:
    """When each file was written, but for the summary that every run writes."""
    return {
        str(file.relative_to(folder)): file.stat().st_mtime_ns
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != "results.json"
    }


def ends(events: list[Event]) -> dict[str, str]:
    return {event.stage: event.note for event in events if event.done == event.total}


def test_the_results_have_every_learner_and_seed(finished: Layout) -> None:
    results = read_json(finished.folder / "results.json")
    assert [(entry["learner"], entry["seed"]) for entry in results["runs"]] == [
        ("on points", 0),
        ("on points", 1),
        ("on ids", 0),
        ("on ids", 1),
    ]
    for entry in results["runs"]:
        assert entry["steps"] == 20
        assert [look["step"] for look in entry["curve"]] == [10, 20]
        assert len(entry["returns"]) == len(entry["discounted_returns"]) == 4
        assert entry["fqe"]["low"] <= entry["fqe"]["value"] <= entry["fqe"]["high"]
        assert entry["train_seconds"] > 0
        assert 1 <= entry["choices"]["distinct_actions"] <= 32
        assert 0 <= entry["choices"]["repeated"] <= 1
        shares = [look["near_share"] for look in entry["curve"]]
        assert all((share is None) == (entry["learner"] == "on ids") for share in shares)
    assert [(probe["representation"], probe["seed"]) for probe in results["probes"]] == [
        ("merlion", 0),
        ("merlion", 1),
    ]
    assert len(results["references"]["random"]) == 4
    behaviour, random = (results["reference_choices"][key] for key in ("behaviour", "random"))
    assert behaviour["distinct_actions"] == len(set(finished.read_log().actions.tolist()))
    assert random["largest_share"] < 0.2 and random["repeated"] < 0.2
    assert len(results["references"]["behaviour"]) == finished.read_log().n_episodes


def test_results_are_json_in_the_strict_sense(finished: Layout) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    text = (finished.folder / "results.json").read_text(encoding="utf-8")
    results = json.loads(text, parse_constant=refuse)
    assert "best_known" not in results["references"], "nobody measured this maze"


def test_every_artifact_is_there_and_can_be_read(finished: Layout) -> None:
    recipe = finished.recipe
    assert is_whole(finished.log) and is_whole(finished.references())
    log = finished.read_log()
    for seed in recipe.seeds:
        points = finished.points(recipe.representations[0], seed)
        assert is_whole(points)
        made = load_representation(points / "representation")
        assert made.action_set.same_as(log.action_set)
        assert (points / "relabelled.parquet").is_file()
        for learner in recipe.learners:
            assert is_whole(finished.judgement(learner, seed))
            policy = load_policy(finished.policy(learner, seed))
            assert set(policy.act(log.starts)) <= set(log.action_set.ids)
    assert not list(finished.folder.rglob("*.tmp"))


def test_seeds_differ_and_learners_of_one_seed_share_their_points(finished: Layout) -> None:
    recipe = finished.recipe
    weights = {
        (finished.policy(learner, seed) / "policy.safetensors").read_bytes()
        for learner in recipe.learners
        for seed in recipe.seeds
    }
    assert len(weights) == 4
    for seed in recipe.seeds:
        points = finished.points(recipe.representations[0], seed) / "representation"
        carried = finished.policy(recipe.learners[0], seed) / "representation"
        name = "representation.safetensors"
        assert (points / name).read_bytes() == (carried / name).read_bytes()


def test_a_second_run_recomputes_nothing(finished: Layout, copied: Path) -> None:
    before = times(copied / "tiny")
    events: list[Event] = []
    run(finished.recipe, copied, on_event=events.append)
    assert times(copied / "tiny") == before
    assert ends(events) == dict.fromkeys(STAGES, "kept")
    assert read_json(copied / "tiny" / "results.json") == read_json(
        finished.folder / "results.json"
    )


def test_a_change_of_one_learner_recomputes_that_learner_alone(
    finished: Layout, copied: Path, tmp_path: Path
) -> None:
    changed = read_recipe(
        write_recipe(
            tmp_path,
            ('"discrete_bc"\nsettings = { steps = 20', '"discrete_bc"\nsettings = { steps = 30'),
        )
    )
    before = times(copied / "tiny")
    events: list[Event] = []
    run(changed, copied, on_event=events.append)
    after = times(copied / "tiny")
    assert {name: after[name] for name in before} == before
    made = {stage for stage, note in ends(events).items() if note != "kept"}
    assert made == {f"{verb} on ids seed {seed}" for verb in ("train", "judge") for seed in (0, 1)}
    steps = {
        entry["learner"]: entry["steps"]
        for entry in read_json(copied / "tiny" / "results.json")["runs"]
    }
    assert steps == {"on points": 20, "on ids": 30}


@pytest.mark.parametrize(
    ("old", "new", "remade"),
    [
        ("episodes = 4", "episodes = 3", {"judge"}),
        ("refits = 2", "refits = 3", {"judge"}),
        ("behaviour_steps = 5", "behaviour_steps = 6", {"points", "train", "judge"}),
        ("rows = 400", "rows = 500", {"log", "points", "train", "judge"}),
        ("seeds = [0, 1]", "seeds = [0, 1]\ngamma = 0.9", {"points", "train", "judge"}),
        ('title = "Tiny', 'title = "Small', set()),
    ],
)
def test_only_what_hangs_on_a_change_gets_a_new_folder(
    finished: Layout, tmp_path: Path, old: str, new: str, remade: set[str]
) -> None:
    recipe = read_recipe(write_recipe(tmp_path, (old, new)))
    shutil.copytree(finished.log, tmp_path / "tiny" / "log")
    changed = Layout(recipe, tmp_path / "tiny")
    if changed.log_key() != finished.log_key():
        key = json.dumps({"kind": "log", "key": changed.log_key()})
        (changed.log / DONE).write_text(key, encoding="utf-8")

    def keys(layout: Layout) -> dict[str, str]:
        learner = layout.recipe.learners[0]
        return {
            "log": layout.log_key(),
            "points": layout.points(layout.recipe.representations[0], 0).name,
            "train": layout.policy(learner, 0).name,
            "judge": layout.judgement(learner, 0).name,
        }

    was, is_now = keys(finished), keys(changed)
    assert {stage for stage in was if was[stage] != is_now[stage]} == remade


def test_a_learner_made_anew_is_trained_again(
    finished: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    learners = finished.recipe.learners
    was = [finished.policy(each, 0) for each in learners]
    monkeypatch.setitem(REVISIONS, learners[0].method, 7)
    is_now = [finished.policy(each, 0) for each in learners]
    assert [old == new for old, new in zip(was, is_now, strict=True)] == [False, True]


def test_an_empty_list_of_estimated_learners_estimates_none(
    finished: Layout, tmp_path: Path
) -> None:
    recipe = read_recipe(write_recipe(tmp_path, ('title = "Tiny maze"', "estimated = []")))
    layout = Layout(recipe, finished.folder)
    assert [layout.estimator(learner) for learner in recipe.learners] == [None, None]
    named = read_recipe(write_recipe(tmp_path, ('title = "Tiny maze"', 'estimated = ["on ids"]')))
    layout = Layout(named, finished.folder)
    assert [layout.estimator(each) is None for each in named.learners] == [True, False]


def test_a_fourier_column_that_the_log_lacks_is_refused_before_any_fit(
    copied: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(
        write_recipe(tmp_path, ("[evaluate]", '[features]\nfourier = ["height"]\n\n[evaluate]'))
    )
    events: list[Event] = []
    with pytest.raises(ValueError, match="height"):
        run(recipe, copied, on_event=events.append)
    assert set(ends(events)) == {"log"}


def test_the_same_seed_gives_the_same_bits(finished: Layout, tmp_path: Path) -> None:
    again = run(finished.recipe, tmp_path)
    assert results_of(again.folder) == results_of(finished.folder)
    files = [
        file.relative_to(finished.folder)
        for pattern in ("*.safetensors", "*.parquet")
        for file in finished.folder.rglob(pattern)
    ]
    assert len(files) >= 10
    for file in files:
        assert (again.folder / file).read_bytes() == (finished.folder / file).read_bytes(), file


def test_a_store_is_a_source_like_the_files_that_it_came_from(
    finished: Layout, tmp_path: Path
) -> None:
    log = finished.read_log()
    write_store(log, tmp_path / "store")
    recipe = read_recipe(write_recipe(tmp_path, (COLLECTED, STORED)))
    layout = Layout(recipe, tmp_path / "runs" / "tiny")
    layout.folder.mkdir(parents=True)
    prepare_log(layout, lambda event: None)
    assert layout.read_log().fingerprint == log.fingerprint
    before = layout.log_key()
    write_store(log, tmp_path / "store")
    assert layout.log_key() == before, "the same rows are the same store"
    write_store(log.take_episodes(np.arange(3)), tmp_path / "store")
    assert layout.log_key() != before


def test_a_store_brings_its_own_columns_and_actions(finished: Layout, tmp_path: Path) -> None:
    write_store(finished.read_log(), tmp_path / "store")
    told = STORED + 'action_table = "a.parquet"\n'
    with pytest.raises(ValueError, match=r"is a store, .* leave out columns and action_table"):
        read_recipe(write_recipe(tmp_path, (COLLECTED, told)))
    other = read_recipe(
        write_recipe(tmp_path, (COLLECTED, STORED), ("actuators = 5", "actuators = 4"))
    )
    layout = Layout(other, tmp_path / "tiny")
    with pytest.raises(ValueError, match="store knows 32 actions, the world has 16"):
        prepare_log(layout, lambda event: None)


def test_side_by_side_gives_the_same_results(finished: Layout, tmp_path: Path) -> None:
    events: list[Event] = []
    layout = run(finished.recipe, tmp_path, workers=2, on_event=events.append)
    assert results_of(layout.folder) == results_of(finished.folder)
    assert set(ends(events)) == STAGES | {"references"}


def test_a_killed_run_goes_on_with_the_same_command(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, SLOWER, ("seeds = [0, 1]", "seeds = [0]"))
    command = [str(PROGRAM), "run", str(file), "--out", str(tmp_path / "killed")]
    layout = Layout(read_recipe(file), tmp_path / "killed" / "tiny")
    kept = kill_after_points([*command, "--workers", "2"], layout)
    check_what_is_left(layout)
    subprocess.run([*command, "--workers", "1"], check=True, capture_output=True, timeout=120)
    assert kept.items() <= times(layout.folder).items(), "a whole artifact was made again"
    assert not list(layout.folder.rglob("*.tmp"))
    unbroken = run(read_recipe(file), tmp_path / "unbroken")
    assert results_of(layout.folder) == results_of(unbroken.folder)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_killed_worker_ends_the_run_with_a_fault_and_what_to_do(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, SLOWER, ("seeds = [0, 1]", "seeds = [0]"))
    command = [str(PROGRAM), "run", str(file), "--out", str(tmp_path), "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "tiny").glob("p*/*")):
        assert process.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [
        child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(workers) == 2
    for worker in workers:
        os.kill(int(worker), signal.SIGKILL)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "failed: a process died during " in said and "--workers 1" in said
    assert "Traceback" not in said


def kill_after_points(command: list[str], layout: Layout) -> dict[str, int]:
    """Kills the run when its points are whole; the times of the points' files."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(layout.folder.glob(f"points/*/{DONE}")):
            assert process.poll() is None, "the run ended without points"
            time.sleep(0.01)
        helpers = children(process.pid)
        assert len(helpers) >= 2
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (layout.folder / "results.json").exists(), "the run was over before it was killed"
    deadline = time.monotonic() + 20
    while alive := [pid for pid in helpers if is_running(pid)]:
        assert time.monotonic() < deadline, f"left behind by the killed run: {alive}"
        time.sleep(0.05)
    return {name: when for name, when in times(layout.folder).items() if "points/" in name}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def check_what_is_left(layout: Layout) -> None:
    """A folder that has its name is whole, and what says that it is whole can be read."""
    recipe = layout.recipe
    for kind in ("points", "policies", "judgements", "references"):
        for folder in layout.folder.glob(f"{kind}/*"):
            assert folder.name.endswith(".tmp") or is_whole(folder), folder
    for learner in recipe.learners:
        if is_whole(layout.policy(learner, 0)):
            load_policy(layout.policy(learner, 0))
            read_json(layout.policy(learner, 0) / "curve.json")
        if is_whole(layout.judgement(learner, 0)):
            read_json(layout.judgement(learner, 0) / "judgement.json")
    points = layout.points(recipe.representations[0], 0)
    load_representation(points / "representation")
    read_json(points / "probe.json")


def test_learners_in_the_world_stand_beside_those_of_the_log(tmp_path: Path) -> None:
    online = (
        '\n[[online]]\nname = "points in the world"\nmethod = "ppo"\nrepresentation = "merlion"\n'
        "steps = 64\nworlds = 8\nsettings = " + SHORT + "\n"
        '\n[[online]]\nname = "ids in the world"\nmethod = "discrete_ppo"\n'
        "steps = 64\nworlds = 8\nsettings = " + SHORT + "\n"
    )
    base = write_recipe(tmp_path / "base", ("seeds = [0, 1]", "seeds = [0]"))
    text = base.read_text(encoding="utf-8") + online
    recipe = read_recipe(write_recipe(tmp_path, text=text))
    alone, both = run(recipe, tmp_path / "a"), run(recipe, tmp_path / "b", workers=2)
    found = results_of(alone.folder)
    assert found == results_of(both.folder)
    rows = {row["learner"]: row for row in found["runs"]}
    assert list(rows) == ["on points", "on ids", "points in the world", "ids in the world"]
    for name in ("points in the world", "ids in the world"):
        assert rows[name]["steps"] == 64
        assert len(rows[name]["returns"]) == 4
        assert [look["step"] for look in rows[name]["curve"]] == [32, 64]
        assert "fqe" not in rows[name]
    events: list[Event] = []
    run(recipe, tmp_path / "a", on_event=events.append)
    assert ends(events)["train ids in the world seed 0"] == "kept"
    summarise(alone)


def test_values_keep_the_critic_and_are_drawn_and_published(tmp_path: Path) -> None:
    online = (
        '\n[[online]]\nname = "ids in the world"\nmethod = "discrete_ppo"\n'
        "steps = 64\nworlds = 8\nsettings = " + SHORT + "\n"
    )
    asked = '\n[values]\nlearner = "ids in the world"\ndecisions = [0, 3]\noutcomes = 2\n'
    base = write_recipe(tmp_path / "base", ("seeds = [0, 1]", "seeds = [0]"))
    text = base.read_text(encoding="utf-8") + online
    plain = read_recipe(write_recipe(tmp_path / "plain", text=text))
    valued = read_recipe(write_recipe(tmp_path / "valued", text=text + asked))
    layout = run(plain, tmp_path / "runs")
    (learner,) = plain.online
    without = layout.policy(learner, 0)
    with pytest.raises(ValueError, match="holds no finished critic"):
        load_critic(without)
    events: list[Event] = []
    layout = run(valued, tmp_path / "runs", on_event=events.append)
    assert ends(events)["train on ids seed 0"] == "kept"
    assert ends(events)["train ids in the world seed 0"] != "kept", "its critic was not there"
    trained = layout.policy(learner, 0)
    assert trained != without
    seen = layout.read_log().observations[:5]
    assert np.isfinite(load_critic(trained).values(seen)).all()
    same = load_policy(trained).choose(seen) == load_policy(without).choose(seen)
    assert same.all(), "keeping the critic is nothing to the policy"
    assert "What actions are worth" in summarise(layout).read_text(encoding="utf-8")
    drawn = layout.folder / "figures" / "values.png"
    kept = publish(layout, tmp_path / "kept")
    assert kept[-1] == tmp_path / "kept" / "tiny.png"
    assert kept[-1].read_bytes() == drawn.read_bytes()


@pytest.mark.parametrize("name", ["cql", "discrete_cql"])
def test_a_look_asks_with_the_sets_of_the_rows_that_it_asks_about(
    name: str, maze_log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first column of an observation is its row's number."""
    numbered, n = maze_log.observations.copy(), len(maze_log)
    numbered[:, 0] = np.arange(n)
    log = replace(
        maze_log,
        observations=numbered,
        allowed=AllowedActions(np.arange(n + 1), maze_log.actions),
    )
    data = relabel(log, fit("random_table", log, seed=0, dim=2))
    policy: Any = train(data, name, seed=0, steps=2, batch_size=16, hidden=(8,))
    verb, sizes = "nearest" if isinstance(policy, DecodedPolicy) else "choose", []
    asked = getattr(policy, verb)

    def watched(observations: np.ndarray, allowed: AllowedActions | None = None) -> Any:
        assert allowed is not None
        wanted = log.actions[observations[:, 0].astype(np.int64)]
        np.testing.assert_array_equal(allowed.indices, wanted)
        sizes.append(len(observations))
        return asked(observations, allowed)

    monkeypatch.setattr(policy, verb, watched)
    found = _inspect(policy, log, seed=0, states=50)
    assert sizes == ([8, 50] if name == "cql" else [8])
    assert found["start_q"] is not None


def test_fqe_chooses_among_the_last_looks_without_seeing_the_world(tmp_path: Path) -> None:
    file = write_recipe(
        tmp_path, ("seeds = [0, 1]", "seeds = [0]"), ("curve_points = 2", "curve_points = 4"),
        ("curve_episodes = 2", "curve_episodes = 2\ncandidates = 3"),
    )  # fmt: skip
    layout = run(read_recipe(file), tmp_path / "runs")
    rows = read_json(layout.folder / "results.json")["runs"]
    assert len(rows) == 2
    for row in rows:
        assert [one["step"] for one in row["candidates"]] == [10, 15, 20]
        values = [one["fqe"]["value"] for one in row["candidates"]]
        chosen = row["candidates"][values.index(max(values))]
        assert row["chosen_by_fqe"]["step"] == chosen["step"]
        assert sum(row["chosen_by_fqe"]["returns"]) / 4 == pytest.approx(chosen["mean_return"])
        assert row["candidates"][-1]["fqe"] == row["fqe"]
        assert row["cost"]["train"]["seconds"] > 0 and row["decide_seconds"] > 0
    publish(layout, tmp_path / "kept")
    kept = read_json(tmp_path / "kept" / "tiny.json")["runs"]
    assert all("returns" not in row["chosen_by_fqe"] for row in kept)
