"""What a finished run shows: figures, the table, and one page that needs nothing else."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pytest
from tiny import write_recipe

from offline_actrep.files.artifact import read_json
from offline_actrep.recipe import read_recipe
from offline_actrep.run import Layout, run
from offline_actrep.simulators.maze import PRESETS
from offline_actrep.summary import (
    choices_tables,
    policy_returns,
    probe_table,
    results_table,
    summarise,
)

COLLECT = '[log.collect]\nbehaviour = "uniform"\nrows = 400\nworlds = 8\n'
WORLD = '[world]\nname = "maze"\nsettings = { actuators = 5 }\n'


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    """One run, summarised, in a maze whose best return is known."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        known = replace(PRESETS["paper"], actuators=5, best_return=87.5)
        patch.setitem(PRESETS, "known", known)
        recipe = read_recipe(
            write_recipe(folder, ("settings = { actuators = 5 }", 'preset = "known"'))
        )
        layout = run(recipe, folder / "runs")
        summarise(layout)
        yield layout


@pytest.fixture(scope="module")
def without_world(finished: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The same learners on the same log as a file, as a real log is: nothing can be played."""
    folder = tmp_path_factory.mktemp("real")
    log = finished.log
    source = f'[log]\npath = "{log}/log.parquet"\naction_table = "{log}/actions.parquet"\n'
    recipe = write_recipe(folder, (COLLECT, source), (WORLD, ""), ("seeds = [0, 1]", "seeds = [0]"))
    layout = run(read_recipe(recipe), folder / "runs")
    summarise(layout)
    return layout


def page(layout: Layout) -> str:
    return (layout.folder / "report.html").read_text(encoding="utf-8")


def cells(layout: Layout) -> dict[str, dict[str, str]]:
    table = results_table(layout)
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_the_page_needs_no_other_file(finished: Layout) -> None:
    loaded = re.findall(r'(?:src|href|data|poster)\s*=\s*["\']([^"\']*)', page(finished))
    assert loaded, "the page has no figure"
    assert all(target.startswith(("data:", "#")) for target in loaded)
    assert "@import" not in page(finished) and "url(" not in page(finished)


def test_the_page_names_what_was_run(finished: Layout) -> None:
    text = page(finished)
    for name in ("Tiny maze", "on points", "on ids", "merlion", "best known"):
        assert name in text, name
    assert finished.read_log().fingerprint in text
    for heading in ("Results", "Learning curves", "Trajectories", "Points", "The log"):
        assert f">{heading}</h2>" in text, heading


def test_the_page_says_how_far_fqe_sees(finished: Layout) -> None:
    estimator = finished.recipe.estimate
    assert estimator is not None
    far, lasts = estimator.decisions_ahead, finished.read_log().lengths.mean()
    assert f"more than {far} decisions ahead it does not see" in page(finished)
    assert f"an episode of the log lasts {lasts:.0f} on average" in page(finished)


@pytest.mark.parametrize(
    "name",
    [
        "results", "curves", "trajectories", "distances-merlion", "points-merlion", "actions",
        "returns",
    ],
)  # fmt: skip
def test_every_figure_is_a_picture_of_something(finished: Layout, name: str) -> None:
    picture = matplotlib.image.imread(finished.folder / "figures" / f"{name}.png")
    assert picture.shape[0] > 150 and picture.shape[1] > 300
    assert picture[..., :3].std() > 0.01


def test_every_figure_is_in_the_page(finished: Layout) -> None:
    figures = list((finished.folder / "figures").glob("*.png"))
    assert page(finished).count("data:image/png;base64,") == len(figures) == 7


def test_the_table_has_the_references_and_every_learner(finished: Layout) -> None:
    table = results_table(finished)
    assert [row[0] for row in table.rows] == [
        "random", "behaviour (the log)", "on points", "on ids", "best known",
    ]  # fmt: skip
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_the_table_says_what_was_found(finished: Layout) -> None:
    found, shown = read_json(finished.folder / "results.json"), cells(finished)
    assert shown["best known"]["return"] == "87.5"
    behaviour = finished.read_log().returns.mean()
    assert shown["behaviour (the log)"]["return"] == f"{behaviour:.1f}"
    for name in ("on points", "on ids"):
        runs = [entry for entry in found["runs"] if entry["learner"] == name]
        fqe = sum(entry["fqe"]["value"] for entry in runs) / len(runs)
        assert shown[name]["FQE estimate"] == f"{fqe:.1f}"
        assert shown[name]["return"] == f"{policy_returns(runs).value:.1f}"
        assert shown[name]["steps"] == "20"
        assert " to " in shown[name]["95 % interval"]


def test_one_seed_is_judged_by_its_episodes_and_several_by_their_means() -> None:
    one = [{"returns": [0.0, 10.0]}]
    assert (policy_returns(one).value, policy_returns(one).n) == (5.0, 2)
    several = [{"returns": [mean - 1, mean + 1]} for mean in (0.0, 10.0, 20.0, 1000.0)]
    judged = policy_returns(several)
    assert (judged.value, judged.n) == (15.0, 4), "the interquartile mean drops the extremes"


def test_points_have_a_row_a_seed(finished: Layout) -> None:
    table = probe_table(read_json(finished.folder / "results.json")["probes"])
    assert [row[:2] for row in table.rows] == [["merlion", "0"], ["merlion", "1"]]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert not any("-" in row for row in table.rows), "in a maze everything can be measured"


def test_choices_have_a_row_a_policy_means_over_seeds(finished: Layout) -> None:
    found = read_json(finished.folder / "results.json")
    (table,) = choices_tables(found)
    assert [row[0] for row in table.rows] == [
        "random",
        "behaviour (the log)",
        "on points",
        "on ids",
    ]
    shares = [run["choices"]["largest_share"] for run in found["runs"][:2]]
    assert table.rows[2][2] == f"{sum(shares) / 2:.1%}"
    assert "<h2>Choices</h2>" in page(finished)


def test_choices_in_logged_states_repeat_nothing(without_world: Layout) -> None:
    (table,) = choices_tables(read_json(without_world.folder / "results.json"))
    assert [row[0] for row in table.rows] == ["behaviour (the log)", "on points", "on ids"]
    assert [row[3] for row in table.rows[1:]] == ["-", "-"] and table.rows[0][3] != "-"
    assert "2,048 logged states" in table.caption


def test_runs_of_before_choices_were_counted_have_no_table(finished: Layout) -> None:
    found = read_json(finished.folder / "results.json")
    for run_of_before in found["runs"]:
        del run_of_before["choices"]
    assert choices_tables(found) == []


def test_without_a_world_fqe_takes_the_place_of_returns(without_world: Layout) -> None:
    shown = cells(without_world)
    assert list(shown) == ["behaviour (the log)", "on points", "on ids"]
    for name in ("on points", "on ids"):
        for column in ("return", "95 % interval", "discounted return"):
            assert shown[name][column] == "-"
        assert float(shown[name]["FQE estimate"]) == pytest.approx(
            next(
                entry["fqe"]["value"]
                for entry in read_json(without_world.folder / "results.json")["runs"]
                if entry["learner"] == name
            ),
            abs=0.051,
        )
    for entry in read_json(without_world.folder / "results.json")["runs"]:
        assert "returns" not in entry and "discounted_returns" not in entry
        assert all(look["return"] is None for look in entry["curve"])


def test_without_a_world_the_page_stands_too(without_world: Layout) -> None:
    text = page(without_world)
    assert "FQE: discounted return from the log alone" in text
    assert ">Trajectories</h2>" not in text and "best known" not in text
    figures = {file.stem for file in (without_world.folder / "figures").glob("*.png")}
    assert figures == {
        "results", "curves", "distances-merlion", "points-merlion", "actions", "returns",
    }  # fmt: skip


def test_a_world_that_nobody_measured_has_no_best_known_row(tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        ("seeds = [0, 1]", "seeds = [0]"),
        ("settings = { actuators = 5 }", "settings = { actuators = 4 }"),
    )
    layout = run(read_recipe(recipe), tmp_path)
    summarise(layout)
    assert list(cells(layout)) == ["random", "behaviour (the log)", "on points", "on ids"]
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page(layout)).lower().split()


def test_learners_of_ids_alone_need_no_points(tmp_path: Path, finished: Layout) -> None:
    text = (
        f'name = "ids"\n[log]\npath = "{finished.log}/log.parquet"\n'
        f'action_table = "{finished.log}/actions.parquet"\n'
        '[[learners]]\nname = "alone"\nmethod = "discrete_bc"\n'
        "settings = { steps = 20, hidden = [8] }\n"
        "[estimate]\nsteps = 20\nrefits = 2\nrows = 200\n"
    )
    layout = run(read_recipe(write_recipe(tmp_path, text=text)), tmp_path)
    summarise(layout)
    assert ">Points</h2>" not in page(layout)
    assert ">Learning curves</h2>" not in page(layout), "an imitator has neither Q nor points"
    assert "alone" in page(layout)


def test_without_any_estimate_the_table_alone_is_shown(tmp_path: Path, finished: Layout) -> None:
    text = (
        f'name = "none"\nestimated = []\n[log]\npath = "{finished.log}/log.parquet"\n'
        f'action_table = "{finished.log}/actions.parquet"\n'
        '[[learners]]\nname = "alone"\nmethod = "discrete_bc"\n'
        "settings = { steps = 20, hidden = [8] }\n"
    )
    layout = run(read_recipe(write_recipe(tmp_path, text=text)), tmp_path)
    summarise(layout)
    assert cells(layout)["alone"]["FQE estimate"] == "-"
    assert not (layout.folder / "figures" / "results.png").exists()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    layout = Layout(read_recipe(write_recipe(tmp_path)), tmp_path / "tiny")
    with pytest.raises(ValueError, match="holds no finished run: run the recipe first"):
        summarise(layout)


def test_what_no_representation_has_is_no_column() -> None:
    probes = [
        {"representation": "a", "seed": 1, "rank": 2.0, "disagreement": None},
        {"representation": "b", "seed": 1, "rank": None, "disagreement": None},
    ]
    table = probe_table(probes)
    assert table.columns == ("points", "seed", "rank")
    assert table.rows == [["a", "1", "2"], ["b", "1", "-"]]
