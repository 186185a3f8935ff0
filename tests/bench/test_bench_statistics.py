"""Intervals: rliable's numbers, seeded, and honest about one seed."""

import numpy as np
import pytest
from rliable import metrics

from offline_actrep.bench import statistics
from offline_actrep.bench.statistics import decline, decline_gap, improvements, iqms, profiles

DRAWS = np.random.default_rng(0)
ONE = DRAWS.normal(0.5, 0.1, (5, 3))
TWO = DRAWS.normal(0.4, 0.1, (5, 3))


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "RESAMPLES", 300)


def test_the_middle_is_rliables() -> None:
    found = iqms({"one": ONE, "two": TWO, "short": ONE[:3]})
    for name, matrix in (("one", ONE), ("two", TWO), ("short", ONE[:3])):
        assert found[name].value == pytest.approx(metrics.aggregate_iqm(matrix))
        assert found[name].low < found[name].value < found[name].high
        assert found[name].n == len(matrix)


def test_the_interval_is_that_of_a_bootstrap_of_seeds_within_tasks() -> None:
    reach = np.array([0.0, 10.0])  # two tasks that have nothing in common
    tight = DRAWS.normal(0.0, 0.01, (5, 2)) + reach
    found = iqms({"one": tight})["one"]
    assert found.high - found.low < 0.1, "seeds of one task do not stand in for another's"


def test_one_seed_knows_nothing_of_its_spread() -> None:
    found = iqms({"one": ONE[:1]})["one"]
    assert (found.low, found.high) == (-np.inf, np.inf)
    pair = improvements({"p": (ONE[:1], TWO)})["p"]
    assert (pair.low, pair.high) == (-np.inf, np.inf)
    assert decline(ONE[:1], np.arange(3.0)).high == np.inf
    assert decline_gap(ONE[:1], TWO, np.arange(3.0)).high == np.inf


def test_the_same_seed_gives_the_same_interval_and_the_callers_generator_stays() -> None:
    np.random.seed(7)
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    first = iqms({"one": ONE})
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
    np.random.seed(8)
    assert iqms({"one": ONE}) == first
    assert iqms({"one": ONE}, seed=1) != first


def test_what_else_is_there_moves_no_interval() -> None:
    alone = iqms({"one": ONE})["one"]
    assert iqms({"two": TWO, "one": ONE, "three": -ONE})["one"] == alone
    pair = improvements({"p": (ONE, TWO)})["p"]
    assert improvements({"q": (TWO, ONE), "p": (ONE, TWO)})["p"] == pair


def test_the_probability_of_improvement_is_rliables() -> None:
    ties = np.round(ONE, 1), np.round(TWO[:4], 1)
    found = improvements({"plain": (ONE, TWO), "ties": ties, "same": (ONE, ONE)})
    assert found["plain"].value == pytest.approx(metrics.probability_of_improvement(ONE, TWO))
    assert found["ties"].value == pytest.approx(metrics.probability_of_improvement(*ties))
    assert found["same"].value == 0.5
    sure = improvements({"sure": (TWO + 9, TWO)})["sure"]
    assert (sure.value, sure.low, sure.high) == (1.0, 1.0, 1.0)


def test_profiles_count_the_runs_above() -> None:
    found = profiles({"one": np.array([[0.0, 1.0], [0.0, 3.0]])}, np.array([-1.0, 0.0, 2.0, 3.0]))
    assert found["one"].share.tolist() == [1.0, 0.5, 0.25, 0.0]
    assert (found["one"].low <= found["one"].share).all()
    assert (found["one"].share <= found["one"].high).all()


def test_a_decline_is_the_slope() -> None:
    places = np.array([3.0, 4.0, 6.0])
    falling = np.tile(1.0 - 0.25 * places, (4, 1))
    assert decline(falling, places).value == pytest.approx(0.25)
    gap = decline_gap(falling, np.ones((3, 3)), places)
    assert gap.value == pytest.approx(0.25) and gap.low == pytest.approx(gap.high)
