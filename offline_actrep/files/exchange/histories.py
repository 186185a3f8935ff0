"""What was known before each event of a user: the state of importers of event logs.

An importer says what a later state may tell of an event (features of its item, what it earned) as
one row of numbers, `told`. From it, and from the times of earlier events, this module makes the
observation. Of an event's own row nothing enters but when its session began, to the hour:

- `last1 X`, `last2 X`, ..: what is told of the last event of the session, the one before it, ..;
  zeros where the session is younger
- `mean X`: its mean over the session so far, zeros at the beginning
- `log_steps`: log(1 + events of the session so far)
- `log_seconds_between_last_two`: log(1 + seconds) between the last event and the one before it, 0
  where there are not two. The time since the last event is left out on purpose: many logs do not
  say whether an event's time is when it began or when it ended, and in the second case that time
  would tell how long the user stayed, which may be the reward.
- `log_hours_since_last_session`: log(1 + hours) between the session's first event and the user's
  last event before it, in half hours rounded down, at most 90 days; 90 days where there is none
- `log_events_before`: log(1 + events of the user before the session began)
- `usual_reward`: their mean reward, 0 where there are none
- `first_session`: 1 where there are none
- `hour_sin`, `hour_cos`, `weekday_sin`, `weekday_cos`: UTC, at the session's first event, to the
  hour
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

_LONGEST_ABSENCE_HOURS = 90 * 24
_HOUR_MS = 3_600_000


def history(
    events: pl.DataFrame,
    told: Float32[np.ndarray, "N F"],
    told_names: Sequence[str],
    recent: int,
) -> tuple[Float32[np.ndarray, "N S"], tuple[str, ...]]:
    """The state before each event and the names of its columns: S = F (recent + 1) + 10.

    Args:
        events: numbered events in the order of the log, with `user`, `time`, `session`, `step` and
            `reward`.
        told: what later states tell of each event.
        told_names: a name a column of it.
        recent: how many of the last events are told one by one.
    """
    step = events["step"].to_numpy()
    blocks = [before(told, step, back) for back in range(1, recent + 1)]
    names = [f"last{back} {name}" for back in range(1, recent + 1) for name in told_names]
    blocks.append(mean_before(told, step))
    names += [f"mean {name}" for name in told_names]
    for frame in (_within(events), _sessions(events)[events["session"]]):
        blocks.append(frame.cast(pl.Float32).to_numpy())
        names += frame.columns
    return np.hstack(blocks), tuple(names)


def before(
    told: Float32[np.ndarray, "N F"], step: Int64[np.ndarray, " N"], back: int
) -> Float32[np.ndarray, "N F"]:
    """What is told of the event `back` steps before; zeros where the session is younger."""
    block = np.zeros_like(told)
    rows = np.flatnonzero(step >= back)
    block[rows] = told[rows - back]
    return block


def mean_before(
    told: Float32[np.ndarray, "N F"], step: Int64[np.ndarray, " N"]
) -> Float32[np.ndarray, "N F"]:
    """Mean of what is told of the session's events so far; zeros at its beginning."""
    totals = np.zeros((len(told) + 1, told.shape[1]))
    np.cumsum(told, axis=0, dtype=np.float64, out=totals[1:])
    rows = np.arange(len(told))
    sums = totals[rows] - totals[rows - step]
    return (sums / np.maximum(step, 1)[:, None]).astype(np.float32)


def _within(events: pl.DataFrame) -> pl.DataFrame:
    time = pl.col("time")
    seconds = (time.shift(1) - time.shift(2)).over("session") / 1000
    return events.select(
        pl.col("step").cast(pl.Float64).log1p().alias("log_steps"),
        seconds.fill_null(0).log1p().alias("log_seconds_between_last_two"),
    )


def _sessions(events: pl.DataFrame) -> pl.DataFrame:
    """A row a session: its beginning, and its user's events before that."""
    begins = events.filter(pl.col("step") == 0).select("user", "session", "time").sort("time")
    earlier = events.sort("user", "time", maintain_order=True).select(
        "user",
        "time",
        pl.col("time").alias("last_time"),
        (pl.int_range(pl.len()).over("user") + 1).alias("count"),
        pl.col("reward").cum_sum().over("user").alias("earned"),
    )
    known = begins.join_asof(
        earlier.sort("time", maintain_order=True),
        on="time",
        by="user",
        allow_exact_matches=False,
        check_sortedness=False,
    ).sort("session")
    hours = ((pl.col("time") - pl.col("last_time")) // (_HOUR_MS // 2)).cast(pl.Float64) / 2
    return known.select(
        hours.fill_null(_LONGEST_ABSENCE_HOURS)
        .clip(upper_bound=_LONGEST_ABSENCE_HOURS)
        .log1p()
        .alias("log_hours_since_last_session"),
        pl.col("count").fill_null(0).cast(pl.Float64).log1p().alias("log_events_before"),
        (pl.col("earned") / pl.col("count")).fill_null(0).alias("usual_reward"),
        pl.col("count").is_null().alias("first_session"),
        *clock(pl.col("time").cast(pl.Datetime("ms"))),
    )


def clock(moment: pl.Expr) -> tuple[pl.Expr, ...]:
    """Where on the circles of a day and a week a time in UTC lies, to the hour."""
    hour = moment.dt.hour() * (2 * np.pi / 24)
    weekday = (moment.dt.weekday() - 1) * (2 * np.pi / 7)
    return (
        hour.sin().alias("hour_sin"),
        hour.cos().alias("hour_cos"),
        weekday.sin().alias("weekday_sin"),
        weekday.cos().alias("weekday_cos"),
    )


def one_hot(
    values: pl.Series, most: int, *, prefix: str
) -> tuple[Float32[np.ndarray, "N D"], list[str]]:
    """A column a value for the `most` most frequent; all others and nulls share `PREFIX=OTHER`.

    Of values equally frequent the first in alphabetical order is taken. `PREFIX=OTHER` is left out
    where nothing falls to it.
    """
    text = values.cast(pl.String).rename("value")
    counts = text.drop_nulls().value_counts(name="rows")
    kept = counts.sort("rows", "value", descending=[True, False])["value"].head(most).sort()
    columns = [(text == value).fill_null(False) for value in kept]
    names = [f"{prefix}={value}" for value in kept]
    other = ~text.is_in(kept.implode()).fill_null(False)
    if other.any():
        columns.append(other)
        names.append(f"{prefix}=OTHER")
    stacked = np.stack([column.to_numpy() for column in columns], axis=1)
    return stacked.astype(np.float32), names


def many_hot(
    lists: pl.Series, values: Sequence[str] | Sequence[int], *, prefix: str
) -> tuple[Float32[np.ndarray, "N D"], list[str]]:
    """A column a value, 1 where the row's list holds it."""
    block = np.zeros((len(lists), len(values)), np.float32)
    for place, value in enumerate(values):
        block[:, place] = lists.list.contains(value).to_numpy()
    return block, [f"{prefix}={value}" for value in values]
