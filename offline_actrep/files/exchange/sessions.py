"""Events of users -> sessions -> episodes of a log.

An importer of a log of events (a film rated, a video shown, a product looked at) makes a table of
them with the columns `user`, `time` (milliseconds since 1970, UTC), `tie` (order of events of one
time), `action` (the id as logged) and `reward`. Here it is cut into sessions, and sessions become
episodes:

- a session ends `terminated`: the user went away and nothing more was earned in it;
- a session that may not have ended when the log did, because its last event lies less than a pause
  before the last of all, ends `truncated`, and what came next is unknown;
- a session longer than the most rows an episode may have goes on in a further episode; the row
  before the cut is `truncated` and has its true next observation. Nothing is left out.

An episode's id is `USER.K`, the K-th episode of that user from 0, so that a split by users can be
made from the ids.
"""

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log

MS = 1000
"""Milliseconds in a second."""


def keep_users(events: pl.DataFrame, max_users: int | None, *, seed: int) -> pl.DataFrame:
    """All events of at most so many users, drawn at random; of all users where it is None.

    Adds `log_end`, the time of the last event of all: whom the draw leaves out says, too, how long
    the log went on.

    Raises:
        ValueError: fewer than one user.
    """
    events = events.with_columns(pl.col("time").max().alias("log_end"))
    if max_users is None:
        return events
    at_least("max_users", max_users, 1)
    users = events["user"].unique().sort()
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(users))[:max_users]
    return events.filter(pl.col("user").is_in(users[np.sort(kept)].implode()))


def by_pause(events: pl.DataFrame, pause_minutes: float) -> pl.DataFrame:
    """Events in the order of the log; a session ends where its user pauses for longer than this.

    Adds `session` (0, 1, ..), `step` (0, 1, .. within it) and `length`.
    """
    user, time = pl.col("user"), pl.col("time")
    pauses = (time - time.shift(1)) > round(pause_minutes * 60 * MS)
    begins = (pauses | (user != user.shift(1))).fill_null(True)
    return _number(events.sort("user", "time", "tie"), begins)


def by_name(events: pl.DataFrame) -> pl.DataFrame:
    """As `by_pause`, where the log itself names the sessions of a user in the column `name`."""
    user, name = pl.col("user"), pl.col("name")
    ranked = events.with_columns(pl.col("time").min().over("user", "name").alias("first")).sort(
        "user", "first", "name", "time", "tie"
    )
    begins = ((user != user.shift(1)) | (name != name.shift(1))).fill_null(True)
    return _number(ranked.drop("first"), begins)


def _number(ordered: pl.DataFrame, begins: pl.Expr) -> pl.DataFrame:
    return ordered.with_columns(
        (begins.cum_sum().cast(pl.Int64) - 1).alias("session")
    ).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).over("session").alias("step"),
        pl.len().over("session").cast(pl.Int64).alias("length"),
    )


def sessions_log(
    events: pl.DataFrame,
    observations: Float32[np.ndarray, "N S"],
    names: tuple[str, ...],
    action_set: ActionSet,
    *,
    max_episode: int,
    pause_minutes: float,
) -> Log:
    """The log of numbered events of `keep_users`, a row an event, with what was known before it."""
    step, length = events["step"].to_numpy(), events["length"].to_numpy()
    leaves = step + 1 == length
    is_open = _may_go_on(events, pause_minutes)
    cut = ((step + 1) % max_episode == 0) & ~leaves
    begins = np.flatnonzero(step % max_episode == 0)
    rows = np.arange(len(events))
    has_next = ~leaves
    return Log(
        action_set=action_set,
        observations=observations,
        actions=action_set.encode(events["action"].to_numpy()),
        rewards=events["reward"].cast(pl.Float32).to_numpy(writable=True),
        terminated=leaves & ~is_open,
        truncated=cut | (leaves & is_open),
        next_observations=observations[np.where(has_next, rows + 1, rows)],
        has_next=has_next,
        episode_offsets=np.append(begins, len(events)).astype(np.int64),
        episode_ids=_episode_ids(events, begins),
        timestamps=events["time"].cast(pl.Datetime("ms")).to_numpy(writable=True),
        observation_names=names,
    )


def _may_go_on(events: pl.DataFrame, pause_minutes: float) -> Bool[np.ndarray, " N"]:
    """Rows of sessions whose last event lies less than a pause before the end of the log."""
    last = pl.col("time").last().over("session")
    since = pl.col("log_end") - last
    return events.select(since < round(pause_minutes * 60 * MS)).to_series().to_numpy()


def _episode_ids(events: pl.DataFrame, begins: np.ndarray) -> np.ndarray:
    of = events.select("user")[begins]
    number = pl.int_range(pl.len()).over("user")
    ids = pl.concat_str(pl.col("user").cast(pl.String), number.cast(pl.String), separator=".")
    return of.select(ids).to_series().to_numpy().astype(np.str_)


def at_least(name: str, value: float | int, least: float | int) -> None:
    """Refuses a setting below its least value.

    Raises:
        ValueError: names the setting.
    """
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuses a setting that is not one of its choices.

    Raises:
        ValueError: names the setting and the choices.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
