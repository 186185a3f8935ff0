"""Figures, tables and verdicts from rows that nobody ran."""

import builtins
import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invented import a_row, rows_of
from matplotlib.colors import to_hex

from offline_actrep.bench import figures, statistics
from offline_actrep.bench.data import cell_data
from offline_actrep.bench.draw import draw
from offline_actrep.bench.job import Job, Only, Places, Told
from offline_actrep.bench.plan import BenchRecipe, Cell, read_bench
from offline_actrep.bench.rows import Row, write_rows
from offline_actrep.bench.running import wanted
from offline_actrep.bench.tuning import Tuned
from offline_actrep.bench.verdicts import FAILS, HOLDS, NOT_RUN, OPEN, Verdict
from offline_actrep.core.estimate import Estimate
from offline_actrep.files.artifact import read_json, write_json

SMALL = Path(__file__).parents[2] / "pipelines" / "bench_small.toml"
SWEPT = Cell("maze", "medium", "actuators=3")
BEST = {"MERLION-CQL": 0.9, "BC": 0.4}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 100)


def score(method: str, cell: Cell, seed: int) -> float:
    easier = 0.3 if method == "BC" and cell == SWEPT else 0.0
    return BEST[method] + easier + 0.01 * seed


def job_of(folder: Path, bench: BenchRecipe, only: Only = Only()) -> Job:  # noqa: B008
    told = Told(lambda event: None, lambda what: lambda *step: None, lambda line: None)
    return Job(bench, Places(folder / "logs", folder / "out", folder / "pub"), told, only, 1)


def given(folder: Path, seeds: int = 2, **changes: Any) -> tuple[Job, list[Row]]:
    bench = read_bench(SMALL).model_copy(update={"seeds": tuple(range(1, seeds + 1))})
    rows = rows_of(bench, wanted(bench, Tuned({"worlds": {}})), score, {SWEPT: 8})
    rows = [replace(row, **changes) for row in rows]
    job = job_of(folder, bench)
    write_rows(job.places.rows, rows)
    return job, rows


def test_everything_is_drawn(tmp_path: Path) -> None:
    job, _ = given(tmp_path)
    page = draw(job)
    assert page.is_file()
    there = {file.name for file in job.places.publish.iterdir()}
    assert there == {
        "rows.parquet", "bench.md", "statistics.json", "returns-medium.png",
        "profiles-medium.png", "actions.png", "curves-medium.png", "cost-medium.png",
        "penalty-medium.png", "fqe-medium.png", "claims.png",
    }  # fmt: skip
    text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
    assert "\n| MERLION-CQL " in text and "0.92 [0.91, 0.92]" in text
    assert "8 rows count; 0 that the bench asks for are not there; 0 are outdated" in text


def test_rows_of_another_log_than_the_card_states_are_named(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    table = tmp_path / "headroom.json"
    job = replace(job, bench=job.bench.model_copy(update={"headroom": str(table)}))
    (name,) = {cell_data(job.bench, row.cell).base.name for row in rows}
    for stated, others in (("of another", True), (rows[0].data_hash, False)):
        write_json(table, {name: {"fingerprint": stated}})
        draw(job)
        text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
        said = "Not of the log that its card speaks of now: maze-medium. The methods"
        assert (said in text) == others


def test_the_numbers_are_those_of_the_rows(tmp_path: Path) -> None:
    job, _ = given(tmp_path)
    draw(job)
    found = read_json(job.places.publish / "statistics.json")
    assert found["iqm"]["maze-medium"]["BC"]["value"] == pytest.approx(0.415)
    together = found["together"]["medium"]
    assert together["iqm"]["MERLION-CQL"]["value"] == pytest.approx(0.915)
    assert together["logs"] == ["maze-medium"]
    assert found["behaviour"]["maze-medium"]["value"] == pytest.approx(0.2)
    (over,) = together["probability_of_improvement"]
    assert (over["of"], over["over"], over["value"]) == ("MERLION-CQL", "BC", 1.0)
    assert over["logs"] == ["maze-medium"]
    declines = found["declines"]["maze-medium, actuators"]
    assert declines["a_doubling"]["BC"]["value"] == pytest.approx(0.3)
    (gap,) = declines["differences"]
    assert (gap["of"], gap["over"]) == ("BC", "MERLION-CQL")
    assert gap["value"] == pytest.approx(0.3)
    assert [each["verdict"] for each in found["verdicts"]] == 2 * ["cannot tell"], "two runs"


def test_three_seeds_hold_claims(tmp_path: Path) -> None:
    job, _ = given(tmp_path, seeds=3)
    draw(job)
    found = read_json(job.places.publish / "statistics.json")
    assert [each["verdict"] for each in found["verdicts"]] == 2 * ["holds"]


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    job, _ = given(tmp_path)
    page = draw(job)
    first = {file: file.read_bytes() for file in [page, *job.places.publish.iterdir()]}
    draw(job)
    assert all(file.read_bytes() == content for file, content in first.items())


def test_one_seed_is_drawn_without_an_interval(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    write_rows(job.places.rows, [row for row in rows if row.seed == 1])
    draw(job)
    text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
    assert "4 that the bench asks for are not there" in text
    found = read_json(job.places.publish / "statistics.json")
    assert found["iqm"]["maze-medium"]["BC"]["low"] is None
    assert not (job.places.publish / "profiles-medium.png").exists(), "a band of one seed is none"
    assert {each["verdict"] for each in found["verdicts"]} == {"cannot tell"}


def test_what_fqe_said_with_other_settings_is_left_out(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    draw(job)
    page = job.places.publish / "bench.md"
    assert "Without FQE's word" not in page.read_text(encoding="utf-8")
    stale = [replace(row, fqe_hash="another") for row in rows if row.method == "BC"]
    write_rows(job.places.rows, [*stale, *(row for row in rows if row.method != "BC")])
    draw(job)
    text = page.read_text(encoding="utf-8")
    assert "8 rows count" in text and "Without FQE's word: 4, judged when" in text
    chosen = read_json(job.places.publish / "statistics.json")["iqm_of_chosen_by_fqe"]
    assert {name for each in chosen.values() for name in each} == {"MERLION-CQL"}
    one = replace(rows[0], fqe_hash="another")
    write_rows(job.places.rows, [one, *rows[1:]])
    draw(job)
    chosen = read_json(job.places.publish / "statistics.json")["iqm_of_chosen_by_fqe"]
    assert one.method not in chosen[one.cell.name], "not of fewer seeds than the last checkpoint's"


def test_outdated_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    stale = [replace(row, config_hash="another") for row in rows if row.method == "BC"]
    gone = a_row("a method of last year", Cell("maze", "medium"), 1, 1.0)
    write_rows(job.places.rows, [row for row in rows if row.method != "BC"] + [*stale, gone])
    draw(job)
    text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
    assert "4 that the bench asks for are not there; 5 are outdated" in text
    assert "last year" not in text and "not run: BC" in text


def test_rows_of_two_logs_are_told(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    for change in ({"data_hash": "other"}, {"best_return": 120.0}):
        write_rows(job.places.rows, [replace(rows[0], **change), *rows[1:]])
        draw(job)
        text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
        assert "of the best policy known: maze-medium. Run the bench" in text


def test_a_part_can_be_drawn(tmp_path: Path) -> None:
    job, _ = given(tmp_path)
    draw(replace(job, only=Only(methods=["BC"], sweeps=False)))
    text = (job.places.publish / "bench.md").read_text(encoding="utf-8")
    assert re.search(r"\n\| BC +\|", text) and not re.search(r"\n\| MERLION-CQL +\|", text)
    assert "A part of the bench alone: methods BC; no sweeps." in text
    assert "2 rows count; 0 that it asks for are not there; 0 are outdated" in text
    with pytest.raises(ValueError, match="no row is left"):
        draw(replace(job, only=Only(seeds=[9])))


def test_no_rows_are_refused(tmp_path: Path) -> None:
    job, rows = given(tmp_path)
    write_rows(job.places.rows, [replace(row, config_hash="another") for row in rows])
    with pytest.raises(ValueError, match="no row of this bench; its 8 rows are outdated"):
        draw(job)


def test_without_rliable_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = given(tmp_path)
    behind = [name for name in sys.modules if name.startswith("offline_actrep.bench.")]
    for name in behind:
        if name.rpartition(".")[2] in ("report", "figures", "findings", "statistics"):
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def missing(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "rliable":
            raise ModuleNotFoundError("No module named 'rliable'", name="rliable")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ValueError, match=r'need rliable.*pip install "offline_actrep\[bench\]"'):
        draw(job)
    monkeypatch.undo()
    importlib.import_module("offline_actrep.bench.report")


def test_every_method_looks_different() -> None:
    order = [f"method {k}" for k in range(28)]
    styles = {str(figures._style(name, order)) for name in order}
    assert len(styles) == 28
    marked = {(s["color"], s["marker"]) for s in (figures._style(n, order) for n in order)}
    assert len(marked) == 28, "where there is no line, colour and marker are the key"


def test_a_method_has_one_colour_on_every_figure() -> None:
    order = ["a", "b", "c"]
    sure = Estimate(0.5, 0.4, 0.6, 5)
    intervals = figures.intervals([figures.Panel("log", {"c": sure}, 0.2)], ["c"], order)
    costs = figures.costs({"log": {"a": (10.0, sure), "c": (20.0, sure)}}, order)
    colours = {
        line.get_color()
        for figure in (intervals, costs)
        for line in figure.axes[0].lines
        if line.get_marker() == figures.MARKERS[2]
    }
    assert colours == {figures._style("c", order)["color"]}


@pytest.mark.parametrize(("low", "high"), [(55.0, 195.0), (40.0, 85.0), (20.0, 150.0), (10.0, 2e3)])
def test_seconds_can_be_read_off(low: float, high: float) -> None:
    sure = Estimate(0.5, 0.4, 0.6, 5)
    figure = figures.costs({"log": {"a": (low, sure), "b": (high, sure)}}, ["a", "b"])
    axis = figure.axes[0].xaxis
    begin, end = axis.get_view_interval()
    shown = [place for place in axis.get_majorticklocs() if begin <= place <= end]
    assert 3 <= len(shown) <= 8
    assert axis.get_major_formatter()(shown[0]) == f"{shown[0]:g}"


def test_claims_are_a_cell_a_method_and_log() -> None:
    figure = figures.claims(
        [
            Verdict("best", "a-medium", "one", "", {"x": HOLDS, "y": HOLDS}),
            Verdict("best", "b-medium", "one", "", {"x": FAILS, "y": HOLDS}),
            Verdict("best", "a-medium", "two", "", {}),
            Verdict("falls", "a, videos", "one", "", {"x": NOT_RUN}),
        ]
    )
    (ax,) = figure.axes
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["best", "one", "two", "falls", "one"]
    cells = {tuple(map(round, each.get_position())): each.get_text() for each in ax.texts}
    assert cells == {(0, 1): "2 of 2", (1, 1): "1 of 2", (0, 2): "not run", (2, 4): "0 of 1"}
    colours = [to_hex(patch.get_facecolor()).upper() for patch in ax.patches]
    drawn = [figures.VERDICTS[each] for each in (HOLDS, FAILS, OPEN, OPEN)]
    assert colours == [colour.upper() for colour in drawn]


def test_nothing_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.costs({}, [])
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.claims([])
