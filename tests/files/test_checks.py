"""Each rule alone: which rows it marks."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.core.actions import ActionSet
from offline_actrep.files.checks import action_faults, aligned, row_faults, value_faults
from offline_actrep.files.columns import Columns, Ids, to_ids
from offline_actrep.files.faults import Fault, Origin, refuse
from offline_actrep.files.forms import VECTOR

LABELS = {
    "episode_id": "session",
    "step": "n",
    "observation": "state",
    "action": "item",
    "reward": "gain",
    "terminated": "done",
    "truncated": "cut",
    "next_observation": "after",
    "action_probability": "propensity",
    "allowed_actions": "shelf",
}


def ids(values: list[int]) -> Ids:
    return to_ids(pa.array(values, pa.int64()))


def columns(lengths: Iterable[int] = (3, 1, 2)) -> Columns:
    """Episodes of the given lengths, without a fault."""
    lengths = list(lengths)
    n = sum(lengths)
    last = np.zeros(n, bool)
    last[np.cumsum(lengths) - 1] = True
    observations = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return Columns(
        labels=LABELS,
        episode_ids=ids(np.repeat(np.arange(len(lengths)) * 10, lengths).tolist()),
        steps=np.concatenate([np.arange(length) + 4 for length in lengths]),
        observations=observations,
        actions=ids((np.arange(n) % 3).tolist()),
        rewards=np.zeros(n, np.float32),
        terminated=last,
        truncated=np.zeros(n, bool),
        next_observations=np.append(observations[1:], observations[:1], axis=0),
        next_given=np.ones(n, bool),
        action_probabilities=np.full(n, 0.5),
        allowed=(np.arange(0, 2 * n + 1, 2), ids([a for k in range(n) for a in (k % 3, 5)])),
        timestamps=None,
        splits=None,
        observation_names=(),
    )


def marked(faults: Iterable[Fault]) -> Mapping[str, list[int]]:
    """Rows by column."""
    return {fault.column: fault.rows.tolist() for fault in faults}


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_a_clean_log_has_no_faults(lengths: list[int]) -> None:
    clean = columns(lengths)
    assert marked(row_faults(clean)) == {}
    assert marked(action_faults(clean, ActionSet.dense(6))) == {}
    assert clean.firsts.sum() == clean.lasts.sum() == len(lengths)


@given(st.lists(st.integers(2, 5), min_size=1, max_size=6), st.data())
def test_every_row_out_of_step_is_marked(lengths: list[int], data: st.DataObject) -> None:
    clean = columns(lengths)
    wrong = data.draw(st.sampled_from(np.flatnonzero(~clean.firsts).tolist()))
    steps = clean.steps.copy()
    steps[wrong:] += data.draw(st.sampled_from([-3, -1, 1, 7]))
    assert marked(row_faults(replace(clean, steps=steps))) == {"n": [wrong]}


def test_every_return_of_an_episode_is_marked() -> None:
    split = replace(columns((2, 2, 2)), episode_ids=ids([0, 8, 0, 0, 8, 9]))
    assert marked(row_faults(split))["session"] == [2, 4]


def test_every_wrong_end_is_marked() -> None:
    clean = columns((3, 1, 2))
    terminated = np.array([True, False, False, True, True, True])
    assert marked(row_faults(replace(clean, terminated=terminated))) == {"done": [2]}
    early = list(row_faults(replace(clean, terminated=terminated)))
    assert [fault.rows.tolist() for fault in early] == [[0, 4], [2]]
    both = np.array([False, False, True, False, False, True])
    assert marked(row_faults(replace(clean, truncated=both))) == {"cut": [2, 5]}
    cut_off = replace(clean, terminated=clean.lasts & ~both, truncated=both)
    assert marked(row_faults(cut_off)) == {}


@pytest.mark.parametrize("p", [0.0, -0.1, 1.0000001, np.nan, np.inf])
def test_every_wrong_probability_is_marked(p: float) -> None:
    probabilities = np.array([1.0, p, 0.1, 1e-9, p, 0.5])
    wrong = replace(columns(), action_probabilities=probabilities)
    assert marked(row_faults(wrong)) == {"propensity": [1, 4]}


def test_next_observations_must_follow_inside_an_episode_only() -> None:
    clean = columns((3, 1, 2))
    elsewhere = clean.next_observations + 1
    wrong = replace(clean, next_observations=elsewhere)
    assert marked(row_faults(wrong)) == {"after": [0, 1, 4]}
    given_next = np.array([False, True, True, True, False, True])
    assert marked(row_faults(replace(wrong, next_given=given_next))) == {"after": [1]}


def test_aligned_is_a_matter_of_rounding() -> None:
    there = np.array([[1000.0, 0.0], [1000.0, 0.0], [1.0, 0.0]], np.float32)
    stated = np.array([[1000.05, 5e-6], [1000.2, 0.0], [1.0, 5e-5]], np.float32)
    assert aligned(stated, there).tolist() == [True, False, False]


def test_every_unknown_or_forbidden_action_is_marked() -> None:
    clean = columns((6,))
    assert marked(action_faults(clean, ActionSet(np.array([0, 1, 5])))) == {
        "item": [2, 5],
        "shelf": [2, 5],
    }
    assert marked(action_faults(clean, ActionSet.dense(5))) == {"shelf": [0, 1, 2, 3, 4, 5]}
    offsets = np.array([0, 1, 2, 2, 3, 4, 5])
    lacking = replace(clean, allowed=(offsets, ids([0, 0, 0, 1, 2])))
    assert marked(action_faults(lacking, ActionSet.dense(3))) == {"shelf": [1, 2]}
    assert marked(action_faults(replace(clean, allowed=None), ActionSet.dense(3))) == {}


def table(**changes: pa.Array) -> pa.Table:
    """Four rows of a few canonical columns in their canonical types."""
    vectors = pa.array([[0.0, 1.0]] * 4, VECTOR)
    rows = {
        "observation": vectors,
        "reward": pa.array([0.0] * 4, pa.float32()),
        "next_observation": vectors,
        "allowed_actions": pa.array([[1], [], [2, 3], [1]], pa.large_list(pa.int64())),
    }
    return pa.table({**rows, **changes})


def test_every_bad_value_is_marked() -> None:
    nan, inf = float("nan"), float("inf")
    assert marked(value_faults(table(), LABELS)) == {}
    for field, values, rows in (
        ("reward", [None, 0.0, None, 0.0], [0, 2]),
        ("reward", [0.0, nan, 0.0, -inf], [1, 3]),
        ("observation", [[0.0, 1.0], None, [0.0, 1.0], None], [1, 3]),
        ("observation", [[0.0], [0.0, 1.0], [], [0.0, 1.0]], [0, 2]),
        ("observation", [[0.0, nan], [None, None], [0.0, 1.0], [inf, 0.0]], [0, 1, 3]),
        ("next_observation", [None, None, None, None], []),
        ("next_observation", [None, [0.0, 1.0, 2.0], None, [0.0]], [1, 3]),
        ("next_observation", [None, [0.0, nan], None, [0.0, 1.0]], [1]),
        ("allowed_actions", [[1], None, [], None], [1, 3]),
        ("allowed_actions", [[None], [], [2, None, None], [1]], [0, 2]),
    ):
        kind = table()[field].type
        found = marked(value_faults(table(**{field: pa.array(values, kind)}), LABELS))
        assert found == ({LABELS[field]: rows} if rows else {}), (field, values)


def test_empty_observations_are_marked() -> None:
    empty = pa.array([[]] * 4, VECTOR)
    found = marked(value_faults(table(observation=empty, next_observation=empty), LABELS))
    assert found == {"state": [0, 1, 2, 3], "after": [0, 1, 2, 3]}


def test_scalar_columns_are_marked_by_their_own_name() -> None:
    values = pa.array([[0.0, 1.0], [0.0, None], [0.0, 1.0], [0.0, 1.0]], VECTOR)
    labels = {**LABELS, "observation": ["price", "stock"]}
    assert marked(value_faults(table(observation=values), labels)) == {"stock": [1]}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any))
def test_a_row_is_found_in_its_file(counts: list[int]) -> None:
    files = tuple(Path(f"{n}.parquet") for n in range(len(counts)))
    origin = Origin(files, np.cumsum([0, *counts]))
    places = [
        (file, row) for file, count in zip(files, counts, strict=True) for row in range(count)
    ]
    assert [origin.locate(row) for row in range(sum(counts))] == places


def test_the_first_fault_is_refused_and_none_is_let_pass() -> None:
    origin = Origin((Path("a.parquet"), Path("b.parquet")), np.array([0, 2, 9]))
    refuse([], origin)
    fault = Fault("missing", "gain", np.array([3, 8]), "a value", "null", "fill it")
    other = replace(fault, rows=np.array([0]))
    with pytest.raises(ValueError) as error:
        refuse([fault, other], origin)
    assert str(error.value) == (
        "b.parquet, column 'gain', row 1: expected a value, got null (2 such rows in all). "
        "To mend it: fill it."
    )
