"""Events cut into sessions and episodes, by hand."""

import numpy as np
import polars as pl
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.sessions import (
    at_least,
    by_name,
    by_pause,
    keep_users,
    one_of,
    sessions_log,
)

MINUTE = 60_000


def events(*rows: tuple[int, int, str]) -> pl.DataFrame:
    """User, minute, name of the session; action and tie are the row's place."""
    frame = pl.DataFrame(rows, schema=["user", "minute", "name"], orient="row")
    return frame.with_columns(
        (pl.col("minute") * MINUTE).cast(pl.Int64).alias("time"),
        pl.int_range(pl.len()).alias("action"),
        pl.int_range(pl.len()).alias("tie"),
        pl.lit(0.5).alias("reward"),
    )


def log_of(numbered: pl.DataFrame, *, max_episode: int, pause_minutes: float = 30.0) -> Log:
    seen = numbered["action"].cast(pl.Float32).to_numpy()[:, None].copy()
    return sessions_log(
        numbered,
        seen,
        ("action",),
        ActionSet.dense(len(numbered)),
        max_episode=max_episode,
        pause_minutes=pause_minutes,
    )


def everyone(frame: pl.DataFrame) -> pl.DataFrame:
    return keep_users(frame, None, seed=0)


def test_a_pause_ends_a_session_and_its_limit_does_not() -> None:
    numbered = by_pause(events((2, 5, ""), (1, 0, ""), (1, 30, ""), (1, 61, ""), (1, 30, "")), 30.0)
    assert numbered["user"].to_list() == [1, 1, 1, 1, 2]
    assert numbered["action"].to_list() == [1, 2, 4, 3, 0]
    assert numbered["session"].to_list() == [0, 0, 0, 1, 2]
    assert numbered["step"].to_list() == [0, 1, 2, 0, 0]
    assert numbered["length"].to_list() == [3, 3, 3, 1, 1]


def test_a_name_makes_a_session_though_two_overlap_and_users_share_it() -> None:
    numbered = by_name(
        events((1, 3, "b"), (1, 0, "a"), (1, 9, "a"), (1, 4, "b"), (2, 1, "a"), (1, 500, "a"))
    )
    assert numbered["name"].to_list() == ["a", "a", "a", "b", "b", "a"]
    assert numbered["minute"].to_list() == [0, 9, 500, 3, 4, 1]
    assert numbered["session"].to_list() == [0, 0, 0, 1, 1, 2]


def test_sessions_end_and_long_ones_go_on() -> None:
    """User 1 stays for five events and comes again; user 2 is there when the log ends."""
    rows = [(1, minute, "") for minute in (0, 1, 2, 3, 4, 100)] + [(2, 119, ""), (2, 120, "")]
    log = log_of(by_pause(everyone(events(*rows)), 30.0), max_episode=2)
    assert log.episode_ids.tolist() == ["1.0", "1.1", "1.2", "1.3", "2.0"]
    assert log.lengths.tolist() == [2, 2, 1, 1, 2]
    # the session at minute 100 may also have gone on: the log ends 20 minutes later
    assert log.terminated.tolist() == [False] * 4 + [True, False, False, False]
    assert log.truncated.tolist() == [False, True, False, True, False, True, False, True]
    assert log.has_next.tolist() == [True, True, True, True, False, False, True, False]
    assert log.next_observations[:, 0].tolist() == [1, 2, 3, 4, 4, 5, 7, 7]
    assert log.timestamps is not None
    assert log.timestamps[5] == np.datetime64("1970-01-01T01:40")


def test_an_hour_before_the_end_a_session_is_over() -> None:
    log = log_of(by_pause(everyone(events((1, 0, ""), (2, 30, ""))), 30.0), max_episode=2)
    assert log.terminated.tolist() == [True, False]


def test_the_log_ends_with_the_last_of_all_users_whoever_is_drawn() -> None:
    frame = events(*[(user, 1000 * user, "") for user in range(6)])
    ends = []
    for seed in range(8):
        drawn = keep_users(frame, 1, seed=seed).with_columns(action=pl.lit(0))
        log = log_of(by_pause(drawn, 30.0), max_episode=2)
        (id_,) = log.episode_ids.tolist()
        ends.append(bool(log.terminated[0]))
        assert ends[-1] == (id_ != "5.0")
    assert any(ends)


def test_users_are_drawn_whole_and_repeat_with_the_seed() -> None:
    frame = events(*[(user, minute, "") for user in range(20) for minute in range(3)])
    drawn = [keep_users(frame, 5, seed=seed)["user"] for seed in (0, 0, 1)]
    assert drawn[0].n_unique() == 5
    assert len(drawn[0]) == 15
    assert drawn[0].to_list() == drawn[1].to_list() != drawn[2].to_list()
    assert keep_users(frame, None, seed=0).drop("log_end").equals(frame)
    assert len(keep_users(frame, 100, seed=0)) == 60
    with pytest.raises(ValueError, match="max_users must be at least 1, got 0"):
        keep_users(frame, 0, seed=0)


def test_settings() -> None:
    at_least("recent", 1, 1)
    with pytest.raises(ValueError, match="recent must be at least 1, got nan"):
        at_least("recent", float("nan"), 1)
    with pytest.raises(ValueError, match="reward must be one of a, b; got 'c'"):
        one_of("reward", "c", ("a", "b"))
