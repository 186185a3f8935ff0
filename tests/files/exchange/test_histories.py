"""What was known before each event, by hand."""

import numpy as np
import polars as pl
import pytest

from offline_actrep.files.exchange.histories import (
    before,
    history,
    many_hot,
    mean_before,
    one_hot,
)
from offline_actrep.files.exchange.sessions import by_name, by_pause

HOUR = 3_600_000
MONDAY = 4 * 24 * HOUR  # 1970-01-05


def numbered() -> pl.DataFrame:
    """User 1: two sessions, the second 47.6 hours after the first; user 2: one event."""
    first = [(1, MONDAY + 6 * HOUR + second * 1000, 1.0 + second) for second in (0, 3, 10)]
    later = MONDAY + 6 * HOUR + 10_000 + int(47.6 * HOUR)
    rows = [*first, (1, later, 7.0), (2, later, 9.0)]
    frame = pl.DataFrame(rows, schema=["user", "time", "reward"], orient="row")
    return by_pause(frame.with_columns(tie=pl.lit(0)), 30.0)


TOLD = np.array([[1, 10], [2, 20], [4, 40], [8, 80], [16, 160]], np.float32)


def test_the_third_event_by_hand() -> None:
    observations, names = history(numbered(), TOLD, ("a", "b"), 2)
    assert observations.shape == (5, 2 * 3 + 10)
    third = dict(zip(names, observations[2].tolist(), strict=True))
    assert third == pytest.approx(
        {
            "last1 a": 2,
            "last1 b": 20,
            "last2 a": 1,
            "last2 b": 10,
            "mean a": 1.5,
            "mean b": 15,
            "log_steps": np.log(3),
            "log_seconds_between_last_two": np.log(4),
            "log_hours_since_last_session": np.log(1 + 90 * 24),
            "log_events_before": 0,
            "usual_reward": 0,
            "first_session": 1,
            "hour_sin": 1,
            "hour_cos": 0,
            "weekday_sin": 0,
            "weekday_cos": 1,
        },
        abs=1e-6,
    )


def test_a_later_session_knows_the_ones_before() -> None:
    observations, names = history(numbered(), TOLD, ("a", "b"), 2)
    fourth = dict(zip(names, observations[3].tolist(), strict=True))
    assert [fourth[name] for name in names[:8]] == [0.0] * 8
    assert fourth["log_hours_since_last_session"] == pytest.approx(np.log(1 + 47.5))
    assert fourth["log_events_before"] == pytest.approx(np.log(4))
    assert fourth["usual_reward"] == pytest.approx((1 + 4 + 11) / 3)
    assert fourth["first_session"] == 0
    of_another_user = dict(zip(names, observations[4].tolist(), strict=True))
    assert of_another_user["first_session"] == 1


def test_of_overlapping_sessions_nothing_is_told_that_comes_later() -> None:
    """Session b begins while a goes on; what a earns after that is unknown to b."""
    rows = [("a", 0, 1.0), ("a", 5 * HOUR, 100.0), ("b", HOUR, 0.0), ("b", 6 * HOUR, 0.0)]
    frame = pl.DataFrame(rows, schema=["name", "time", "reward"], orient="row")
    events = by_name(frame.with_columns(user=pl.lit(1), tie=pl.lit(0)))
    observations, names = history(events, np.zeros((4, 1), np.float32), ("x",), 1)
    usual = observations[:, names.index("usual_reward")].tolist()
    assert usual == [0, 0, 1, 1]
    assert observations[2, names.index("log_hours_since_last_session")] == pytest.approx(np.log(2))


def test_events_of_one_moment_do_not_count_as_earlier() -> None:
    rows = [("a", 0, 1.0), ("b", 0, 1.0)]
    frame = pl.DataFrame(rows, schema=["name", "time", "reward"], orient="row")
    events = by_name(frame.with_columns(user=pl.lit(1), tie=pl.lit(0)))
    observations, names = history(events, np.zeros((2, 1), np.float32), ("x",), 1)
    assert observations[:, names.index("first_session")].tolist() == [1, 1]


def test_before_and_mean_before_do_not_reach_over_a_beginning() -> None:
    step = np.array([0, 1, 2, 0, 1])
    assert before(TOLD, step, 1)[:, 0].tolist() == [0, 1, 2, 0, 8]
    assert before(TOLD, step, 2)[:, 0].tolist() == [0, 0, 1, 0, 0]
    assert mean_before(TOLD, step)[:, 1].tolist() == [0, 10, 15, 0, 80]


def test_one_hot_of_the_most_frequent() -> None:
    values = pl.Series(["b", "b", "c", "a", None, "d"])
    block, names = one_hot(values, 2, prefix="x")
    assert names == ["x=a", "x=b", "x=OTHER"]
    assert block.argmax(axis=1).tolist() == [1, 1, 2, 0, 2, 2]
    assert (block.sum(axis=1) == 1).all()
    assert one_hot(pl.Series([3, 4, 3]), 2, prefix="x")[1] == ["x=3", "x=4"]
    assert one_hot(pl.Series([None, None], dtype=pl.String), 2, prefix="x")[1] == ["x=OTHER"]


def test_many_hot() -> None:
    block, names = many_hot(
        pl.Series([[1, 3], [], [2]], dtype=pl.List(pl.Int64)), [1, 3], prefix="t"
    )
    assert names == ["t=1", "t=3"]
    assert block.tolist() == [[1, 1], [0, 0], [0, 0]]
    assert many_hot(pl.Series([[1]]), [], prefix="t")[0].shape == (1, 0)
