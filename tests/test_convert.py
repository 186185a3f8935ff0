"""A log of any kind through the whole conversion: kept, refused, told, taken up after a kill."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offline_actrep import plots
from offline_actrep.convert import Conversion, convert, dry_run, explain
from offline_actrep.core.log import Log
from offline_actrep.files.mapping import LogMapping
from offline_actrep.files.parquet import read_action_table, read_log
from offline_actrep.files.rules import RULES
from offline_actrep.files.store import open_store

convert_module = sys.modules[convert.__module__]  # the package gives its name to the verb

KILLED = """
import sys
from offline_actrep.convert import convert
module = sys.modules[convert.__module__]
module.LEAST_ROWS = module.MOST_ROWS = 30
print("ready", flush=True)
convert({source!r}, out={out!r})
"""


def frame(
    episodes: int = 40, length: int = 5, size: int = 3, seed: int = 0, text_ids: bool = False
) -> pl.DataFrame:
    """A clean log, in order, with every column."""
    rng = np.random.default_rng(seed)
    n = episodes * length
    action = rng.integers(0, 7, n) * 3
    last = np.arange(n) % length == length - 1
    name = [f"session {e:04d}" for e in range(episodes)]
    return pl.DataFrame(
        {
            "episode_id": np.repeat(name, length)
            if text_ids
            else np.repeat(range(episodes), length),
            "step": np.tile(np.arange(length), episodes),
            "observation": pl.Series(rng.normal(size=(n, size)).astype(np.float32)),
            "action": action,
            "reward": rng.random(n).astype(np.float32),
            "terminated": last & (np.arange(n) // length % 2 == 0),
            "truncated": last & (np.arange(n) // length % 2 == 1),
            "action_probability": rng.uniform(0.1, 1, n),
            "allowed_actions": [[int(a), 100] for a in action],
            "timestamp": np.arange(n),
        }
    )


def write(whole: pl.DataFrame, folder: Path, files: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(whole)), files)):
        whole[rows].write_parquet(folder / f"part-{number:03d}.parquet", row_group_size=17)
    return folder


def same(one: Log, other: Log) -> None:
    assert one.fingerprint == other.fingerprint
    assert one.action_set.same_as(other.action_set)
    assert one.episode_ids.tolist() == other.episode_ids.tolist()


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def report_of(made: Conversion) -> dict:
    return json.loads((made.folder / "report.json").read_text())


@pytest.fixture
def small_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions of 30 rows, so that a small log has several."""
    monkeypatch.setattr(convert_module, "LEAST_ROWS", 30)
    monkeypatch.setattr(convert_module, "MOST_ROWS", 30)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without the time that their pictures take."""

    def save(_: object, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
        return path

    monkeypatch.setattr(plots, "save", save)


@pytest.mark.parametrize("text_ids", [False, True])
@pytest.mark.usefixtures("small_partitions")
def test_a_clean_log_is_the_log_that_read_log_reads(tmp_path: Path, text_ids: bool) -> None:
    source = write(frame(text_ids=text_ids), tmp_path / "logs")
    made = convert(source, out=tmp_path / "store")
    assert (made.rows, made.episodes, made.refused_rows, made.refused_episodes) == (200, 40, 0, 0)
    assert made.rows_read == 200 and made.rows_a_second > 0 and made.rules == {}
    same(open_store(made.folder, verify=True), read_log(source))
    assert not (made.folder / "quarantine.parquet").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "store"]
    report = report_of(made)
    assert report["read"] == {"files": 3, "in_order": True, "partitions": 7, "rows": 200}
    assert set(report["rules"]) == set(RULES)
    page = (made.folder / "report.html").read_text()
    assert 'src="data:image/png' in page and "http" not in page.replace("http-equiv", "")


@pytest.mark.usefixtures("small_partitions")
def test_scattered_rows_are_gathered_in_the_order_of_ids_and_it_is_said(tmp_path: Path) -> None:
    whole = frame()
    source = write(whole.sample(fraction=1, shuffle=True, seed=1), tmp_path / "logs", files=7)
    made = convert(source, out=tmp_path / "store")
    same(open_store(made.folder), read_log(write(whole, tmp_path / "sorted")))
    assert made.rules.keys() == {"rows_sorted", "rows_gathered"}
    assert 50 < made.rules["rows_sorted"] < 150
    report = report_of(made)
    assert report["read"]["in_order"] is False and report["read"]["partitions"] > 4
    assert report["rules"]["rows_sorted"]["first"]["file"].endswith(".parquet")


def test_rows_out_of_step_within_episodes_are_sorted_without_buckets(tmp_path: Path) -> None:
    whole = frame(episodes=4)
    mixed = pl.concat(part.reverse() for part in whole.partition_by("episode_id"))
    made = convert(write(mixed, tmp_path / "logs"), out=tmp_path / "store")
    same(open_store(made.folder), read_log(write(whole, tmp_path / "sorted")))
    assert made.rules == {"rows_sorted": 16}
    assert report_of(made)["read"]["in_order"] is True


@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_parquet_out_is_the_same_log(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    made = convert(source, out=tmp_path / "out", format="parquet")
    read = read_log(made.folder / "rows", action_table=made.folder / "actions.parquet")
    same(read, read_log(source))
    assert len(list((made.folder / "rows").iterdir())) == 7
    store = convert(source, out=tmp_path / "store")
    ours, its = report_of(made), report_of(store)
    assert ours.pop("settings") != its.pop("settings")
    assert ours == its


# --- every rule of severity `error`, broken in one row of one episode


def put(column: str, row: int, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(whole: pl.DataFrame) -> pl.DataFrame:
        values = whole[column].to_list()
        values[row] = value
        return whole.with_columns(pl.Series(column, values, whole.schema[column], strict=False))

    return change


def as_lists(column: str, row: int, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(whole: pl.DataFrame) -> pl.DataFrame:
        return put(column, row, value)(whole.with_columns(pl.col(column).arr.to_list()))

    return change


def states_next(value: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(whole: pl.DataFrame) -> pl.DataFrame:
        stated = [None] * len(whole)
        stated[11] = [value] * 3
        kind = pl.Array(pl.Float32, 3)
        return whole.with_columns(pl.Series("next_observation", stated, kind))

    return change


BROKEN: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], str, int, str | None]] = {
    # rule: change, column, row that is named, value
    "value_type": (
        lambda w: put("action", 11, "12x")(w.with_columns(pl.col("action").cast(pl.String))),
        "action",
        11,
        "12x",
    ),
    "missing": (put("reward", 11, None), "reward", 11, None),
    "finite": (put("reward", 11, float("inf")), "reward", 11, "inf"),
    "length": (as_lists("observation", 11, [1.0, 2.0]), "observation", 11, "[1.0, 2.0]"),
    "duplicate_step": (
        lambda w: pl.concat([w[:12], w[11:]]),
        "step",
        12,
        "1",
    ),
    "step_gap": (lambda w: w.filter(pl.int_range(pl.len()) != 11), "step", 11, "2"),
    "end_twice": (put("truncated", 14, True), "truncated", 14, "true"),
    "end_early": (put("terminated", 11, True), "terminated", 11, "true"),
    "end_missing": (put("terminated", 14, False), "terminated", 14, "false"),
    "propensity": (put("action_probability", 11, 1.5), "action_probability", 11, "1.5"),
    "alignment": (states_next(9.0), "next_observation", 11, "[9.0, 9.0, 9.0]"),
    "allowed_lacks_action": (put("allowed_actions", 11, [100]), "allowed_actions", 11, "[100]"),
}


ROWS = {"step_gap": 4, "duplicate_step": 6}
"""Of the episode that is broken, where not 5."""


@pytest.mark.parametrize("rule", BROKEN)
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_a_broken_row_takes_its_whole_episode_and_no_other(rule: str, tmp_path: Path) -> None:
    change, column, row, value = BROKEN[rule]
    whole = frame()
    if rule == "value_type":
        whole = whole.drop("allowed_actions")
    broken = change(whole)
    source = tmp_path / "logs" / "log.parquet"
    write(broken, tmp_path / "logs", files=1)
    (tmp_path / "logs" / "part-000.parquet").rename(source)
    mapping = LogMapping(types={"action": "int64"} if rule == "value_type" else {})
    made = convert(source, out=tmp_path / "store", mapping=mapping)
    assert made.refused_episodes == 1 and made.episodes == 39
    assert {n for n in made.rules if RULES[n].severity == "error"} == {rule}
    whole_but_it = whole.filter(pl.col("episode_id") != 2)
    if rule == "alignment":
        whole_but_it = broken.filter(pl.col("episode_id") != 2)
    kept = write(whole_but_it, tmp_path / "kept")
    same(open_store(made.folder, verify=True), read_log(kept))
    refused = pl.read_parquet(made.folder / "quarantine.parquet")
    assert len(refused) == made.refused_rows == ROWS.get(rule, 5)
    assert refused["episode_id"].to_list() == [2] * len(refused)
    named = refused.filter(pl.col("rule").is_not_null())
    assert named.select("rule", "file", "row", "column", "value").rows() == [
        (rule, str(source), row, column, value)
    ]
    first = report_of(made)["rules"][rule]["first"]
    assert (first["file"], first["row"], first["column"]) == (str(source), row, column)
    with pytest.raises(ValueError) as error:
        convert(source, out=tmp_path / "none", mapping=mapping, quarantine="fail")
    assert f"{source}, column {column!r}, row {row}: expected " in str(error.value)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("rule", "text"), [("text", "x" * 1025), ("text", "a\0"), ("missing", None)]
)
def test_ids_that_a_store_would_change_are_refused(
    rule: str, text: str | None, tmp_path: Path
) -> None:
    whole = frame(text_ids=True).with_columns(pl.lit("train").alias("split"))
    source = write(put("split", 11, text)(whole), tmp_path / "logs")
    made = convert(source, out=tmp_path / "store")
    assert made.rules == {rule: 1} and made.refused_episodes == 1


def test_actions_outside_the_table_are_refused_with_their_episodes(tmp_path: Path) -> None:
    whole = frame()
    table = tmp_path / "items.parquet"
    pl.DataFrame({"action": [0, 3, 6, 9, 12, 15, 100]}).write_parquet(table)
    source = write(whole, tmp_path / "logs")
    made = convert(source, out=tmp_path / "store", action_table=table)
    bad = whole.filter(pl.col("action") == 18)
    assert made.rules == {"action_unknown": len(bad), "allowed_unknown": len(bad)}
    assert made.refused_episodes == bad["episode_id"].n_unique() > 0
    log = open_store(made.folder, verify=True)
    assert log.action_set.same_as(read_action_table(table))
    assert set(log.episode_ids.tolist()).isdisjoint(bad["episode_id"].to_list())


def test_what_is_odd_is_kept_and_said(tmp_path: Path) -> None:
    whole = frame(episodes=200)
    values = whole["observation"].to_numpy().copy()
    n = len(values)
    ahead = np.append(values[1:, 0], 0.0)
    odd = np.column_stack([values[:, 0], np.full(n, 2.0), values[:, 0], ahead, values[:, 1]])
    odd[70, 4] = 3e7
    reward = whole["reward"].to_numpy().copy()
    reward[123] = 1e5
    times = np.arange(n)
    times[[11, 12]] = times[[12, 11]]
    last = (whole["terminated"] | whole["truncated"]).to_numpy()
    changed = whole.with_columns(
        pl.Series("observation", odd.astype(np.float32)),
        pl.Series("reward", reward),
        pl.Series("timestamp", times),
        pl.Series(
            "next_observation", [o if e else None for o, e in zip(odd.tolist(), last, strict=True)]
        ),
    )
    made = convert(write(changed, tmp_path / "logs", files=1), out=tmp_path / "store")
    rules = report_of(made)["rules"]
    assert made.rows == n and made.refused_rows == 0
    assert rules["constant_column"]["columns"] == ["observation[1]"]
    assert rules["exploding_column"]["columns"] == ["observation[4]"]
    assert rules["duplicate_columns"]["columns"] == ["observation[0] and observation[2]"]
    assert rules["next_state_leak"]["columns"] == [
        "observation[3] is the next row's observation[0]",
        "observation[3] is the next row's observation[2]",
    ]
    assert rules["next_is_copy"]["columns"] == ["next_observation"]
    assert (rules["reward_outlier"]["rows"], rules["reward_outlier"]["first"]["row"]) == (1, 123)
    assert (rules["time_disorder"]["rows"], rules["time_disorder"]["first"]["row"]) == (1, 12)
    assert all(RULES[name].severity in ("warning",) for name in made.rules)


def test_a_clean_log_is_not_called_odd(tmp_path: Path) -> None:
    made = convert(write(frame(episodes=400), tmp_path / "logs"), out=tmp_path / "store")
    assert made.rules == {}


def test_figures_of_the_report_are_those_of_the_log(tmp_path: Path) -> None:
    made = convert(write(frame(), tmp_path / "logs"), out=tmp_path / "store")
    log, report = open_store(made.folder), report_of(made)
    counts = np.bincount(log.actions, minlength=len(log.action_set))
    assert report["actions"]["commonest"][0]["rows"] == counts.max()
    assert (report["actions"]["catalogue"], report["actions"]["taken"]) == (8, 7)
    for name, values in (
        ("rewards", log.rewards),
        ("returns", log.returns),
        ("lengths", log.lengths),
        ("propensities", log.action_probabilities),
    ):
        stated = report["distributions"][name]["50%"]
        exact = np.quantile(values, 0.5, method="inverted_cdf")
        assert stated == pytest.approx(exact, rel=0.035)
    p = log.action_probabilities
    assert p is not None
    effective = (1 / p).sum() ** 2 / (1 / p**2).sum()
    assert report["propensities"]["effective_rows_of_uniform"] == pytest.approx(effective)
    assert report["columns"][1]["mean"] == pytest.approx(float(log.observations[:, 1].mean()))


DIRT: dict[str, list[object]] = {
    "step": [None, -1, 0, 1, 2**62],
    "action": [None, 0, 3, 1000],
    "reward": [None, float("nan"), -float("inf"), 5.0, 3e38],
    "terminated": [None, True, False],
    "truncated": [None, True, False],
    "action_probability": [None, 0.0, 1.0, 1.5, float("nan"), -0.5],
    "episode_id": [None, 0, 1],
}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_what_is_kept_read_log_takes_and_all_else_is_in_quarantine(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("dirty")
    whole = frame(episodes=16, length=4).drop("allowed_actions")
    for _ in range(data.draw(st.integers(0, 6))):
        column = data.draw(st.sampled_from(sorted(DIRT)))
        value = data.draw(st.sampled_from(DIRT[column]))
        whole = put(column, data.draw(st.integers(0, len(whole) - 1)), value)(whole)
    if data.draw(st.booleans()):
        whole = whole.sample(fraction=1, shuffle=True, seed=data.draw(st.integers(0, 9)))
    source = write(whole, folder / "logs", files=data.draw(st.integers(1, 4)))
    made = convert(source, out=folder / "store")
    log = open_store(made.folder, verify=True)
    sound = whole.filter(pl.col("episode_id").is_in(log.episode_ids.tolist()))
    assert made.rows + made.refused_rows == len(whole) and len(sound) == made.rows
    in_order = sound.sort("episode_id", "step")
    same_rows = read_log(write(in_order, folder / "sound"))
    order = np.argsort(log.episode_ids, kind="stable")
    same(log.take_episodes(order), same_rows)
    if made.refused_rows:
        refused = pl.read_parquet(made.folder / "quarantine.parquet")
        assert len(refused) == made.refused_rows
        assert refused.group_by("episode_id").agg(pl.col("rule").count() > 0)["rule"].all()
        assert refused["rule"].drop_nulls().is_in(list(RULES)).all()
        places = refused.select("file", "row").unique()
        assert len(places) == len(refused), "every row stands there once"
        for episode in refused["episode_id"].unique().drop_nulls():
            with pytest.raises(ValueError, match="To mend it"):
                rows = whole.filter(pl.col("episode_id") == episode).sort("step")
                read_log(write(rows, folder / f"refused-{episode}", files=1))


# --- again, and after a kill


@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_what_is_done_is_left_and_another_log_in_its_place_is_refused(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    first = convert(source, out=tmp_path / "store")
    before = files_of(first.folder)
    again = convert(source, out=tmp_path / "store")
    assert again.rows_read == 0 and again.rows == first.rows
    write(frame(seed=2), tmp_path / "logs")
    with pytest.raises(ValueError, match="made from something else"):
        convert(source, out=tmp_path / "store")
    assert files_of(first.folder) == before
    anew = convert(source, out=tmp_path / "store", resume=False)
    assert anew.rows_read == 200 and files_of(first.folder) != before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "store"]


@pytest.mark.parametrize(("format", "shuffled"), [("store", True), ("parquet", False)])
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_a_run_cut_short_anywhere_is_taken_up(
    shuffled: bool, format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = put("reward", 77, None)(put("reward", 7, None)(frame()))
    whole = whole.sample(fraction=1, shuffle=True, seed=3) if shuffled else whole
    source, out = write(whole, tmp_path / "logs"), tmp_path / "a"
    steps: list[str] = []
    cut_at, replaces = [-1], os.replace

    def replace(old: str, new: str) -> None:
        steps.append(str(new))
        if len(steps) == cut_at[0]:
            raise KeyboardInterrupt
        replaces(old, new)

    monkeypatch.setattr(os, "replace", replace)
    expected = files_of(convert(source, out=out, format=format).folder)
    assert "quarantine.parquet" in expected
    names = [Path(step).name for step in steps]
    done = len(steps)
    taken_up = 0
    for stop in sorted({1, done // 3, 2 * done // 3, done - 3, done}):
        shutil.rmtree(out)
        steps.clear()
        cut_at[0] = stop
        with pytest.raises(KeyboardInterrupt):
            convert(source, out=out, format=format)
        cut_at[0] = -1
        made = convert(source, out=out, format=format)
        taken_up += made.rows_read < 200
        assert files_of(out) == expected, f"cut before {names[stop - 1]}"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]
    assert taken_up >= 2


@pytest.mark.usefixtures("small_partitions")
def test_a_process_killed_again_and_again_comes_to_the_same_bytes(tmp_path: Path) -> None:
    whole = put("reward", 77, None)(frame(episodes=300)).sample(fraction=1, shuffle=True, seed=4)
    source, out = write(whole, tmp_path / "logs"), tmp_path / "a"
    expected = files_of(convert(source, out=out).folder)
    shutil.rmtree(out)
    code = KILLED.format(source=str(source), out=str(out))
    rng = np.random.default_rng(0)
    for span in (0.2, 0.8, 2.0):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as running:
            assert running.stdout is not None and running.stdout.readline() == b"ready\n"
            time.sleep(float(rng.uniform(0, span)))
            running.kill()
            assert running.wait() in (0, -signal.SIGKILL)
    convert(source, out=out)
    assert files_of(out) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]


def bad_at_both_ends() -> pl.DataFrame:
    """A row of the first partition is broken, and one of the last but one."""
    return put("reward", 177, None)(put("reward", 7, None)(frame()))


def stop_at(row: int) -> Callable[[int, int, Any], None]:
    def on_step(done: int, of: int, _: Any) -> None:
        if done >= row:
            raise KeyboardInterrupt

    return on_step


@pytest.mark.parametrize("format", ["store", "parquet"])
@pytest.mark.parametrize("between", ["touched", "other work", "work folder gone"])
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_a_draft_is_not_taken_up_without_what_was_refused(
    between: str, format: Any, tmp_path: Path
) -> None:
    source, out = write(bad_at_both_ends(), tmp_path / "logs"), tmp_path / "a"
    expected = files_of(convert(source, out=out, format=format).folder)
    shutil.rmtree(out)
    with pytest.raises(KeyboardInterrupt):
        convert(source, out=out, format=format, on_step=stop_at(90))
    if between == "touched":
        os.utime(source / "part-000.parquet")
    elif between == "other work":
        other = write(frame(seed=3), tmp_path / "others")
        with pytest.raises(KeyboardInterrupt):
            convert(other, out=out, format=format, on_step=stop_at(0))
    else:
        shutil.rmtree(tmp_path / "a.work")
    made = convert(source, out=out, format=format)
    assert made.refused_rows == len(pl.read_parquet(out / "quarantine.parquet")) == 10
    assert files_of(out) == expected
    assert (made.rows_read < 200) == (between == "touched"), "the bytes are the same"
    assert {path.name for path in tmp_path.iterdir()} - {"others"} == {"a", "logs"}


# --- what stops the job


@pytest.mark.parametrize("format", ["store", "parquet"])
@pytest.mark.parametrize("done", ["in part", "but for the report", "whole"])
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_what_an_earlier_run_put_aside_stops_the_job_too(
    done: str, format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write(bad_at_both_ends(), tmp_path / "logs"), tmp_path / "a"
    expected = files_of(convert(source, out=out, format=format).folder)
    if done != "whole":
        shutil.rmtree(out)
        on_step = stop_at(90) if done == "in part" else None
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(convert_module, "columns_of", lambda *_: stop_at(0)(0, 0, None))
            convert(source, out=out, format=format, on_step=on_step)
    place = r"part-000\.parquet, column 'reward', row 7: expected .*, got .*To mend it"
    for folder in (out, tmp_path / "fresh"):
        with pytest.raises(ValueError, match=place):
            convert(source, out=folder, format=format, quarantine="fail")
    assert not (tmp_path / "fresh").exists()
    convert(source, out=out, format=format)
    assert files_of(out) == expected, "what was kept is taken up"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]


@pytest.mark.parametrize("format", ["store", "parquet"])
@pytest.mark.parametrize(("suffix", "known"), [("work", "job.json"), ("draft", "journal.jsonl")])
@pytest.mark.parametrize("resume", [True, False])
def test_what_others_keep_beside_the_log_stops_the_job_and_stays(
    suffix: str, known: str, format: Any, resume: bool, tmp_path: Path
) -> None:
    source = write(frame(episodes=4), tmp_path / "logs")
    theirs = tmp_path / f"a.{suffix}"
    theirs.mkdir()
    (theirs / "mine.txt").write_text("years")
    (theirs / known).write_text("{}\n")
    before = files_of(tmp_path)
    with pytest.raises(ValueError, match=rf"a\.{suffix}: .*'mine\.txt'.*To mend it: move that"):
        convert(source, out=tmp_path / "a", format=format, resume=resume)
    assert files_of(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{suffix}", "logs"]


@pytest.mark.parametrize("format", ["store", "parquet"])
def test_what_comes_there_while_the_job_runs_outlives_its_failure(
    format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(frame(episodes=4), tmp_path / "logs")
    surveys = convert_module.survey

    def survey(*given: Any) -> Any:
        for suffix in ("work", "draft"):
            (tmp_path / f"a.{suffix}").mkdir(exist_ok=True)
            (tmp_path / f"a.{suffix}" / "mine.txt").write_text("years")
        return surveys(*given)

    monkeypatch.setattr(convert_module, "survey", survey)
    with pytest.raises(ValueError, match=r"a\.draft: .*'mine\.txt'"):
        convert(source, out=tmp_path / "a", format=format)
    for suffix in ("work", "draft"):
        assert (tmp_path / f"a.{suffix}" / "mine.txt").read_text() == "years"


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
@pytest.mark.parametrize("format", ["store", "parquet"])
def test_a_draft_that_another_program_writes_is_left_to_it(format: Any, tmp_path: Path) -> None:
    source = write(frame(episodes=4), tmp_path / "logs")
    (tmp_path / "a.draft" / "store").mkdir(parents=True)
    (tmp_path / "a.draft" / "store" / "rewards.bin").write_bytes(b"1234")
    (tmp_path / "a.draft" / "journal.jsonl").write_text("{}\n")
    hold = "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.lockf(f,fcntl.LOCK_EX); "
    hold += "print('held',flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", hold, str(tmp_path / "a.draft" / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        before = files_of(tmp_path)
        for resume in (True, False):
            with pytest.raises(ValueError, match=r"a\.draft: .*another program"):
                convert(source, out=tmp_path / "a", format=format, resume=resume)
        assert files_of(tmp_path) == before
    convert(source, out=tmp_path / "a", format=format)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]


def test_a_log_that_was_being_replaced_goes_back_before_its_draft_is_dropped(
    tmp_path: Path,
) -> None:
    source, out = write(frame(episodes=4), tmp_path / "logs"), tmp_path / "a"
    before = files_of(convert(source, out=out).folder)
    (tmp_path / "a.draft").mkdir()
    out.rename(tmp_path / "a.draft" / "old")  # killed between two renames
    write(frame(episodes=4, seed=1), tmp_path / "logs")
    with pytest.raises(ValueError, match="made from something else"):
        convert(source, out=out)
    assert files_of(out) == before and not (tmp_path / "a.draft").exists()


def test_a_file_that_changes_or_vanishes_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write(frame(), tmp_path / "logs"), tmp_path / "store"
    last = source / "part-002.parquet"
    surveys = convert_module.survey

    def then(change: Callable[[], object]) -> None:
        def survey(*given: Any) -> Any:
            layout = surveys(*given)
            change()
            return layout

        monkeypatch.setattr(convert_module, "survey", survey)

    then(lambda: frame(seed=5).write_parquet(last))
    with pytest.raises(ValueError, match=r"part-002.*written since"):
        convert(source, out=out)
    then(last.unlink)
    with pytest.raises(ValueError, match=r"part-002.*(vanished|no file)"):
        convert(source, out=out)
    assert not out.exists()


def test_files_that_are_none_or_differ_stop_the_job(tmp_path: Path) -> None:
    out = tmp_path / "store"
    with pytest.raises(ValueError, match="stands for no such file"):
        convert(tmp_path / "none", out=out)
    source = write(frame(), tmp_path / "logs")
    (source / "part-001.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match=r"part-001\.parquet.*zero bytes"):
        convert(source, out=out)
    frame().drop("reward").write_parquet(source / "part-001.parquet")
    with pytest.raises(ValueError, match=r"part-001\.parquet.*'reward'"):
        convert(source, out=out)
    frame().head(0).write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match="at least one row"):
        convert(tmp_path / "empty.parquet", out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.parquet", "logs"]


def test_a_log_of_which_nothing_can_be_kept_is_refused_with_the_reason(tmp_path: Path) -> None:
    whole = frame().with_columns(pl.lit(0.0).alias("action_probability"))
    with pytest.raises(ValueError, match=r"row 0: .*propensity \(200 rows\)"):
        convert(write(whole, tmp_path / "logs"), out=tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_what_is_no_log_is_not_replaced(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for format in ("store", "parquet"):
        with pytest.raises(ValueError, match="To mend it"):
            convert(source, out=tmp_path / "mine", format=format, resume=False)
    assert files_of(tmp_path / "mine") == {"thesis.txt": b"years"}


@pytest.mark.parametrize("format", ["store", "parquet"])
@pytest.mark.usefixtures("small_partitions", "no_pictures")
def test_a_full_disk_is_told_and_nothing_opens(
    format: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(put("reward", 77, None)(frame()), tmp_path / "logs")
    syncs, left = os.fsync, [9]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        syncs(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ValueError, match=r"No space left.*make room"):
        convert(source, out=tmp_path / "a", format=format)
    assert not (tmp_path / "a").exists()
    left[0] = 10**9
    made = convert(source, out=tmp_path / "a", format=format)
    assert made.rows == 195


def test_actions_that_are_numbers_here_and_text_there_stop_the_job(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    pl.DataFrame({"action": ["0", "3"]}).write_parquet(tmp_path / "items.parquet")
    with pytest.raises(ValueError, match="expected text, as ids are in the action table"):
        convert(source, out=tmp_path / "a", action_table=tmp_path / "items.parquet")
    assert not (tmp_path / "a.work").exists()


@pytest.mark.parametrize("format", ["store", "parquet"])
@pytest.mark.usefixtures("no_pictures")
def test_a_result_is_made_anew_when_asked(format: Any, tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    before = files_of(convert(source, out=tmp_path / "a", format=format).folder)
    again = convert(source, out=tmp_path / "a", format=format, resume=False)
    assert again.rows_read == 200 and files_of(again.folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "logs"]


def test_two_at_once_are_told_apart(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    (tmp_path / "a.work").mkdir()
    hold = "import fcntl,sys; f=open(sys.argv[1],'w'); fcntl.lockf(f,fcntl.LOCK_EX); "
    hold += "print('held',flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "a.work" / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="another program"):
            convert(source, out=tmp_path / "a")
    assert (tmp_path / "a.work" / "lock").exists()
    assert convert(source, out=tmp_path / "a").rows == 200


# --- before any work


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    source = write(frame(), tmp_path / "logs")
    outlook = dry_run(source)
    assert (outlook.files, outlook.rows, outlook.in_order, outlook.partitions) == (3, 200, True, 1)
    assert "200 rows" in str(outlook)
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    assert "episode_id" in explain(source)


def test_steps_are_told_up_to_the_last_row(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = write(frame(), tmp_path / "logs")
    convert(source, out=tmp_path / "a", on_step=lambda done, of, _: told.append((done, of)))
    assert told[-1] == (200, 200) and told == sorted(told)


def test_sessions_of_csv_by_a_mapping_file(tmp_path: Path) -> None:
    (tmp_path / "log.toml").write_text(
        'reward = "2 * bought"\n[columns]\naction = "item"\n'
        '[[observation]]\ncolumn = "price"\n[[observation]]\ncolumn = "stock"\n'
        '[episodes]\nkey = "user"\norder = "time"\ngap = 30\n'
        '[ends]\nlast_row = "truncated"\n'
    )
    (tmp_path / "log.csv").write_text(
        "user,time,item,price,stock,bought\n"
        "b,100,lamp,2.5,1,0\na,10,bed,1.5,2,1\nb,90,bed,0.5,2,1\na,50,lamp,3.5,x,0\n"
        "a,45,bed,3.0,4,0\n"
    )
    made = convert(tmp_path / "log.csv", out=tmp_path / "a", mapping=tmp_path / "log.toml")
    log = open_store(made.folder, verify=True)
    assert log.observation_names == ("price", "stock")
    assert log.episode_ids.tolist() == ["a#0", "b#0"]
    assert log.rewards.tolist() == [2.0, 2.0, 0.0]
    refused = pl.read_parquet(made.folder / "quarantine.parquet")
    assert refused["row"].to_list() == [4, 3] and refused["rule"].to_list() == [None, "value_type"]
    assert refused["value"].to_list() == [None, "x"]
