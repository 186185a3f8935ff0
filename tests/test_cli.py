"""The command line: one JSON object, exit codes, and refusals that a script can read."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tiny import write_recipe
from typer.testing import CliRunner

from offline_actrep import cli, cli_worlds
from offline_actrep.card import headroom
from offline_actrep.cli import app
from offline_actrep.console import parsed
from offline_actrep.dataset import ANOTHER_LOG
from offline_actrep.files.artifact import read_json, write_json
from offline_actrep.files.exchange.d3rlpy import read_d3rlpy
from offline_actrep.files.parquet import read_log
from offline_actrep.simulators.catalog import make
from offline_actrep.simulators.maze import PRESETS

PROGRAM = Path(sys.executable).with_name("offline-actrep")
ESTIMATE = {"value", "low", "high", "n"}
FIT = ["--set", "steps=20", "--set", "behaviour_steps=5", "--set", "hidden=8", "--set", "dim=3"]
TRAIN = ["--set", "steps=20", "--set", "hidden=[8]"]
FQE = ["--set", "steps=20", "--set", "refits=2", "--set", "rows=200", "--set", "hidden=[8]"]


@pytest.fixture(scope="module", autouse=True)
def tiny_maze() -> Iterator[None]:
    """A preset of 16 actions, since the command line takes presets only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", replace(PRESETS["paper"], actuators=4, best_return=90.0))
        yield


def call(*arguments: object) -> dict[str, Any]:
    """Runs a command with `--json`; what it printed, which must be one JSON object."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return only_json(result.stdout)


def only_json(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert isinstance(found, dict)
    return found


class Made:
    """Files that the commands of the module's fixture wrote, and what they said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log.parquet"
        self.actions = folder / "log.actions.parquet"
        self.points = folder / "points"
        self.policy = folder / "cql"
        self.cloned = folder / "bc"
        table = ["--actions", self.actions]
        self.collected = call(
            "collect", "maze", "--preset", "tiny", "--behaviour", "uniform",
            "--rows", 400, "--seed", 3, "--out", self.log,
        )  # fmt: skip
        self.fitted = call("fit", self.log, *table, "--fourier", "x", "--out", self.points, *FIT)
        self.trained = call(
            "train", self.log, *table, "--points", self.points, "--out", self.policy, *TRAIN
        )
        self.trained_on_ids = call(
            "train", self.log, *table, "--method", "discrete_bc", "--out", self.cloned, *TRAIN
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_maze: None) -> Made:
    return Made(tmp_path_factory.mktemp("made"))


def test_collect_writes_a_log_and_its_action_table(made: Made) -> None:
    said = made.collected
    assert said.keys() == {"log", "actions", "rows", "episodes", "behaviour_return"}
    log = pl.read_parquet(made.log)
    assert said["rows"] == len(log) >= 400
    assert said["episodes"] == log["episode_id"].n_unique()
    assert said["log"] == str(made.log) and said["actions"] == str(made.actions)
    assert len(pl.read_parquet(made.actions)) == 16
    total = log.group_by("episode_id").agg(pl.col("reward").sum())["reward"].mean()
    assert said["behaviour_return"] == pytest.approx(total)


def test_collect_again_writes_the_same_log(made: Made, tmp_path: Path) -> None:
    call(
        "collect", "maze", "--preset", "tiny", "--behaviour", "uniform",
        "--rows", 400, "--seed", 3, "--out", tmp_path / "again.parquet",
    )  # fmt: skip
    assert (tmp_path / "again.parquet").read_bytes() == made.log.read_bytes()


def test_collect_writes_a_card_of_the_logs_headroom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_worlds, "headroom", partial(headroom, episodes=4, steps=20))
    card = tmp_path / "CARD.md"
    said = call(
        "collect", "maze", "--preset", "tiny", "--behaviour", "uniform", "--rows", 400,
        "--out", tmp_path / "log.parquet", "--card", card,
    )  # fmt: skip
    kinds = ["random", "behaviour", "cloning", "best"]
    assert all(said["headroom"][kind].keys() == ESTIMATE for kind in kinds)
    assert said["headroom"]["best_by"] == "scripted"
    assert said["headroom"]["behaviour"]["value"] == pytest.approx(said["behaviour_return"])
    assert said["card"] == str(card)
    lines = card.read_text(encoding="utf-8").splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    assert rows[2:6] == ["random", "behaviour", "behaviour cloning", "best known (scripted)"]
    assert any("--preset tiny --behaviour uniform --rows 400 --seed 0" in line for line in lines)


DATASET = """\
name = "maze-small"
about = "Wanderers."
rows = 200
worlds = 4
sample_rows = 100
cloning_steps = 5

[world]
name = "maze"
settings = { actuators = 4 }

[[parts]]
policy = "maze_wanderer"
weight = 1
"""


def test_data_sets_are_made_measured_and_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "maze"
    folder.mkdir(parents=True)
    recipe = folder / "small.toml"
    recipe.write_text(DATASET, encoding="utf-8")
    (folder / "about.md").write_text("# Maze\n", encoding="utf-8")
    logs = tmp_path / "logs"
    said = call("dataset", recipe, "--out", logs)
    assert said == {"maze-small": str(logs / "maze-small" / "log" / "log.parquet")}
    assert len(read_log(said["maze-small"])) >= 200
    found = call("headroom", recipe, "--out", logs, "--episodes", 4, "--publish", folder.parent)[
        "maze-small"
    ]
    assert found["rows"] >= 200
    assert (
        (folder / "README.md").read_text(encoding="utf-8").startswith("# Maze\n\n## `maze-small`")
    )
    assert (folder.parent / "headroom.md").is_file()
    made_again = CliRunner().invoke(app, ["dataset", str(recipe), "--out", str(logs)])
    assert "maze-small" in made_again.stdout and ANOTHER_LOG not in made_again.stderr
    stated = read_json(folder / "checksums.json")
    stated["maze-small"]["fingerprint"] = "of another processor"
    write_json(folder / "checksums.json", stated)
    made_again = CliRunner().invoke(app, ["dataset", str(recipe), "--out", str(logs)])
    assert made_again.exit_code == 0 and "maze-small" in made_again.stdout
    assert made_again.stderr.strip() == f"maze-small: {ANOTHER_LOG}"
    page = call(
        "worlds", "--out", tmp_path / "worlds.html", "--name", "maze", "--recipe", recipe,
        "--logs", logs,
    )["page"]  # fmt: skip
    assert "offline_actrep/Maze-v0" in Path(page).read_text(encoding="utf-8")


def test_fit_says_what_it_made(made: Made) -> None:
    assert made.fitted == {"representation": str(made.points), "dim": 3, "actions": 16}


def test_fourier_columns_reach_the_networks(made: Made) -> None:
    content = (made.points / "representation.json").read_text(encoding="utf-8")
    assert '"fourier": [\n' in content


def test_probe_measures_points_with_and_without_a_world(made: Made) -> None:
    arguments = ["probe", made.log, "--actions", made.actions, "--points", made.points]
    blind = call(*arguments)
    seeing = call(*arguments, "--world", "maze", "--preset", "tiny")
    assert blind.keys() == seeing.keys()
    assert {"distinct_actions", "round_trip", "effect_r2", "neighbour_ratio"} <= blind.keys()
    assert blind["effect_r2"] is None and blind["neighbour_ratio"] is None
    assert seeing["effect_r2"] is not None and seeing["neighbour_ratio"] is not None
    assert seeing["actions"] == 16


def test_probe_prints_a_table_for_people(made: Made) -> None:
    result = CliRunner().invoke(
        app,
        ["probe", str(made.log), "--actions", str(made.actions), "--points", str(made.points)],
        env={"COLUMNS": "200"},
    )
    assert result.exit_code == 0
    assert "round trip" in result.stdout and "points" in result.stdout


def test_relabel_writes_a_point_beside_every_action(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "relabelled"
    said = call("relabel", made.log, "--points", made.points, "--out", out)
    before, after = pl.read_parquet(made.log), pl.read_parquet(out / "part-*.parquet")
    whole = {"relabelled": str(out), "rows": len(before), "dim": 3, "parts": 1, "kept": 0}
    assert said == whole
    assert call("relabel", made.log, "--points", made.points, "--out", out) == whole | {"kept": 1}
    assert after["action"].to_list() == before["action"].to_list()
    points = after["point"].to_list()
    assert all(len(point) == 3 and max(map(abs, point)) <= 1 for point in points)


def test_train_says_what_it_made(made: Made) -> None:
    assert made.trained == {"policy": str(made.policy), "method": "cql"}
    assert made.trained_on_ids == {"policy": str(made.cloned), "method": "discrete_bc"}


@pytest.mark.parametrize("name", ["policy", "cloned"])
def test_evaluate_gives_an_estimate(made: Made, name: str) -> None:
    arguments = ["evaluate", getattr(made, name), "--preset", "tiny", "--episodes", 4]
    said = call(*arguments)
    assert said.keys() == ESTIMATE
    assert said["n"] == 4
    assert said["low"] <= said["value"] <= said["high"]
    assert call(*arguments) == said


def test_an_interval_without_an_end_is_null(made: Made) -> None:
    said = call("evaluate", made.cloned, "--preset", "tiny", "--episodes", 1)
    assert said["low"] is None and said["high"] is None and said["n"] == 1


@pytest.mark.parametrize("name", ["policy", "cloned"])
def test_estimate_gives_an_estimate(made: Made, name: str) -> None:
    policy = getattr(made, name)
    said = call("estimate", policy, made.log, "--actions", made.actions, *FQE)
    assert said.keys() == ESTIMATE
    assert said["low"] < said["value"] < said["high"]


def test_propensities_give_a_log_with_them_and_say_how_good_they_are(
    made: Made, tmp_path: Path
) -> None:
    said = call(
        "propensities", made.log, "--actions", made.actions, "--out", tmp_path / "p",
        "--set", "steps=5", "--set", "hidden=[8]",
    )  # fmt: skip
    assert said["out"] == str(tmp_path / "p")
    assert said["agreement"].keys() >= {"rank_correlation", "mean_weight"}
    before = read_log(made.log, action_table=made.actions)
    after = read_log(
        tmp_path / "p" / "log.parquet", action_table=tmp_path / "p" / "actions.parquet"
    )
    assert after.action_probabilities is not None and before.action_probabilities is not None
    assert (after.action_probabilities != before.action_probabilities).any()
    np.testing.assert_array_equal(after.actions, before.actions)
    assert len(json.loads((tmp_path / "p" / "propensities.json").read_text())["curve"]) >= 1
    page = Path(said["report"]).read_text(encoding="utf-8")
    assert "Calibration" in page and "Against the logged propensities" in page
    assert (tmp_path / "p" / "calibration.png").read_bytes().startswith(b"\x89PNG")


def test_convert_makes_a_store_that_every_command_takes(made: Made, tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ["convert", made.log, "--actions", made.actions, "--out", store]
    said = call(*arguments)
    assert said["folder"] == str(store) and said["refused_rows"] == 0
    assert said["rows"] == made.collected["rows"]
    assert (store / "report.html").is_file() and (store / "report.json").is_file()
    assert call(*arguments)["rows_read"] == 0, "what is finished is left as it is"
    checked = call("check", store)
    assert checked == {k: said.get(k, 16) for k in ("rows", "episodes", "actions")} | {
        "store": str(store)
    }
    from_store = call("relabel", store, "--points", made.points, "--out", tmp_path / "a")
    assert from_store["rows"] == said["rows"]
    call("relabel", made.log, "--points", made.points, "--out", tmp_path / "b")
    points = [
        pl.read_parquet(tmp_path / each / "part-*.parquet")["point"].to_list() for each in "ab"
    ]
    assert points[0] == points[1]
    refused = CliRunner().invoke(
        app, ["check", str(made.log), "--json"]
    )  # a file of parquet is no store
    assert refused.exit_code == 2 and "error" in json.loads(refused.stdout)


def test_convert_says_what_it_would_do_and_what_it_refused(made: Made, tmp_path: Path) -> None:
    broken = pl.read_parquet(made.log).with_columns(
        reward=pl.when(pl.int_range(pl.len()) == 3).then(float("nan")).otherwise("reward")
    )
    broken.write_parquet(tmp_path / "broken.parquet")
    source = tmp_path / "broken.parquet"
    look = CliRunner().invoke(app, ["convert", str(source), "--dry-run"])
    assert look.exit_code == 0 and f"{len(broken):,} rows" in look.stdout
    text = call("convert", source, "--explain")["explanation"]
    assert "reward" in text and "observation" in text
    failed = CliRunner().invoke(
        app, ["convert", str(source), "--out", str(tmp_path / "no"), "--quarantine", "fail"]
    )
    assert failed.exit_code == 2 and "row 3" in failed.stderr
    assert not (tmp_path / "no").exists()
    kept = CliRunner().invoke(app, ["convert", str(source), "--out", str(tmp_path / "yes"), "-v"])
    assert kept.exit_code == 0, kept.stderr
    assert "quarantine.parquet" in kept.stdout and "row 3" in kept.stdout
    silent = CliRunner().invoke(
        app, ["convert", str(source), "--out", str(tmp_path / "yes"), "--quiet"]
    )
    assert silent.exit_code == 0 and silent.stdout == silent.stderr == ""
    nowhere = CliRunner().invoke(app, ["convert", str(source)])
    assert nowhere.exit_code == 2 and "--out" in nowhere.stderr


def test_export_hands_a_log_on(made: Made, tmp_path: Path) -> None:
    log = [made.log, "--actions", made.actions]
    rllib, d3rlpy = tmp_path / "r.parquet", tmp_path / "d.h5"
    call("export", *log, "--points", made.points, "--to", "rllib", "--out", rllib)
    assert pl.read_parquet(rllib).height == made.collected["rows"]
    call("export", *log, "--to", "d3rlpy", "--out", d3rlpy)
    assert read_d3rlpy(d3rlpy).transition_count >= made.collected["rows"]
    refused = CliRunner().invoke(
        app, ["export", str(made.log), "--to", "minari", "--out", "tiny/maze-v0"]
    )
    assert refused.exit_code == 2 and "--points" in refused.stderr


def test_import_names_the_logs_there_are(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["import", "netflix", str(tmp_path), "--out", "s"])
    assert refused.exit_code == 2 and "movielens" in refused.stderr
    refused = CliRunner().invoke(
        app, ["import", "movielens", str(tmp_path), "--out", "s", "--set", "recnt=2"]
    )
    assert refused.exit_code == 2 and "near it: recent" in refused.stderr


def test_import_makes_a_store(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,10,4.0,100\n1,20,3.0,200\n2,10,5.0,100\n2,20,1.0,900\n"
    )
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\n10,One (1999),Drama\n20,Two (2001),Comedy|Drama\n"
    )
    said = call("import", "movielens", tmp_path, "--out", tmp_path / "store")
    assert said["rows"] == 4 and said["actions"] == 2
    assert call("check", tmp_path / "store")["rows"] == 4


def test_run_and_report_show_the_same_results(tmp_path: Path) -> None:
    file = write_recipe(tmp_path, ("seeds = [0, 1]", "seeds = [0]"))
    out = tmp_path / "runs"
    ran = call("run", file, "--out", out, "--workers", 1)
    assert ran.keys() == {"folder", "report", "results"}
    assert ran["folder"] == str(out / "tiny")
    assert Path(ran["report"]).is_file()
    assert [row["policy"] for row in ran["results"]] == [
        "random",
        "behaviour (the log)",
        "on points",
        "on ids",
    ]
    Path(ran["report"]).unlink()
    assert call("report", file, "--out", out) == ran
    assert Path(ran["report"]).is_file()
    people = CliRunner().invoke(app, ["report", str(file), "--out", str(out)])
    assert people.exit_code == 0
    assert "on ids" in people.stdout and f"report: {ran['report']}" in people.stdout


def test_progress_goes_to_standard_error(made: Made, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["train", str(made.log), "--method", "discrete_bc", "--out", str(tmp_path / "p"), *TRAIN],
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"policy: {tmp_path / 'p'}", "method: discrete_bc"]
    assert "train discrete_bc" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "{folder}/nowhere.parquet", "--out", "o"], "nowhere.parquet"),
        (["fit", "{log}", "--out", "o", "--method", "marlin"], "unknown representation 'marlin'"),
        (["fit", "{log}", "--out", "o", "--set", "stps=3"], "near it: steps"),
        (["fit", "{log}", "--out", "o", "--set", "steps"], "--set takes name=value, got 'steps'"),
        (
            ["fit", "{log}", "--out", "o", "--set", "dim=wide"],
            "merlion, dim: should be a valid int",
        ),
        (["fit", "{log}", "--out", "o", "--set", "steps=-5"], "greater than or equal to 1, got -5"),
        (
            ["train", "{log}", "--out", "o", "--method", "discrete_bc", "--set", "hidden=8"],
            "discrete_bc, hidden: should be a valid tuple, got 8",
        ),
        (["estimate", "{cloned}", "{log}", "--set", "stps=3"], "near it: steps"),
        (["propensities", "{log}", "--out", "o", "--set", "stps=3"], "near it: steps"),
        (["fit", "{log}", "--out", "o", "--set", "seed=3"], "seed is no setting"),
        (["fit", "{log}", "--out", "o", "--fourier", "height"], "height"),
        (["fit", "{log}", "--out", "o", "--columns", "{folder}/no.toml"], "no.toml"),
        (["train", "{log}", "--out", "o"], "re-label the log first"),
        (["train", "{log}", "--out", "o", "--method", "sql"], "unknown learner 'sql'"),
        (["train", "{log}", "--out", "o", "--points", "{folder}"], "no finished representation"),
        (["probe", "{log}", "--points", "{folder}"], "no finished representation"),
        (
            ["probe", "{log}", "--points", "{points}", "--world", "maze"],
            "the log knows 16 actions, the world maze has 4096",
        ),
        (["relabel", "{log}", "--points", "{policy}", "--out", "o"], "no finished representation"),
        (["evaluate", "{points}"], "holds no finished policy"),
        (["evaluate", "{cloned}", "--world", "haze"], "unknown world 'haze'"),
        (["evaluate", "{cloned}", "--preset", "haze"], "unknown maze preset 'haze'"),
        (["evaluate", "{cloned}"], "16 actions, the world has 4096"),
        (["estimate", "{cloned}", "{log}", "--name", "is"], "unknown estimator 'is'"),
        (["estimate", "{cloned}", "{log}", "--set", "refit=3"], "refit"),
        (["collect", "haze", "--out", "o"], "unknown world 'haze'"),
        (["collect", "--preset", "tiny", "--behaviour", "no", "--out", "o"], "'no'"),
        (["run", "{folder}/no.toml"], "which is none"),
        (["report", "{recipe}"], "holds no finished run"),
    ],
    ids=lambda value: " ".join(value[:1] + value[-2:]) if isinstance(value, list) else "",
)
def test_refused_input_is_exit_code_2_and_says_why(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {**vars(made), "recipe": write_recipe(made.folder)}
    filled = [argument.format(**names) for argument in arguments]
    scripted = CliRunner().invoke(app, [*filled, "--json"])
    assert scripted.exit_code == 2, scripted.output
    found = only_json(scripted.stdout)
    assert found.keys() == {"error"} and said in found["error"]
    for_people = CliRunner().invoke(app, filled)
    assert for_people.exit_code == 2
    assert for_people.stdout == ""
    assert "refused: " in for_people.stderr and said in for_people.stderr
    assert not (tmp_path / "o").exists(), "what was refused must leave nothing behind"


def test_what_can_be_set_is_told() -> None:
    assert "merlion" in call("settings")["representations"]
    told = call("settings", "cql")["cql"]
    assert {"setting": "batch_size", "what it takes": "integer >= 1"}.items() <= told[1].items()
    assert {"recipe.toml", "LogSource"} <= call("settings", "recipe").keys()
    for_people = CliRunner().invoke(app, ["settings", "merlion"])
    assert for_people.exit_code == 0 and "coordinates of a point" in for_people.stdout
    assert CliRunner().invoke(app, ["settings", "merlin"]).exit_code == 2


def test_a_usage_error_is_exit_code_2(made: Made) -> None:
    assert CliRunner().invoke(app, ["fit", str(made.log)]).exit_code == 2
    assert CliRunner().invoke(app, ["run", "r.toml", "--workers", "0"]).exit_code == 2


def test_an_extra_that_is_not_installed_is_exit_code_2(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*arguments: object) -> None:
        raise ImportError('pip install "offline_actrep[online]"')

    monkeypatch.setattr(cli, "load_policy", lacking)
    result = CliRunner().invoke(app, ["evaluate", str(made.policy), "--preset", "tiny"])
    assert result.exit_code == 2
    assert result.stderr == 'refused: pip install "offline_actrep[online]"\n'


def test_interrupted_is_exit_code_130(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_policy", interrupt)
    result = CliRunner().invoke(app, ["evaluate", str(made.policy), "--preset", "tiny"])
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


@pytest.mark.parametrize(
    ("entries", "settings"),
    [
        (None, {}),
        (["steps=9000"], {"steps": 9000}),
        (["rate=1e-3", "on=true", "off=null"], {"rate": 1e-3, "on": True, "off": None}),
        (["hidden=[8, 16]"], {"hidden": [8, 16]}),
        (["transition=gaussian"], {"transition": "gaussian"}),
        (["text=a=b", 'quoted="3"'], {"text": "a=b", "quoted": "3"}),
        (["steps=1", "steps=2"], {"steps": 2}),
    ],
)
def test_settings_are_numbers_lists_or_words(
    entries: list[str] | None, settings: dict[str, Any]
) -> None:
    assert parsed(entries) == settings


@pytest.mark.parametrize("table", ["", "[columns]\n"])
def test_a_log_with_other_column_names_is_read_by_a_mapping(
    made: Made, tmp_path: Path, table: str
) -> None:
    names = {"episode_id": "visit", "step": "turn", "action": "item", "reward": "gain"}
    pl.read_parquet(made.log).rename(names).write_parquet(tmp_path / "own.parquet")
    mapping = tmp_path / "columns.toml"
    lines = [f'{ours} = "{theirs}"\n' for ours, theirs in names.items()]
    mapping.write_text(table + "".join(lines), encoding="utf-8")
    said = call(
        "relabel", tmp_path / "own.parquet", "--columns", mapping,
        "--points", made.points, "--out", tmp_path / "out",
    )  # fmt: skip
    assert said["rows"] == made.collected["rows"]
    written = pl.read_parquet(tmp_path / "out" / "part-00000.parquet")
    logged = pl.read_parquet(made.log)
    for ours, theirs in names.items():
        assert written[theirs].to_list() == logged[ours].to_list()


def test_a_mapping_with_an_unknown_column_is_refused(made: Made, tmp_path: Path) -> None:
    mapping = tmp_path / "columns.toml"
    for text, said in (('acton = "item"\n', "acton"), ("action = = 3\n", "line 1")):
        mapping.write_text(text, encoding="utf-8")
        result = CliRunner().invoke(
            app, ["fit", str(made.log), "--columns", str(mapping), "--out", "o", "--json"]
        )
        assert result.exit_code == 2
        assert said in only_json(result.stdout)["error"]


def test_the_import_and_the_help_say_nothing_of_their_own() -> None:
    imported = subprocess.run(
        [sys.executable, "-c", "import offline_actrep"], capture_output=True, text=True, timeout=120
    )
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", "")
    helped = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=120)
    assert helped.returncode == 0
    assert helped.stderr == ""
    assert "gym" not in helped.stdout.lower()
    for command in (
        "run", "collect", "fit", "probe", "relabel", "train", "evaluate", "estimate", "convert",
        "check", "import", "export", "propensities", "settings",
    ):  # fmt: skip
        assert command in helped.stdout


def test_the_program_itself_refuses_with_exit_code_2(tmp_path: Path) -> None:
    refused = subprocess.run(
        [PROGRAM, "run", tmp_path / "no.toml", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert refused.returncode == 2
    assert "expected a TOML file" in only_json(refused.stdout)["error"]
    assert "gym" not in refused.stderr.lower()


@pytest.mark.parametrize("method", ["a2c", "discrete_a2c"])
def test_a_policy_that_learns_while_it_acts(method: str, tmp_path: Path) -> None:
    said = call(
        "train-online", "maze", "--preset", "tiny", "--out", tmp_path / "policy",
        "--method", method, "--steps", 600, "--fourier", "x", "--set", "hidden=[8]",
    )  # fmt: skip
    assert said == {"policy": str(tmp_path / "policy"), "method": method, "steps": 600}
    judged = call("evaluate", tmp_path / "policy", "--preset", "tiny", "--episodes", 4)
    assert judged.keys() >= ESTIMATE


def test_online_training_on_points_of_a_log(made: Made, tmp_path: Path) -> None:
    out = tmp_path / "policy"
    call(
        "train-online", "maze", "--preset", "tiny", "--out", out, "--points", made.points,
        "--method", "a2c", "--steps", 600,
    )  # fmt: skip
    assert (out / "representation" / "representation.json").is_file()


def test_a_purchase_log_becomes_a_world(tmp_path: Path) -> None:
    lines = 12
    pl.DataFrame(
        {
            "household_id": [1] * lines,
            "basket_id": range(lines),
            "product_id": [11, 25, 40] * (lines // 3),
            "quantity": [1] * lines,
            "sales_value": [2.0, 3.0, 4.0] * (lines // 3),
            "transaction_timestamp": [datetime(2017, 1, 1 + day) for day in range(lines)],
        }
    ).write_parquet(tmp_path / "transactions.parquet")
    text = ["A", "B", "C"]
    pl.DataFrame(
        {"product_id": [11, 25, 40]}
        | dict.fromkeys(
            ("department", "brand", "product_category", "product_type", "package_size"), text
        )
    ).write_parquet(tmp_path / "products.parquet")
    out = tmp_path / "tables.npz"
    assert call("purchases", tmp_path, "--out", out, "--min-purchases", 4) == {
        "tables": str(out), "items": 3,
    }  # fmt: skip
    world = make("ngram_recommender", 2, tables=str(out))
    assert world.action_set.ids.tolist() == [11, 25, 40]
