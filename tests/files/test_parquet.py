"""Logs to parquet and back, what a log may look like on disk, and what is refused."""

import datetime
import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike
from pydantic import ValidationError

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.files import rows as rows_module
from offline_actrep.files.parquet import (
    ColumnMapping,
    read_action_table,
    read_log,
    read_points,
    write_action_table,
    write_log,
)

REQUIRED = ["episode_id", "step", "observation", "action", "reward", "terminated"]


def frame(first_episode: int = 0) -> pl.DataFrame:
    """Two episodes: rows 0, 1, 2 end in a terminal state; rows 3, 4 are cut off."""
    return pl.DataFrame(
        {
            "episode_id": [first_episode] * 3 + [first_episode + 1] * 2,
            "step": [0, 1, 2, 5, 6],
            "observation": [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5], [3.0, 3.5], [4.0, 4.5]],
            "action": [7, 3, 7, 90, 3],
            "reward": [0.0, 0.0, 1.0, 0.5, 0.25],
            "terminated": [False, False, True, False, False],
            "truncated": [False, False, False, False, True],
            "next_observation": [[1.0, 1.5], None, [9.0, 9.5], [4.0, 4.5], None],
            "action_probability": [0.5, 0.25, 1.0, 0.125, 0.5],
            "allowed_actions": [[3, 7], [3], [7, 90], [90], [3, 11]],
            "timestamp": [10, 20, 30, 10, 20],
            "split": ["train"] * 3 + ["test"] * 2,
        }
    )


def put(row: int, column: str, value: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """A change of one value."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        values = rows[column].to_list()
        values[row] = value
        return rows.with_columns(pl.Series(column, values, strict=False))

    return change


def same(one: Log, other: Log) -> bool:
    """Equal in all that a log holds."""
    return (
        one.fingerprint == other.fingerprint
        and one.action_set.same_as(other.action_set)
        and one.episode_ids.tolist() == other.episode_ids.tolist()
        and one.observation_names == other.observation_names
        and (one.allowed is None) == (other.allowed is None)
    )


# What a log may look like.


def test_columns_become_a_log(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert log.action_set.ids.tolist() == [3, 7, 11, 90]  # 11 was allowed, never taken
    assert log.actions.tolist() == [1, 0, 1, 3, 0]
    assert log.observations.tolist() == frame()["observation"].to_list()
    assert log.next_observations.tolist() == [
        [1.0, 1.5],
        [2.0, 2.5],
        [9.0, 9.5],
        [4.0, 4.5],
        [4.0, 4.5],
    ]
    assert log.has_next.tolist() == [True, True, True, True, False]
    assert log.rewards.tolist() == [0.0, 0.0, 1.0, 0.5, 0.25]
    assert log.terminated.tolist() == [False, False, True, False, False]
    assert log.truncated.tolist() == [False, False, False, False, True]
    assert log.episode_offsets.tolist() == [0, 3, 5]
    assert log.episode_ids.tolist() == [0, 1]
    assert log.action_probabilities is not None
    assert log.action_probabilities.tolist() == [0.5, 0.25, 1.0, 0.125, 0.5]
    assert log.allowed is not None
    assert [log.action_set.decode(log.allowed.row(n)).tolist() for n in range(5)] == [
        [3, 7],
        [3],
        [7, 90],
        [90],
        [3, 11],
    ]
    assert log.timestamps is not None and log.timestamps.tolist() == [10, 20, 30, 10, 20]
    assert log.splits is not None and log.splits.tolist() == ["train"] * 3 + ["test"] * 2
    assert log.observation_names == ()
    assert log.observations.flags.writeable and log.rewards.flags.writeable


def test_without_optional_columns(tmp_path: Path) -> None:
    rows = frame().head(3).select(REQUIRED)
    rows.write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert not log.truncated.any()
    assert log.has_next.tolist() == [True, True, False]
    assert log.next_observations.tolist() == [[1.0, 1.5], [2.0, 2.5], [2.0, 2.5]]
    assert log.action_probabilities is None and log.allowed is None
    assert log.timestamps is None and log.splits is None


@pytest.mark.parametrize(
    "change",
    [
        pl.col("observation").cast(pl.Array(pl.Float64, 2)),
        pl.col("observation").cast(pl.List(pl.Float32)),
        pl.col("action").cast(pl.UInt8),
        pl.col("reward").cast(pl.Decimal(10, 4)),
        pl.col("step").cast(pl.UInt16),
        pl.col("split").cast(pl.Categorical),
        pl.lit(None).alias("next_observation"),
    ],
    ids=str,
)
def test_types_of_the_same_meaning(change: pl.Expr, tmp_path: Path) -> None:
    plain = frame().with_columns(put(2, "next_observation", None)(frame())["next_observation"])
    plain.write_parquet(tmp_path / "plain.parquet")
    plain.with_columns(change).write_parquet(tmp_path / "changed.parquet")
    assert same(read_log(tmp_path / "changed.parquet"), read_log(tmp_path / "plain.parquet"))


def test_string_ids(tmp_path: Path) -> None:
    text = pl.format("a{}", pl.col("action"))
    rows = frame().with_columns(
        action=text.cast(pl.Categorical),
        episode_id=pl.format("session {}", pl.col("episode_id")),
        allowed_actions=pl.col("allowed_actions").list.eval(pl.format("a{}", pl.element())),
    )
    rows.write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet")
    assert log.action_set.ids.tolist() == ["a11", "a3", "a7", "a90"]
    assert log.action_set.decode(log.actions).tolist() == ["a7", "a3", "a7", "a90", "a3"]
    assert log.episode_ids.tolist() == ["session 0", "session 1"]


def test_times_keep_their_type_and_move_to_utc(tmp_path: Path) -> None:
    east = datetime.timezone(datetime.timedelta(hours=2))
    when = [datetime.datetime(2024, 5, 1, 12, n, tzinfo=east) for n in range(5)]
    frame().with_columns(timestamp=pl.Series(when)).write_parquet(tmp_path / "log.parquet")
    times = read_log(tmp_path / "log.parquet").timestamps
    assert times is not None
    assert times.dtype == "datetime64[us]" and times[1] == np.datetime64("2024-05-01T10:01")


# The mapping.


def test_mapping_of_names_and_of_scalar_columns(tmp_path: Path) -> None:
    rows = frame().select(
        pl.col("episode_id").alias("session"),
        pl.col("step").alias("n"),
        pl.col("observation").list.get(0).alias("price"),
        pl.col("observation").list.get(1).cast(pl.Float32).alias("stock"),
        (pl.col("reward") > 0).alias("bought"),
        pl.col("action").alias("item"),
        pl.col("terminated").alias("done"),
        pl.col("truncated"),
        pl.col("next_observation").list.get(0).alias("price_after"),
        pl.col("next_observation").list.get(1).alias("stock_after"),
    )
    rows.write_parquet(tmp_path / "log.parquet")
    mapping = ColumnMapping(
        episode_id="session",
        step="n",
        observation=["price", "stock"],
        next_observation=["price_after", "stock_after"],
        action="item",
        reward="bought",
        terminated="done",
    )
    log = read_log(tmp_path / "log.parquet", columns=mapping)
    assert log.observation_names == ("price", "stock")
    assert log.observations.tolist() == frame()["observation"].to_list()
    assert log.next_observations[2].tolist() == [9.0, 9.5]
    assert log.has_next.tolist() == [True, True, True, True, False]
    assert log.rewards.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("kind", [pl.Boolean, pl.Int32, pl.Float64])
def test_one_scalar_column_as_observation(kind: type[pl.DataType], tmp_path: Path) -> None:
    rows = frame().select(*set(REQUIRED) - {"observation"}, "truncated")
    rows.with_columns(cart=pl.Series([0, 1, 1, 0, 1]).cast(kind)).write_parquet(
        tmp_path / "log.parquet"
    )
    log = read_log(tmp_path / "log.parquet", columns=ColumnMapping(observation="cart"))
    assert log.observations.tolist() == [[0.0], [1.0], [1.0], [0.0], [1.0]]
    assert log.observation_names == ("cart",)


def test_an_optional_column_can_be_left_out(tmp_path: Path) -> None:
    frame().with_columns(action_probability=7.0).write_parquet(tmp_path / "log.parquet")
    mapping = ColumnMapping(action_probability=None, next_observation=None)
    log = read_log(tmp_path / "log.parquet", columns=mapping)
    assert log.action_probabilities is None
    assert not log.has_next[2]


def test_the_mapping_is_strict_and_described() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        ColumnMapping.model_validate({"rewards": "r"})
    with pytest.raises(ValidationError):
        ColumnMapping(observation=[])
    with pytest.raises(ValidationError, match="frozen"):
        ColumnMapping().reward = "r"
    assert all(field.description for field in ColumnMapping.model_fields.values())
    assert ColumnMapping.model_validate({"observation": ["x", "y"]}).observation == ["x", "y"]


def test_an_optional_column_that_is_named_must_be_there(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"column 'propensity'.*action_probability"):
        mapping = ColumnMapping(action_probability="propensity")
        read_log(tmp_path / "log.parquet", columns=mapping)


# Several files.


def test_an_episode_may_run_on_into_the_next_file(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "whole.parquet")
    whole = read_log(tmp_path / "whole.parquet")
    shards = tmp_path / "shards"
    shards.mkdir()
    frame().slice(4).write_parquet(shards / "c.parquet")
    frame().slice(0, 2).write_parquet(shards / "a.parquet")
    frame().slice(2, 2).write_parquet(shards / "b.parquet")
    frame().slice(2, 0).write_parquet(shards / "ab-empty.parquet")
    (shards / "notes.txt").write_text("not a log")
    files = sorted(shards.glob("*.parquet"))
    assert same(read_log(shards), whole)
    assert same(read_log(str(shards / "*.parquet")), whole)
    assert same(read_log(files[::-1]), whole)
    assert same(read_log([shards, str(files[0])]), whole)


def test_only_some_files_state_a_next_observation(tmp_path: Path) -> None:
    frame().drop("next_observation").write_parquet(tmp_path / "a.parquet")
    frame(first_episode=2).write_parquet(tmp_path / "b.parquet")
    has_next = [True, True, False, True, False, True, True, True, True, False]
    assert read_log(tmp_path).has_next.tolist() == has_next


def test_the_row_is_that_of_its_file(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "a.parquet")
    put(3, "reward", float("nan"))(frame(first_episode=2)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, column 'reward', row 3: .*got nan"):
        read_log(tmp_path)


def test_a_mistake_in_the_second_part_of_a_split_episode(tmp_path: Path) -> None:
    frame().head(2).write_parquet(tmp_path / "a.parquet")
    put(0, "step", 3)(frame().slice(2)).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"b\.parquet, column 'step', row 0: .*step 2 after"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    ("second", "pieces"),
    [
        (frame(2).drop("split"), ["b.parquet", "'split'", "a.parquet", "got none"]),
        (
            frame(2).with_columns(pl.col("episode_id").cast(pl.String)),
            ["b.parquet", "'episode_id'", "int64", "large_string"],
        ),
        (
            frame(2).with_columns(timestamp=pl.lit(1.5)),
            ["b.parquet", "'timestamp'", "int64, as", "double"],
        ),
        (frame(), ["b.parquet", "'episode_id', row 0", "episode 0 a second time", "sort"]),
    ],
)
def test_files_that_do_not_agree(second: pl.DataFrame, pieces: list[str], tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "a.parquet")
    second.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError) as error:
        read_log(tmp_path)
    assert [piece for piece in pieces if piece not in str(error.value)] == []


def test_sources_that_stand_for_nothing(tmp_path: Path) -> None:
    for source in (tmp_path / "none.parquet", str(tmp_path / "*.parquet"), tmp_path):
        with pytest.raises(ValueError, match="stands for no file"):
            read_log(source)
    with pytest.raises(ValueError, match="empty list"):
        read_log([])
    (tmp_path / "log.parquet").write_text("episode_id,step\n0,0\n")
    with pytest.raises(ValueError, match=r"log\.parquet cannot be read as a parquet file"):
        read_log(tmp_path)
    frame().head(0).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"at least one row, got none in .*log\.parquet"):
        read_log(tmp_path)


# What is refused.

MISTAKES = {
    "null": (put(2, "reward", None), "'reward', row 2", ["a value", "null"]),
    "null id": (put(1, "action", None), "'action', row 1", ["a value", "null"]),
    "infinite": (put(4, "reward", float("inf")), "'reward', row 4", ["finite", "inf"]),
    "null observation": (put(1, "observation", None), "'observation', row 1", ["null"]),
    "nan inside": (
        put(1, "observation", [1.0, float("nan")]),
        "'observation', row 1",
        ["nan at place 1"],
    ),
    "null inside": (
        put(3, "observation", [None, 1.0]),
        "'observation', row 3",
        ["null at place 0"],
    ),
    "long list": (
        put(2, "observation", [1.0, 2.0, 3.0]),
        "'observation', row 2",
        ["2 numbers", "got 3"],
    ),
    "empty next": (
        put(2, "next_observation", []),
        "'next_observation', row 2",
        ["2 numbers", "got 0"],
    ),
    "misaligned": (
        put(0, "next_observation", [1.0, 1.6]),
        "'next_observation', row 0",
        ["expected 1.5 at place 1", "got 1.6"],
    ),
    "gap": (
        lambda rows: rows.filter(pl.col("reward") != 0.25, pl.col("step") != 1),
        "'step', row 1",
        ["step 1 after step 0 of episode 0", "got step 2", "lost"],
    ),
    "twice": (
        lambda rows: pl.concat([rows.head(2), rows.slice(1)]),
        "'step', row 2",
        ["step 2 after step 1", "got step 1", "twice"],
    ),
    "falling": (
        lambda rows: rows[[1, 0, 2, 3, 4]],
        "'step', row 1",
        ["got step 0", "sort the rows by episode_id and step"],
    ),
    "interleaved": (
        lambda rows: rows[[0, 3, 1, 4, 2]],
        "'episode_id', row 2",
        ["one piece", "episode 0 a second time", "sort"],
    ),
    "no end": (
        put(4, "truncated", False),
        "'terminated', row 4",
        ["episode 1", "none", "set 'truncated' to true"],
    ),
    "no column of ends": (
        lambda rows: rows.drop("truncated"),
        "'terminated', row 4",
        ["add a boolean column 'truncated'"],
    ),
    "early end": (
        put(1, "terminated", True),
        "'terminated', row 1",
        ["episode 0 in its last row only"],
    ),
    "two ends": (put(2, "truncated", True), "'truncated', row 2", ["terminated", "got true"]),
    "probability 0": (
        put(3, "action_probability", 0.0),
        "'action_probability', row 3",
        ["(0, 1]", "got 0.0"],
    ),
    "probability 1.5": (
        put(0, "action_probability", 1.5),
        "'action_probability', row 0",
        ["(0, 1]", "got 1.5"],
    ),
    "not allowed": (
        put(2, "allowed_actions", [3, 90]),
        "'allowed_actions', row 2",
        ["action 7"],
    ),
    "nothing allowed": (
        put(1, "allowed_actions", []),
        "'allowed_actions', row 1",
        ["action 3"],
    ),
    "null allowed": (put(1, "allowed_actions", None), "'allowed_actions', row 1", ["null"]),
    "null in allowed": (
        put(2, "allowed_actions", [None, 7]),
        "'allowed_actions', row 2",
        ["[None, 7]"],
    ),
    "text for reward": (
        lambda rows: rows.with_columns(pl.col("reward").cast(pl.String)),
        "'reward'",
        ["numbers", "large_string", "cast"],
    ),
    "float steps": (
        lambda rows: rows.with_columns(pl.col("step").cast(pl.Float64)),
        "'step'",
        ["integers", "double"],
    ),
    "float actions": (
        lambda rows: rows.with_columns(pl.col("action").cast(pl.Float64)),
        "'action'",
        ["integers or strings", "double"],
    ),
    "huge action": (
        lambda rows: rows.with_columns(action=pl.lit(2**64 - 1, pl.UInt64)),
        "'action'",
        ["int64", "uint64", "18446744073709551615"],
    ),
    "ends of 0 and 1": (
        lambda rows: rows.with_columns(pl.col("terminated").cast(pl.Int8)),
        "'terminated'",
        ["booleans", "int8", "== 1"],
    ),
    "text for allowed": (
        lambda rows: rows.with_columns(pl.col("allowed_actions").cast(pl.List(pl.String))),
        "'allowed_actions'",
        ["int64", "large_string"],
    ),
    "images": (
        lambda rows: rows.with_columns(
            observation=pl.concat_list("observation").reshape((5, 1, 2))
        ),
        "'observation'",
        ["lists of numbers", "flatten"],
    ),
    "missing": (
        lambda rows: rows.rename({"reward": "rewards"}),
        "'reward'",
        ["the columns episode_id, step", "is it 'rewards'?", 'reward = "rewards"'],
    ),
    "missing, nothing near": (
        lambda rows: rows.drop("terminated", "truncated"),
        "'terminated'",
        ["the columns episode_id, step", 'terminated = "..."'],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_refused(mistake: str, tmp_path: Path) -> None:
    change, place, pieces = MISTAKES[mistake]
    change(frame()).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError) as error:
        read_log(tmp_path / "log.parquet")
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'log.parquet'}, column {place}: expected ")
    assert ", got " in message and "To mend it: " in message
    assert [piece for piece in pieces if piece not in message] == []


def test_scalar_observations_are_blamed_by_name(tmp_path: Path) -> None:
    rows = frame().with_columns(x=pl.lit(1.0), y=pl.Series([0.0, None, 0.0, 0.0, 0.0]))
    rows.drop("next_observation").write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match="column 'y', row 1: expected a finite number, got null"):
        read_log(tmp_path, columns=ColumnMapping(observation=["x", "y"]))
    with pytest.raises(ValueError, match="column 'y', row 1: expected a value, got null"):
        read_log(tmp_path, columns=ColumnMapping(observation="y"))
    with pytest.raises(ValueError, match="column 'split': expected numbers, got large_string"):
        read_log(tmp_path, columns=ColumnMapping(observation=["x", "split"]))


def test_alignment_lets_rounding_pass(tmp_path: Path) -> None:
    rounded = put(0, "next_observation", [1.00001, 1.5])(frame())
    rounded.write_parquet(tmp_path / "log.parquet")
    log = read_log(tmp_path)
    assert log.next_observations[0, 0] == np.float32(1.00001)
    write_log(log, tmp_path / "again.parquet")
    assert same(read_log(tmp_path / "again.parquet"), log)


def test_more_rows_of_a_fault_are_counted(tmp_path: Path) -> None:
    put(2, "reward", None)(put(4, "reward", None)(frame())).write_parquet(tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=r"row 2: .*null \(2 such rows in all\)"):
        read_log(tmp_path)


# Metadata.


def rewritten(path: Path, key: str, value: str) -> None:
    """The file with another entry of metadata."""
    table = pq.read_table(path)
    pq.write_table(
        table.replace_schema_metadata({**(table.schema.metadata or {}), key: value}), path
    )


@pytest.mark.parametrize("version", ["2", "0", "one"])
def test_a_later_schema_version_is_refused(version: str, tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    rewritten(tmp_path / "log.parquet", "offline_actrep.schema_version", version)
    for read in (read_log, read_points, read_action_table):
        with pytest.raises(ValueError, match=f"schema version 1 or earlier, got '{version}'"):
            read(tmp_path / "log.parquet")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ('["x"]', "expected 1 numbers, as many as its metadata names, got 2"),
        ('{"x": 1}', "JSON list of strings"),
        ("x, y", "JSON list of strings"),
    ],
)
def test_names_that_do_not_fit_are_refused(names: str, message: str, tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    rewritten(tmp_path / "log.parquet", "offline_actrep.observation_names", names)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / "log.parquet")


def test_files_that_name_their_observations_differently(tmp_path: Path) -> None:
    for name, names, first in (("a", '["x", "y"]', 0), ("b", '["y", "x"]', 2)):
        frame(first).write_parquet(tmp_path / f"{name}.parquet")
        rewritten(tmp_path / f"{name}.parquet", "offline_actrep.observation_names", names)
    with pytest.raises(ValueError, match=r"b\.parquet.*names \('x', 'y'\), as .*got \('y', 'x'\)"):
        read_log(tmp_path)


# There and back.


WORD = st.text("abcé漢 '\"\\", min_size=1, max_size=5)


def action_ids() -> st.SearchStrategy[np.ndarray]:
    """Integers with holes, or strings."""
    return st.one_of(
        st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=6, unique=True),
        st.lists(WORD, min_size=1, max_size=6, unique=True),
    ).map(np.array)


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    """What `log_of` makes a log of; drawn apart, since the shape checks draw numbers too."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    n, size = int(offsets[-1]), draw(st.integers(1, 3))
    number = st.floats(-(2.0**99), 2.0**99, width=32)

    def column(values: st.SearchStrategy, dtype: DTypeLike | None = None) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype)

    def maybe(values: st.SearchStrategy, dtype: DTypeLike | None = None) -> np.ndarray | None:
        return column(values, dtype) if draw(st.booleans()) else None

    ids = draw(action_ids())
    actions = column(st.integers(0, len(ids) - 1), np.int64)
    vector = st.lists(number, min_size=size, max_size=size)
    observations = column(vector, np.float32)
    last = np.zeros(n, bool)
    last[offsets[1:] - 1] = True
    terminated = last & column(st.booleans(), bool)
    has_next = ~last | column(st.booleans(), bool)
    following = np.append(observations[1:], observations[-1:], axis=0)
    following[last] = np.where(has_next[:, None], column(vector, np.float32), observations)[last]
    mask = np.zeros((n, len(ids)), bool)
    mask[np.arange(n), actions] = True
    mask |= column(st.lists(st.booleans(), min_size=mask.shape[1], max_size=mask.shape[1]), bool)
    episode_ids = st.one_of(
        st.lists(st.integers(-5, 99), min_size=len(lengths), max_size=len(lengths), unique=True),
        st.lists(WORD, min_size=len(lengths), max_size=len(lengths), unique=True),
    )
    unit = draw(st.sampled_from(["<i8", "<i2", "<f8", "<M8[us]", "<M8[ns]", "<M8[D]", "<U3"]))
    names = tuple(f"x{i}" for i in range(size)) if draw(st.booleans()) else ()
    return {
        "action_ids": ids,
        "mask": mask if draw(st.booleans()) else None,
        "observations": observations,
        "actions": actions,
        "rewards": column(number, np.float32),
        "terminated": terminated,
        "truncated": last & ~terminated,
        "next_observations": following,
        "has_next": has_next,
        "episode_offsets": offsets,
        "episode_ids": np.array(draw(episode_ids)),
        "action_probabilities": maybe(st.floats(0, 1, exclude_min=True), np.float64),
        "timestamps": None if draw(st.booleans()) else column(st.integers(0, 999)).astype(unit),
        "splits": maybe(st.sampled_from(["train", "validation", ""]), "<U20"),
        "observation_names": names,
    }


def log_of(parts: dict[str, Any]) -> Log:
    """A small log of any kind that a file can hold."""
    columns = {name: part for name, part in parts.items() if name not in ("action_ids", "mask")}
    mask = parts["mask"]
    return Log(
        action_set=ActionSet(parts["action_ids"]),
        allowed=None if mask is None else AllowedActions.of_mask(mask),
        **columns,
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts=parts())
def test_a_log_comes_back_equal(
    parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = log_of(parts)
    folder = tmp_path_factory.mktemp("there")
    write_action_table(log.action_set, folder / "actions")
    write_log(log, folder / "log.parquet")
    back = read_log(folder / "log.parquet", action_table=folder / "actions")
    assert same(back, log)
    columns = pq.read_schema(folder / "log.parquet").names
    last = np.flatnonzero(log.ends & log.has_next)
    assert ("next_observation" in columns) == (len(last) > 0)


@settings(max_examples=20, deadline=None)
@given(parts=parts())
def test_written_in_pieces_it_is_the_same(
    parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = log_of(parts)
    folder = tmp_path_factory.mktemp("pieces")
    points = np.arange(2 * len(log), dtype=np.float32).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "ROWS_AT_ONCE", 2)
        patch.setattr("offline_actrep.files.parquet.ROWS_AT_ONCE", 2)
        write_log(log, folder / "log.parquet", points=points)
    assert pq.ParquetFile(folder / "log.parquet").num_row_groups == (len(log) + 1) // 2
    write_action_table(log.action_set, folder / "actions")
    assert same(read_log(folder / "log.parquet", action_table=folder / "actions"), log)
    back = read_points(folder / "log.parquet")
    assert back is not None and np.array_equal(back, points)


def test_the_file_is_canonical(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "source.parquet")
    log = replace(read_log(tmp_path / "source.parquet"), observation_names=("x", "y"))
    write_log(log, tmp_path / "new" / "log.parquet")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["log.parquet"]
    schema = pq.read_schema(tmp_path / "new" / "log.parquet")
    assert schema.field("observation").type == pa.list_(pa.float32(), 2)
    assert schema.field("action").type == pa.int64()
    assert schema.metadata[b"offline_actrep.schema_version"] == b"1"
    assert json.loads(schema.metadata[b"offline_actrep.observation_names"]) == ["x", "y"]
    file = pq.ParquetFile(tmp_path / "new" / "log.parquet")
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    table = file.read().to_pydict()
    assert table["next_observation"] == [None, None, [9.0, 9.5], None, None]
    assert table["step"] == [0, 1, 2, 0, 1]
    assert table["action"] == [7, 3, 7, 90, 3]
    assert table["allowed_actions"] == [[3, 7], [3], [7, 90], [90], [3, 11]]
    assert same(read_log(tmp_path / "new"), log)


def test_some_splits_of_a_log_come_back_equal(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "source.parquet")
    part = read_log(tmp_path / "source.parquet").take_episodes(np.array([1]))
    write_log(part, tmp_path / "part.parquet")
    write_action_table(part.action_set, tmp_path / "actions.parquet")
    back = read_log(tmp_path / "part.parquet", action_table=tmp_path / "actions.parquet")
    assert same(back, part)  # "test" needs less room than "train" did


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame().write_parquet(tmp_path / "source.parquet")
    log = read_log(tmp_path / "source.parquet")
    write_log(log, tmp_path / "log.parquet")
    before = (tmp_path / "log.parquet").read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_log(log, tmp_path / "log.parquet")
    assert (tmp_path / "log.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.parquet", "source.parquet"]


def test_what_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "source.parquet")
    log = read_log(tmp_path / "source.parquet")
    times = np.array([1, 2, 3, 4, 5])
    unknown = times.astype("datetime64[us]")
    unknown[3] = np.datetime64("NaT")
    elsewhere = log.next_observations.copy()
    elsewhere[1] += 1
    lost = log.has_next.copy()
    lost[3] = False
    wrong = {
        "row 3: expected a known next observation": replace(log, has_next=lost),
        "row 1: expected the next row's observation": replace(log, next_observations=elsewhere),
        "got 1 more than once": log.take_episodes(np.array([1, 1])),
        "got datetime64": replace(log, timestamps=times.astype("datetime64[s]")),
        "row 3: expected a timestamp, got NaT": replace(log, timestamps=unknown),
        "at least one number": replace(
            log,
            observations=np.zeros((5, 0), np.float32),
            next_observations=np.zeros((5, 0), np.float32),
        ),
    }
    for message, one in wrong.items():
        with pytest.raises(ValueError, match=message):
            write_log(one, tmp_path / "log.parquet")
    points = np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match="5 of them, got 4"):
        write_log(log, tmp_path / "log.parquet", points=points[:4])
    points[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2: expected a finite point"):
        write_log(log, tmp_path / "log.parquet", points=points)
    assert not (tmp_path / "log.parquet").exists()


# Points.


def test_points_of_several_files(tmp_path: Path) -> None:
    points = np.arange(15, dtype=np.float32).reshape(5, 3)
    for name, first in (("a", 0), ("b", 2)):
        frame(first).write_parquet(tmp_path / "source.parquet")
        log = read_log(tmp_path / "source.parquet")
        write_log(log, tmp_path / "log" / f"{name}.parquet", points=points + first)
    back = read_points(tmp_path / "log")
    assert back is not None and np.array_equal(back, np.concatenate([points, points + 2]))
    assert read_points(tmp_path / "source.parquet") is None
    assert len(read_log(tmp_path / "log")) == 10
    frame(4).write_parquet(tmp_path / "log" / "c.parquet")
    with pytest.raises(ValueError, match=r"c\.parquet, column 'point'.*got none"):
        read_points(tmp_path / "log")


def test_points_that_are_wrong_are_refused(tmp_path: Path) -> None:
    for points, message in (
        ([[0.0], None, [1.0]], "row 1: expected a value, got null"),
        ([[0.0], [1.0], [0.0, 1.0]], "row 2: expected a list of 1 numbers"),
        (["a", "b", "c"], "expected lists of numbers"),
    ):
        pl.DataFrame({"point": points}).write_parquet(tmp_path / "log.parquet")
        with pytest.raises(ValueError, match=message):
            read_points(tmp_path)


# The action table.


@settings(max_examples=20, deadline=None)
@given(ids=action_ids(), with_names=st.booleans(), with_features=st.booleans())
def test_an_action_table_comes_back_equal(
    ids: np.ndarray, with_names: bool, with_features: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    action_set = ActionSet(
        ids,
        names=tuple(f"action {n}" for n in range(len(ids))) if with_names else (),
        features=np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)
        if with_features
        else None,
        feature_names=("dx", "dy") if with_features else (),
    )
    path = tmp_path_factory.mktemp("table") / "actions.parquet"
    write_action_table(action_set, path)
    back = read_action_table(path)
    assert back.same_as(action_set)
    assert (back.names, back.feature_names) == (action_set.names, action_set.feature_names)
    if action_set.features is None:
        assert back.features is None
    else:
        assert back.features is not None
        assert np.array_equal(back.features, action_set.features)


def test_features_without_names_get_some(tmp_path: Path) -> None:
    features = np.zeros((2, 3), np.float32)
    write_action_table(ActionSet(np.array([4, 2]), features=features), tmp_path / "a.parquet")
    back = read_action_table(tmp_path / "a.parquet")
    assert back.ids.tolist() == [4, 2]
    assert back.feature_names == ("feature_0", "feature_1", "feature_2")


def test_an_action_table_that_cannot_be_written(tmp_path: Path) -> None:
    features = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    ids = np.array([1, 2])
    for names in (("name", "x"), ("x", "x")):
        with pytest.raises(ValueError, match="2 different feature names"):
            write_action_table(ActionSet(ids, (), features, names), tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1, 2]}, "'action': expected a column of action ids, got 2 rows .* columns id"),
        ({"action": pl.Series([], dtype=pl.Int64)}, "'action': .*got 0 rows"),
        ({"action": [1.0, 2.0]}, "'action': expected integers or strings, got double"),
        ({"action": [1, None]}, "'action', row 1: expected a value, got null"),
        ({"action": ["x", "y", "x"]}, "'action', row 2: expected every id once, got 'x' again"),
        ({"action": [1, 2], "name": ["a", None]}, "'name', row 1: .*got null"),
        ({"action": [1, 2], "kind": ["a", "b"]}, "'kind': expected numbers, got large_string"),
        ({"action": [1, 2], "dx": [0.0, float("nan")]}, "'dx', row 1: .*finite.*got nan"),
    ],
)
def test_action_tables_that_are_wrong(
    columns: dict[str, list], message: str, tmp_path: Path
) -> None:
    pl.DataFrame(columns).write_parquet(tmp_path / "actions.parquet")
    with pytest.raises(ValueError, match=rf"actions\.parquet, column {message}"):
        read_action_table(tmp_path / "actions.parquet")


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ([3, 7, 11], "'action', row 3: .*one of the 3 actions .*got action 90"),
        ([90, 3, 7], "'allowed_actions', row 4: .*got action 11"),
        (["3", "7", "11", "90"], "'action', row 0: .*got action 7"),
    ],
)
def test_an_id_that_the_table_lacks(table: list, place: str, tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    pl.DataFrame({"action": table}).write_parquet(tmp_path / "actions.parquet")
    with pytest.raises(ValueError, match=rf"log\.parquet, column {place}"):
        read_log(tmp_path / "log.parquet", action_table=tmp_path / "actions.parquet")


def test_an_action_table_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(ValueError, match=f"{path} cannot be read as a parquet file"):
            read_action_table(path)


def test_categories_may_differ_between_files(tmp_path: Path) -> None:
    for name, first, ids in (("a", 0, list("xyxzy")), ("b", 2, list("zwzxw"))):
        rows = frame(first).drop("allowed_actions")
        rows = rows.with_columns(action=pl.Series(ids, dtype=pl.Categorical))
        rows.write_parquet(tmp_path / f"{name}.parquet", row_group_size=2)
    log = read_log(tmp_path)
    assert "".join(log.action_set.decode(log.actions)) == "xyxzyzwzxw"


def test_the_table_gives_the_order_of_the_actions(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "log.parquet")
    pl.DataFrame({"action": [90, 5, 11, 7, 3]}).write_parquet(tmp_path / "actions.parquet")
    log = read_log(tmp_path / "log.parquet", action_table=tmp_path / "actions.parquet")
    assert log.action_set.ids.tolist() == [90, 5, 11, 7, 3]
    assert log.actions.tolist() == [3, 4, 3, 0, 4]


# What is told to people.


def test_the_documentation_names_every_column_and_its_example_is_valid() -> None:
    text = (Path(__file__).parents[2] / "datasets" / "README.md").read_text(encoding="utf-8")
    assert [name for name in ColumnMapping.model_fields if f"| `{name}` |" not in text] == []
    example = tomllib.loads(text.split("```toml\n")[1].split("```")[0])
    mapping = ColumnMapping.model_validate(example["log"]["columns"])
    assert mapping.observation == ["price", "stock", "hour"]
    assert mapping.split == "split"
