"""What is counted a part at a time is what all of it would give."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.files.tally import Columns, Extreme, Histogram, Tally

number = st.floats(-(2.0**90), 2.0**90, width=32, allow_subnormal=False)
numbers = st.lists(number, min_size=1, max_size=50)


@given(numbers, numbers)
def test_histograms_of_parts_are_that_of_the_whole(one: list[float], other: list[float]) -> None:
    whole = Histogram.of(np.array(one + other))
    parts = Histogram.of(np.array(one)).joined(Histogram.of(np.array(other)))
    assert whole.to_json() == parts.to_json()
    assert Histogram.from_json(json.loads(json.dumps(whole.to_json()))) == whole


@given(numbers, st.floats(0, 1))
def test_quantiles_are_three_percent_exact(values: list[float], share: float) -> None:
    exact = np.quantile(values, share, method="inverted_cdf")
    found = Histogram.of(np.array(values)).quantile(share)
    assert found == pytest.approx(exact, rel=0.032, abs=1e-37)


@pytest.mark.parametrize("n_actions", [80, 100, 1000, 1024])
def test_a_value_is_not_below_itself(n_actions: int) -> None:
    """Bins are named by their lower edge, which is below most of what they hold."""
    held = Histogram.of(np.array([0.5, 1, 1, 20]) / n_actions)
    assert [held.below(times / n_actions) for times in (0.5, 1, 10, 30)] == [0, 1, 3, 4]


@given(st.lists(st.integers(-64, 64), min_size=1, max_size=50))
def test_small_whole_numbers_are_exact(values: list[int]) -> None:
    found, counts = Histogram.of(np.array(values)).ranked()
    expected = np.unique(values, return_counts=True)
    assert (found.tolist(), counts.tolist()) == tuple(one.tolist() for one in expected)


@given(numbers)
def test_bars_hold_every_value(values: list[float]) -> None:
    edges, heights = Histogram.of(np.array(values)).bars(40)
    assert len(edges) == len(heights) + 1 and (np.diff(edges) > 0).all()
    assert heights.sum() == pytest.approx(len(values)) and (heights >= -1e-9).all()


def test_bars_of_whole_numbers_are_theirs() -> None:
    edges, heights = Histogram.of(np.array([1, 1, 3])).bars(40)
    assert edges.tolist() == [0.5, 1.5, 2.5, 3.5] and heights.tolist() == [2, 0, 1]


def test_columns_are_the_same_only_where_all_parts_say_so() -> None:
    rng = np.random.default_rng(0)
    parts = []
    for again in (True, False):
        rows = rng.normal(size=(6, 4)).astype(np.float32)
        rows[:-1, 1] = rows[1:, 0]
        rows[:, 3] = rows[:, 2] if again else rows[:, 3]
        parts.append(Columns.of(rows, np.array([False] * 5 + [True])))
    assert parts[0].twins() == [(2, 3)]
    assert parts[0].foretold() == [(1, 0)]
    both = parts[0].joined(parts[1])
    assert (both.twins(), both.foretold()) == ([], [(1, 0)])


def test_episodes_of_one_row_foretell_nothing() -> None:
    rows = np.ones((4, 2), np.float32)
    assert Columns.of(rows, np.ones(4, bool)).foretold() == []


def test_a_tally_goes_through_json_and_the_first_of_equals_stays() -> None:
    one = Tally({"rows": 2}, least=Extreme(1.0, 0, 5), most=Extreme(2.0, 0, 6))
    other = Tally({"rows": 3, "more": 1}, least=Extreme(1.0, 1, 0), most=Extreme(7.0, 1, 1))
    both = one.joined(other)
    assert both.counts == {"rows": 5, "more": 1}
    assert both.least == one.least and both.most == other.most
    assert Tally.from_json(json.loads(json.dumps(both.to_json()))) == both
    assert Tally({}).joined(both) == both == both.joined(Tally({}))
