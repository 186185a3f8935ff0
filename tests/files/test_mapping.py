"""Mappings: what a row becomes, sessions by hand, values that cannot be cast, what is refused."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from offline_actrep.files.episodes import seconds
from offline_actrep.files.expressions import ROW_FUNCTIONS, row_expression
from offline_actrep.files.mapping import CANONICAL_MAPPING, LogMapping, read_mapping
from offline_actrep.files.sources import find_sources, scan

EXAMPLE = Path(__file__).parents[2] / "datasets" / "mapping_example.toml"
NOON = datetime.datetime(2024, 2, 1, 12)

CANONICAL = pl.DataFrame(
    {
        "episode_id": [2, 2, 1],
        "step": [0, 1, 0],
        "observation": [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]],
        "action": [7, 3, 7],
        "reward": [0.0, 1.0, 0.5],
        "terminated": [False, True, True],
    }
)


def mapping(**tables: Any) -> LogMapping:
    return LogMapping.model_validate(tables)


def mapped(rule: LogMapping, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows as they leave `rows`, of one file."""
    if "source_row" not in frame.columns:
        frame = frame.with_columns(pl.int_range(pl.len()).alias("source_row"))
    frame = frame.with_columns(pl.lit(0).alias("source_file"))
    return rule.rows(frame.lazy()).collect(engine="streaming")


def lost(rows: pl.DataFrame) -> list[list[tuple[str, str]]]:
    """What each row lost: fields and values."""
    pairs = zip(rows["cast_failed"].to_list(), rows["cast_found"].to_list(), strict=True)
    return [list(zip(fields or [], values or [], strict=True)) for fields, values in pairs]


# Canonical columns.


def test_canonical_columns_are_taken_as_they_are() -> None:
    rows = mapped(CANONICAL_MAPPING, CANONICAL)
    assert rows["partition_key"].to_list() == [2, 2, 1]
    assert rows["cast_failed"].null_count() == 3
    episodes = CANONICAL_MAPPING.episodes(rows)
    assert episodes["episode_id"].to_list() == [1, 2, 2]
    assert episodes["source_row"].to_list() == [2, 0, 1]
    assert episodes["truncated"].to_list() == [False] * 3
    kinds = [pl.Int64, pl.Int64, pl.List(pl.Float32), pl.Int64, pl.Float32, pl.Boolean]
    assert [episodes.schema[name] for name in CANONICAL.columns] == kinds


def test_columns_of_other_names_and_observations_of_several() -> None:
    frame = CANONICAL.rename({"action": "item", "episode_id": "visit"}).with_columns(
        x=pl.lit(1), y=pl.col("step") * 0.5, truncated=pl.lit(False), split=pl.lit("test")
    )
    rule = mapping(
        columns={"action": "item", "episode_id": "visit", "observation": ["x", "y"], "split": None}
    )
    rows = mapped(rule, frame)
    assert rows["observation"].to_list() == [[1.0, 0.0], [1.0, 0.5], [1.0, 0.0]]
    assert rows.schema["observation"] == pl.Array(pl.Float32, 2)
    assert rule.observation_names(frame.schema) == ("x", "y")
    assert "split" not in rows.columns
    alone = mapping(columns={**rule.columns.model_dump(exclude_unset=True), "observation": "y"})
    assert mapped(alone, frame)["observation"].to_list() == [[0.0], [0.5], [0.0]]


def test_rows_in_disorder_of_several_files_are_put_in_order() -> None:
    rows = mapped(CANONICAL_MAPPING, CANONICAL)
    later = rows.with_columns(source_file=pl.lit(1, pl.Int32), step=pl.lit(1, pl.Int64))
    for order in (pl.concat([rows, later]), pl.concat([later, rows]).sample(fraction=1, seed=0)):
        found = CANONICAL_MAPPING.episodes(order.sample(fraction=1, shuffle=True, seed=3))
        places = found.select("episode_id", "step", "source_file", "source_row").rows()
        expected = [(1, 0, 0, 2), (1, 1, 1, 2), (2, 0, 0, 0), (2, 1, 0, 1), (2, 1, 1, 0)]
        assert places == [*expected, (2, 1, 1, 1)]


def test_the_last_row_of_an_episode_ends_as_the_rule_says() -> None:
    frame = CANONICAL.with_columns(terminated=pl.Series([False, False, True]))
    rule = mapping(ends={"last_row": "truncated"})
    found = rule.episodes(mapped(rule, frame))
    assert found["terminated"].to_list() == [True, False, False]
    assert found["truncated"].to_list() == [False, False, True]
    rule = mapping(ends={"terminated": "reward >= 1", "truncated": "step = 0 AND action = 7"})
    found = rule.episodes(mapped(rule, frame))
    assert found["terminated"].to_list() == [False, False, True]
    assert found["truncated"].to_list() == [True, True, False]


# Values that cannot be cast.


def test_what_cannot_be_cast_is_null_and_named() -> None:
    frame = pl.DataFrame(
        {
            "episode_id": [1.0, 2.5, float(2**53), -3.0],
            "step": ["0", "1", "2x", None],
            "observation": ["[1, 2]", "[1, x]", "x3", "[]"],
            "action": pl.Series([1, 2**63, 2, 3], dtype=pl.UInt64),
            "reward": ["0.5", "soon", "1e400", "inf"],
            "terminated": [0, 1, 2, None],
            "action_probability": ["0.5", "1", "", None],
            "allowed_actions": [["1"], ["x", "2"], [], None],
        }
    )
    rows = mapped(CANONICAL_MAPPING, frame)
    assert rows["episode_id"].to_list() == [1, None, None, -3]
    assert rows["step"].to_list() == [0, 1, None, None]
    assert rows["observation"].to_list() == [[1.0, 2.0], [1.0, None], None, []]
    assert rows["action"].to_list() == [1, None, 2, 3]
    assert rows["reward"].to_list() == [0.5, None, float("inf"), float("inf")]
    assert rows["terminated"].to_list() == [False, True, None, None]
    assert rows["allowed_actions"].to_list() == [[1], [None, 2], [], None]
    assert lost(rows) == [
        [],
        [
            ("episode_id", "2.5"),
            ("action", str(2**63)),
            ("reward", "soon"),
            ("allowed_actions", "[x, 2]"),
            ("observation", "[1, x]"),
        ],
        [
            ("episode_id", "9007199254740992.0"),
            ("step", "2x"),
            ("terminated", "2"),
            ("action_probability", ""),
            ("observation", "x3"),
        ],
        [],
    ]


def test_one_bad_cell_does_not_cost_a_column_of_numbers() -> None:
    """In a csv it makes text of all of them."""
    frame = CANONICAL.with_columns(observation=pl.Series(["1.5", "n/a", "[2.5]"]))
    rows = mapped(CANONICAL_MAPPING, frame)
    assert rows["observation"].to_list() == [[1.5], None, [2.5]]
    assert lost(rows) == [[], [("observation", "n/a")], []]


@given(st.lists(st.none() | st.text(max_size=6), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_no_text_becomes_a_wrong_number(values: list[str | None]) -> None:
    frame = (
        CANONICAL.head(1)
        .drop("reward")
        .join(pl.DataFrame({"reward": pl.Series(values, dtype=pl.String)}), how="cross")
    )
    rows = mapped(CANONICAL_MAPPING, frame)
    for value, number, gone in zip(values, rows["reward"].to_list(), lost(rows), strict=True):
        if number is None:
            # names of what is lost are cut at one control character, which is shown as a space
            shown = (value or "").replace("\x1f", " ")
            assert gone == ([] if value is None else [("reward", shown)])
        else:
            assert value is not None
            # the column holds 32 bits: what is larger is infinite there, which the checks refuse
            with np.errstate(over="ignore"):
                kept = float(np.float32(float(value)))
            assert number == pytest.approx(kept, nan_ok=True)
            assert gone == []


@given(st.integers(-(2**64), 2**64) | st.floats(width=64), st.sampled_from(["action", "step"]))
@settings(max_examples=60, deadline=None)
def test_no_number_becomes_another_id(value: float, field: str) -> None:
    kind = pl.Float64 if isinstance(value, float) else pl.Int128
    frame = CANONICAL.head(1).with_columns(pl.Series(field, [value], dtype=kind))
    rows = mapped(CANONICAL_MAPPING, frame)
    found = rows[field].item()
    assert found == value if found is not None else [name for name, _ in lost(rows)[0]] == [field]
    if isinstance(value, int):
        assert (found is None) == (not -(2**63) <= value < 2**63)


def test_declared_types() -> None:
    frame = CANONICAL.with_columns(
        reward=pl.Series(["1", "x", "3"]),
        timestamp=pl.Series(["01.02.2024", "2024-02-01", None]),
        split=pl.Series([1, 2, 3]),
    )
    types = {"reward": "float64", "timestamp": "datetime %d.%m.%Y", "split": "string"}
    rule = mapping(types=types, reward="COALESCE(reward, 0) * 2")
    rows = mapped(rule, frame)
    assert rows["reward"].to_list() == [2.0, 0.0, 6.0]
    assert rows["timestamp"].to_list() == [datetime.datetime(2024, 2, 1), None, None]
    assert rows["split"].to_list() == ["1", "2", "3"]
    assert lost(rows) == [[], [("reward", "x"), ("timestamp", "2024-02-01")], []]


def test_ids_that_are_text_and_categories() -> None:
    frame = CANONICAL.with_columns(
        action=pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        episode_id=pl.Series(["007", "7", "7"]),
        allowed_actions=pl.Series([["a"], ["b", "c"], []]),
    )
    rows = mapped(CANONICAL_MAPPING, frame.with_columns(pl.col("action").cast(pl.String)))
    assert rows["partition_key"].to_list() == ["007", "7", "7"]
    assert rows["allowed_actions"].to_list() == [["a"], ["b", "c"], []]


# Derived columns and observations of many columns.


def test_derived_columns_may_use_those_above() -> None:
    rule = mapping(
        derived={"double": "reward * 2", "more": "double + step"},
        reward="CASE WHEN more > 2 THEN 10 ELSE -more END",
        columns={"observation": ["double", "more"]},
    )
    rows = mapped(rule, CANONICAL)
    assert rows["observation"].to_list() == [[0.0, 0.0], [2.0, 3.0], [1.0, 1.0]]
    assert rows["reward"].to_list() == [0.0, 10.0, -1.0]


PARTS = CANONICAL.drop("observation").with_columns(
    price=pl.Series([1, 2, None]),
    tags=pl.Series([[1.0, 2.0], [3.0], [4.0, 5.0]]),
    country=pl.Series(["de", "xx", None]),
    floor=pl.Series([1.0, 2.0, 3.0]),
    member=pl.Series([True, False, None]),
)


def test_an_observation_of_many_columns_by_hand() -> None:
    rule = mapping(
        observation=[
            {"column": "price"},
            {"column": "tags", "size": 2},
            {"column": "country", "one_hot": ["de", "fr"], "other": True},
            {"column": "floor", "vectors": {"1": [0.5, 1], "2": [0.25, 2]}, "other": [9, 9]},
            {"column": "member", "one_hot": [True, False]},
        ]
    )
    rows = mapped(rule, PARTS)
    values = rows["observation"].to_list()
    assert values[0] == [1, 1, 2, 1, 0, 0, 0.5, 1, 1, 0]
    assert values[1] is None
    assert values[2] == [None, 4, 5, None, None, None, 9, 9, None, None]
    assert lost(rows) == [[], [("observation.tags", "a list of 1")], []]
    assert rule.observation_names(PARTS.schema) == (
        "price",
        "tags[0]",
        "tags[1]",
        "country=de",
        "country=fr",
        "country=other",
        "floor[0]",
        "floor[1]",
        "member=true",
        "member=false",
    )


def test_a_category_that_is_not_listed_is_a_fault_without_other() -> None:
    parts = [
        {"column": "country", "one_hot": ["de"]},
        {"column": "floor", "vectors": {"1": [1], "2": [2]}},
    ]
    rows = mapped(mapping(observation=parts), PARTS)
    assert rows["observation"].to_list() == [[1, 1], [None, 2], [None, None]]
    expected = [("observation.country", "xx")], [("observation.floor", "3.0")]
    assert lost(rows) == [[], *expected]


def test_vectors_of_a_file_and_next_observations(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1.0, 2.0], "category": [1, 2], "y": [3, 4]}).write_parquet(
        tmp_path / "floors.parquet"
    )
    (tmp_path / "log.toml").write_text(
        '[[observation]]\ncolumn = "floor"\nvectors = "floors.parquet"\nother = [0, 0]\n'
        '[[next_observation]]\ncolumn = "price"\n[[next_observation]]\ncolumn = "reward"\n'
    )
    rule = read_mapping(tmp_path / "log.toml")
    rows = mapped(rule, PARTS)
    assert rows["observation"].to_list() == [[1, 3], [2, 4], [0, 0]]
    assert rows["next_observation"].to_list() == [[1, 0], [2, 1], [None, 0.5]]
    nothing = PARTS.with_columns(reward=pl.Series([0.0, None, None]))
    assert mapped(rule, nothing)["next_observation"].to_list() == [[1, 0], [2, None], None]
    assert "floors" not in rule.model_dump_json()  # the file's content is part of the mapping


def test_lists_in_text_keep_commas_that_are_quoted() -> None:
    shelves = {
        '["x", "a, b"]': ["x", "a, b"],
        "[x,'a, b' ]": ["x", "a, b"],
        "[don't, x]": ["don't", "x"],
        '["", "]"]': ["", "]"],
        "[x, 1.5 y]": ["x", "1.5 y"],
        " [ ] ": [],
    }
    refused = ['["a" b, c]', '["a", "b]', r'["a\"b"]', "x, y"]
    texts = [*shelves, *refused]
    frame = (
        CANONICAL.head(1).drop("action").join(pl.DataFrame({"allowed_actions": texts}), how="cross")
    )
    rows = mapped(CANONICAL_MAPPING, frame.with_columns(action=pl.lit("x")))
    assert rows["allowed_actions"].to_list() == [*shelves.values(), *(None for _ in refused)]
    assert [dict(gone) for gone in lost(rows)] == [
        {} if text in shelves else {"allowed_actions": text} for text in texts
    ]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"column": "a", "size": 2, "one_hot": ["x"]}, "choose one"),
        ({"column": "a", "one_hot": ["x", "x"]}, "stands twice"),
        ({"column": "a", "one_hot": [1, "1"]}, "stands twice"),
        ({"column": "a", "vectors": {"x": [1], "y": [1, 2]}}, "of one length"),
        ({"column": "a", "vectors": {"x": [1]}, "other": True}, "of one length"),
        ({"column": "a", "other": True}, "beside one_hot"),
        ({"column": "a", "one_hot": ["x"], "other": [1.0]}, "beside one_hot"),
        ({"column": "a", "vectors": "nowhere.parquet"}, "cannot be read"),
        ({"column": "a", "one_hot": []}, "at least 1"),
    ],
)
def test_parts_that_make_no_sense_are_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mapping(observation=[part])


# Sessions.


def visits(*rows: tuple[str | None, float | None, bool]) -> pl.DataFrame:
    """Rows of (user, minutes after noon, left)."""
    times = [
        None if minutes is None else NOON + datetime.timedelta(minutes=minutes)
        for _, minutes, _ in rows
    ]
    return pl.DataFrame(
        {
            "user": [user for user, _, _ in rows],
            "time": pl.Series(times, dtype=pl.Datetime("us")),
            "left": [left for _, _, left in rows],
            "action": list(range(len(rows))),
            "reward": [1.0] * len(rows),
            "observation": [[float(n)] for n in range(len(rows))],
        }
    )


def sessions(frame: pl.DataFrame, last_row: str | None = "truncated", **rule: Any) -> pl.DataFrame:
    ends = {"terminated": "left"} | ({} if last_row is None else {"last_row": last_row})
    whole = mapping(episodes={"key": "user", "order": "time", **rule}, ends=ends)
    return whole.episodes(mapped(whole, frame))


def told(frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    return frame.select("episode_id", "step", "action", "terminated", "truncated").rows()


LOG = visits(
    ("b", 0, False),
    ("a", 31, False),
    ("a", 0, False),
    ("a", 61, False),
    ("b", 5, True),
    ("a", 91.5, False),
    ("b", 6, False),
)


def test_a_gap_begins_another_session() -> None:
    # from a's 0 to 31 is more than 30 minutes, from 31 to 61 is not, from 61 to 91.5 is
    expected = [
        ("a#0", 0, 2, False, True),
        ("a#1", 0, 1, False, False),
        ("a#1", 1, 3, False, True),
        ("a#2", 0, 5, False, True),
        ("b#0", 0, 0, False, False),
        ("b#0", 1, 4, True, False),
        ("b#0", 2, 6, False, True),
    ]
    found = sessions(LOG, gap="30 min")
    assert told(found) == expected
    assert found["timestamp"].to_list()[:2] == [NOON, NOON + datetime.timedelta(minutes=31)]
    assert told(sessions(LOG.sample(fraction=1, shuffle=True, seed=1), gap="30 min")) == expected


def test_an_end_begins_another_session_where_asked() -> None:
    found = told(sessions(LOG, gap="1 d", ends_cut=True, last_row="terminated"))
    assert found[-3:] == [
        ("b#0", 0, 0, False, False),
        ("b#0", 1, 4, True, False),
        ("b#1", 0, 6, True, False),
    ]


def test_long_sessions_are_cut_off_and_know_what_followed() -> None:
    found = sessions(LOG, max_rows=2, last_row="terminated")
    assert told(found) == [
        ("a#0", 0, 2, False, False),
        ("a#0", 1, 1, False, True),
        ("a#1", 0, 3, False, False),
        ("a#1", 1, 5, True, False),
        ("b#0", 0, 0, False, False),
        ("b#0", 1, 4, True, False),
        ("b#1", 0, 6, True, False),
    ]
    assert found["next_observation"].to_list() == [None, [3.0], *[None] * 5]


def test_without_a_cut_the_key_is_the_episode() -> None:
    found = told(sessions(LOG, last_row=None))
    assert [row[:2] for row in found] == [(u, n) for u, k in (("a", 4), ("b", 3)) for n in range(k)]
    assert not any(row[4] for row in found)


def test_a_row_without_a_place_leaves_its_key_in_one_piece() -> None:
    frame = visits(("a", 0, False), ("a", None, False), ("a", 99, False), ("b", 0, False))
    found = sessions(frame, gap="30 min", max_rows=1)
    assert [row[:3] for row in told(found)] == [
        ("a#0", 0, 1),
        ("a#0", 1, 0),
        ("a#0", 2, 2),
        ("b#0", 0, 3),
    ]
    assert lost(found) == [[("session_order", "null")], [], [], []]


def test_a_row_without_a_key_has_no_episode() -> None:
    found = sessions(visits(("a", 0, False), (None, 0, False), (None, 99, False)), gap="30 min")
    assert found["episode_id"].to_list() == [None, None, "a#0"]


@pytest.mark.parametrize(
    ("times", "rule"),
    [
        ([0, 1800, 3601], {"gap": "30 min", "order_unit": "s"}),
        ([0, 1800, 3601], {"gap": 1800}),
        ([0.0, 1800.0, 3600.5], {"gap": 1800}),
        (["2024-02-01 10:00:00", "2024-02-01T10:30Z", "2024-02-01 11:00:01 UTC"], {"gap": "0.5 h"}),
        (
            ["2024-02-01T12:00:00+02:00", "2024-02-01T10:30:00", "2024-02-01 11:00:00.001"],
            {"gap": "30 min"},
        ),
        (
            ["2024-02-01 10:00:00+00", "2024-02-01T12:30+02:00", "2024-02-01 11:00:00.5-00"],
            {"gap": "30 min"},
        ),
        ([datetime.date(2024, 2, 1), datetime.date(2024, 2, 2), datetime.date(2024, 2, 4)], None),
        ([-(2**63), -(2**63) + 1800, 2**63 - 1], {"gap": 1800}),
    ],
)
def test_orders_of_every_type(times: list[Any], rule: dict[str, Any] | None) -> None:
    frame = visits(*[("a", 0, False)] * 3).with_columns(pl.Series("time", times))
    found = sessions(frame, **(rule or {"gap": "24 h"}))
    assert found["episode_id"].to_list() == ["a#0", "a#0", "a#1"]


def test_nanoseconds_are_kept() -> None:
    frame = visits(*[("a", 0, False)] * 2).with_columns(
        pl.Series("time", [10**18 + 1, 10**18]).cast(pl.Datetime("ns", "UTC"))
    )
    assert sessions(frame, gap="1 s")["action"].to_list() == [1, 0]


@pytest.mark.parametrize(
    ("span", "length"),
    [("30 min", 1800), ("1.5h", 5400), ("2 days", 172800), ("10 ms", 0.01), ("1 hour", 3600)]
    + [(text, None) for text in ("30", "min", "0 s", "-1 s", "1 month", "1e9 s", "")],
)
def test_spans_of_time(span: str, length: float | None) -> None:
    assert seconds(span) == length


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40), st.booleans()), max_size=12),
    st.integers(1, 4),
    st.booleans(),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_sessions_are_what_a_loop_gives(
    visited: list[tuple[str, int, bool]], most: int, ends_cut: bool, random: Any
) -> None:
    expected: list[tuple[Any, ...]] = []
    numbered = sorted(enumerate(visited), key=lambda one: (one[1][0], one[1][1], one[0]))
    user, session, step, before, ended = "", 0, 0, 0, False
    for n, (name, minute, left) in numbered:
        if name != user:
            user, session, step = name, 0, 0
        elif minute - before > 5 or (ends_cut and ended) or step == most:
            session, step = session + 1, 0
        expected.append((f"{name}#{session}", step, n, left))
        step, before, ended = step + 1, minute, left
    if visited:
        frame = visits(*visited).with_columns(pl.int_range(pl.len()).alias("source_row"))
        shuffled = frame[random.sample(range(len(visited)), len(visited))]
        found = sessions(shuffled, gap="5 min", max_rows=most, ends_cut=ends_cut)
        assert found.select("episode_id", "step", "action", "terminated").rows() == expected


# Refused.


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"reward": "SUM(reward)"}, "SUM"),
        ({"derived": {"x": "read_csv('/etc/passwd')"}}, "READ_CSV"),
        ({"derived": {"x": "a IN (SELECT a FROM read_csv('/etc/passwd'))"}}, "may read files"),
        ({"derived": {"x": "a IN (FROM read_csv('/etc/passwd'))"}}, "FROM"),
        ({"derived": {"x": "LAG(a) OVER (ORDER BY b)"}}, "LAG"),
        ({"derived": {"x": "a > 1 OVER (ORDER BY b)"}}, "OVER"),
        ({"derived": {"x": "NOW()"}}, "NOW"),
        ({"derived": {"x": "CURRENT_TIMESTAMP"}}, "clock"),
        ({"derived": {"x": '"sum"(a)'}}, "quoted"),
        ({"derived": {"x": "a -- b"}}, "comments"),
        ({"derived": {"x": "a /* b */"}}, "comments"),
        ({"derived": {"x": "E'\\''"}}, "plain strings"),
        ({"derived": {"x": "a; b"}}, "comments"),
        ({"derived": {"x": "a,"}}, "polars can read"),
        ({"derived": {"x": '"^a.*$"'}}, "one column"),
        ({"derived": {"x": "*"}}, "polars can read"),
        ({"derived": {"x": "(" * 2000}}, "parentheses"),
        ({"derived": {"x": "a+" * 3000}}, "characters"),
        ({"derived": {"x": "__import__('os')"}}, "__IMPORT__"),
        ({"types": {"x": "int32"}}, "there are bool"),
        ({"types": {"x": "int64 %d"}}, "there are bool"),
        ({"types": {"x": "int64"}, "derived": {"x": "1"}}, "leave one out"),
        ({"reward": "a", "columns": {"reward": "a"}}, "both say it"),
        ({"episodes": {"key": "a", "order": "b"}, "columns": {"step": "a"}}, "both say it"),
        ({"episodes": {"key": "a", "order": "b", "gap": "soon"}}, "no span of time"),
        ({"next_observation": [{"column": "a"}]}, "beside it"),
        ({"columns": {"actoin": "a"}}, "Extra inputs"),
    ],
)
def test_mappings_that_make_no_sense_are_refused(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mapping(**tables)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"columns": {"action": "actoin"}}, r"'actoin'.*for action.*is it 'action'"),
        ({"derived": {"x": "rewad + 1"}}, r"'rewad'.*is it 'reward'"),
        (
            {"columns": {"action": "shown_with"}},
            r"terminated\. To mend it: write action = \"\.\.\.\"",
        ),
        ({"derived": {"x": "y", "y": "1"}}, r"column 'y'"),
        ({"derived": {"reward": "1"}}, "expected a new name"),
        ({"derived": {"_oar_x": "1"}}, "does not begin with"),
        ({"derived": {"x": "LOWER(reward)"}}, r"x = LOWER\(reward\).*reward \(Float64\)"),
        ({"columns": {"reward": "observation"}}, "reward: expected numbers, got List"),
        ({"columns": {"timestamp": "none"}}, "for timestamp"),
        ({"observation": [{"column": "observation"}, {"column": "step"}]}, "size = "),
        ({"observation": [{"column": "observation", "one_hot": ["a"]}]}, "single values"),
        ({"types": {"x": "int64"}}, r"'x'.*\[types\]"),
        ({"episodes": {"key": "action", "order": "when"}}, r"'when'.*\[episodes\] order"),
        (
            {"episodes": {"key": "action", "order": "step", "gap": "1 min"}},
            r"order_unit = \"s\"",
        ),
    ],
)
def test_mappings_that_do_not_fit_the_columns_are_refused(
    tables: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mapping(**tables).check(CANONICAL.schema)


def test_a_log_without_ends_is_told_to_say_what_ends_it() -> None:
    with pytest.raises(ValueError, match=r"'terminated'.*\[ends\] last_row"):
        CANONICAL_MAPPING.check(CANONICAL.drop("terminated").schema)
    mapping(ends={"last_row": "truncated"}).check(CANONICAL.drop("terminated").schema)


def test_an_unknown_key_is_refused_with_the_near_ones(tmp_path: Path) -> None:
    file = tmp_path / "log.toml"
    for text, message in (
        ("[episode]\nkey = 'a'", r"episode: unknown key; near it: episodes"),
        ("[ends]\nlast = 'truncated'", r"ends.last: unknown key; near it: last_row"),
        ("[columns]\nactoin = 'a'", r"columns.actoin: unknown key; near it: action"),
        ("reward = ", "is not TOML"),
        ("[derived]\nx = 'MEDIAN(a)'", r"derived.x.*MEDIAN"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_mapping(file)
    with pytest.raises(ValueError, match="which is none"):
        read_mapping(tmp_path / "other.toml")


def test_every_function_that_is_let_through_sees_one_row_at_a_time() -> None:
    frame = pl.DataFrame(
        {"a": [1.5, 2.0, 3.0], "b": ["x", "y", "1"], "l": [[1, 2], [3], [4]], "d": [NOON] * 3}
    )
    arguments = ["a", "b", "a, 2", "b, 'x'", "a, b", "b, 1", "b, 1, 2", "b, 'x', 'y'", "l, 1"]
    arguments += ["l", "a AS DOUBLE", "HOUR FROM d", "'hour', d", "'2020-01-01'", "d, '%Y'"]
    arguments += ["'2020-01-01', '%Y-%m-%d'", "'x' IN b", "a > 1, 2, 3", "',', b, b", ""]
    silent = []
    for name in sorted(ROW_FUNCTIONS):
        worked = False
        for given_ in arguments if name not in ("GREATEST", "LEAST") else ["a, 2"]:
            try:
                expression = row_expression(f"{name}({given_})", "x").alias("x")
                whole = frame.select("a", expression)
            except (ValueError, pl.exceptions.PolarsError):
                continue
            alone = [frame[n : n + 1].select("a", expression) for n in range(3)]
            assert whole.equals(pl.concat(alone)), f"{name}({given_})"
            worked = True
        silent += [] if worked else [name]
    assert silent == []


# The whole way.

EXAMPLE_LOG = """\
user,time,item,bought,seconds_looked,shown_with,shelf,country,last_prices,device,left
u1,01.02.2024 10:00:00,12,0,3.5,0.5,"[12, 40]",de,"[1.5, 2]",phone,no
u1,01.02.2024 10:30:00,40,1,20,0.25,"[40]",,"[2, 3]",desk,no
u1,01.02.2024 19:00:01,12,0,soon,1,"[12]",xx,"[2]",fridge,yes
u2,1.2.24 noon,7,0,1,1,"[7]",de,"[1,1]",desk,no
"""


def test_the_example_is_read_and_applied(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EXAMPLE_LOG)
    rule = read_mapping(EXAMPLE)
    sources = find_sources(tmp_path)
    schema = rule.agreed_schema(sources)
    found = rule.episodes(mapped(rule, scan(sources[0], schema).collect()))
    assert told(found) == [
        ("u1#0", 0, 12, False, False),
        ("u1#0", 1, 40, False, True),
        ("u1#1", 0, 12, True, False),
        ("u2#0", 0, 7, False, True),
    ]
    assert found["reward"].to_list() == pytest.approx([0.35, 7.0, None, 0.1])
    assert found["observation"].to_list()[:2] == [
        [10, 0, 1.5, 2, 1, 0, 0, 0, 1, 0],
        [10, 0, 2, 3, 0, 0, 1, 0, 0, 1],
    ]
    assert found["allowed_actions"].to_list() == [[12, 40], [40], [12], [7]]
    assert lost(found) == [
        [],
        [],
        [
            ("seconds_looked", "soon"),
            ("observation.last_prices", "a list of 1"),
            ("observation.device", "fridge"),
        ],
        [("time", "1.2.24 noon"), ("session_order", "null")],
    ]


def test_explain_tells_what_was_understood(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(EXAMPLE_LOG)
    text = read_mapping(EXAMPLE).explain(tmp_path)
    for line in (
        "1 file, 327 bytes, csv",
        "action               Int64              from column 'item'",
        "reward               Float32            from 5 * bought + 0.1 * seconds_looked",
        "derived evening = hour >= 18",
        "absent: next_observation, split",
        "another episode begins where 'time' rises by more than 30 min",
        "another episode begins after 50 rows",
        "the last row of an episode that neither ends is truncated",
        "shelf                '[12, 40]'",
        "allowed_actions      [12, 40]",
        "cast_found           ['soon', 'a list of 1', 'fridge']",
    ):
        assert line in text
    assert "u2" not in text  # three rows are shown
    CANONICAL.write_parquet(tmp_path / "log.parquet")
    text = CANONICAL_MAPPING.explain(tmp_path / "log.parquet")
    assert "rows alike in episode_id (column 'episode_id')" in text
    assert "the last row of an episode that neither ends is a fault" in text
    (tmp_path / "log.csv").unlink()
    with pytest.raises(ValueError, match=r"'time': expected a column .*\[types\]"):
        read_mapping(EXAMPLE).explain(tmp_path)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["u1", "u2"]),
            st.integers(0, 10**6),
            st.integers(0, 99),
            st.floats(-10, 10, width=32).map(lambda number: number + 0.03125),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_format_of_a_log_does_not_matter(tmp_path: Path, log: list[tuple[Any, ...]]) -> None:
    names = ["user", "time", "item", "price", "left"]
    frame = pl.DataFrame(log, schema=names, orient="row")
    rule = mapping(
        reward="price * 2",
        columns={"action": "item", "observation": ["price", "item"]},
        episodes={"key": "user", "order": "time", "gap": 60000, "max_rows": 3},
        ends={"terminated": "left", "last_row": "truncated"},
    )
    found = []
    for name, write in (
        ("a.parquet", frame.write_parquet),
        ("a.csv", frame.write_csv),
        ("a.jsonl", frame.write_ndjson),
        ("a.arrow", frame.write_ipc),
    ):
        write(tmp_path / name)
        sources = find_sources(tmp_path / name)
        raw = scan(sources[0], rule.agreed_schema(sources))
        found.append(rule.episodes(mapped(rule, raw.collect())))
    assert all(one.equals(found[0]) for one in found)
    assert found[0].height == len(log)
