"""FQE against what was earned, by hand."""

import numpy as np
import pytest
from invented import a_row

from offline_actrep.bench import figures
from offline_actrep.bench.plan import Cell
from offline_actrep.bench.selection import Selection, selection

CELL = Cell("maze", "medium")
ROWS = [
    a_row("a", CELL, 1, 0.5, discounted_return=10.0, fqe=12.0, chosen_normalised=0.7),
    a_row("a", CELL, 2, 0.5, discounted_return=20.0, fqe=15.0, chosen_normalised=0.5),
    a_row("b", CELL, 1, 0.5, discounted_return=30.0, fqe=14.0, chosen_normalised=0.4),
    a_row("b", CELL, 2, 0.5, discounted_return=40.0, fqe=-900.0, chosen_normalised=0.505),
]


def test_by_hand() -> None:
    found = selection(ROWS)
    assert found is not None and found.methods == ["a", "a", "b", "b"]
    said = found.as_dict()
    # ranks 1 2 3 4 and 2 4 3 1: squares of differences 1, 4, 0 and 9
    assert said["rank_correlation"] == pytest.approx(1 - 6 * 14 / (4 * 15))
    assert said["median_error"] == pytest.approx((5 + 16) / 2)
    assert (said["rows"], said["better"], said["worse"]) == (4, 1, 1)
    assert said["mean_gain"] == pytest.approx((0.2 + 0.0 - 0.1 + 0.005) / 4)


def test_rows_that_fqe_did_not_judge_are_left_out() -> None:
    found = selection([*ROWS[:3], ROWS[3].without_fqe()])
    assert found is not None and found.earned.tolist() == [10.0, 20.0, 30.0]
    assert selection([row.without_fqe() for row in ROWS]) is None


def test_no_order_among_equals() -> None:
    level = Selection(["a", "b"], np.full(2, 3.0), np.array([1.0, 2.0]), np.zeros(2))
    assert level.rank_correlation is None
    alone = selection(ROWS[:1])
    assert alone is not None and alone.rank_correlation is None


def test_marks_lie_at_what_was_earned_and_runaways_at_the_edge() -> None:
    found = selection(ROWS)
    assert found is not None
    figure = figures.against_truth({"maze-medium": found}, ["a"])
    (ax,) = figure.axes
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in marks] == [10.0, 20.0, 30.0, 40.0]
    low, high = ax.get_ylim()
    assert [float(line.get_ydata()[0]) for line in marks] == [12.0, 15.0, 14.0, pytest.approx(low)]
    assert low == pytest.approx(0 - 20 - 2) and high == pytest.approx(40 + 20 + 2)
    assert [line.get_markerfacecolor() == "none" for line in marks] == [False, False, False, True]
    names = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert names == ["a", "other methods"]


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        figures.against_truth({}, [])
