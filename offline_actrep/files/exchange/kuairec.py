"""KuaiRec (Gao et al. 2022) -> a Log of videos watched in the app Kuaishou.

Read are `big_matrix.csv` or `small_matrix.csv`, `item_categories.csv` and `user_features.csv`, from
the folder given or its folder `data`. In the small matrix nearly every user has seen nearly every
video.

Episode: a session of a user: videos that follow each other by at most `pause_minutes`, cut after
`max_episode` rows (`offline_actrep.files.exchange.sessions` says how). Videos of one millisecond
are put in a random order, drawn from `seed`.

Action: `video_id`. Features: a bit a tag, and log(1 + seconds) of the video.

Reward: by `reward`,

- `watch_ratio`: share of the video that was watched, above 1 if it ran again, at most 5
- `finished`: 1 where that is at least 1, else 0
- `liked`: 1 where it is above 2, as the publisher suggests, else 0

Observation: features and rewards of the user's earlier videos and their times, as
`offline_actrep.files.exchange.histories` makes them, and the user's `user_active_degree`,
`is_lowactive_period`, `is_live_streamer`, `is_video_author`, and ranges of follows, fans, friends
and days since registration, one-hot.
"""

from pathlib import Path

import numpy as np
import polars as pl

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import (
    Column,
    find_table,
    read_table,
    refuse_repeats,
    refuse_rows,
    refuse_unknown,
)
from offline_actrep.files.exchange.histories import many_hot
from offline_actrep.files.exchange.kuaishou import (
    MOST_WATCH_RATIO,
    USERS,
    common_tags,
    feed_log,
    log_lengths,
    tags,
)
from offline_actrep.files.exchange.sessions import at_least, by_pause, keep_users, one_of

_REWARDS = {
    "watch_ratio": pl.col("watch_ratio").clip(upper_bound=MOST_WATCH_RATIO),
    "finished": (pl.col("watch_ratio") >= 1).cast(pl.Float64),
    "liked": (pl.col("watch_ratio") > 2).cast(pl.Float64),
}
_LATEST_SECOND = 2**33
_MATRIX = (
    Column("user_id", "integer"),
    Column("video_id", "integer"),
    Column("video_duration", "number", low=0),
    Column("timestamp", "number", low=0, high=_LATEST_SECOND, may_be_null=True),
    Column("watch_ratio", "number", low=0),
)
_CATEGORIES = (Column("video_id", "integer"), Column("feat", "text"))
_MOST_TAGS = 64
_SOURCE = "get KuaiRec.zip from https://kuairec.com and unpack it"


def read_kuairec(
    folder: str | Path,
    *,
    matrix: str = "small",
    reward: str = "watch_ratio",
    untimed: str = "refuse",
    recent: int = 3,
    pause_minutes: float = 30.0,
    max_episode: int = 50,
    max_users: int | None = None,
    seed: int = 0,
) -> Log:
    """Reads a matrix in `folder`; every video shown to the users read is a row.

    Args:
        folder: the unpacked archive, or its `data`.
        matrix: `small` or `big`.
        reward: `watch_ratio`, `finished` or `liked`, as above.
        untimed: what to do with rows that have no time: `refuse`, which says how many there are, or
            `drop`.
        recent: how many of the last videos the observation tells one by one.
        pause_minutes: a longer pause ends a session.
        max_episode: most rows of an episode.
        max_users: that many users are drawn; None reads all. A row takes about
            `8 (recent + 1) (tags + 2)` bytes: draw users from the big matrix.
        seed: draws the users, and the order of videos of one millisecond.

    Raises:
        ValueError: a setting that there is not or below its least value, a file or column that is
            absent, a cell that does not fit, a row without a time, a video or user that its table
            lacks or names twice.
    """
    one_of("matrix", matrix, ("small", "big"))
    one_of("reward", reward, tuple(_REWARDS))
    one_of("untimed", untimed, ("refuse", "drop"))
    at_least("recent", recent, 1)
    at_least("max_episode", max_episode, 2)
    at_least("pause_minutes", pause_minutes, 0)
    seen, videos, users = _read(Path(folder), matrix, untimed)
    rng = np.random.default_rng(seed)
    events = seen.select(
        pl.col("user_id").alias("user"),
        (pl.col("timestamp") * 1000).round().cast(pl.Int64).alias("time"),
        pl.Series("tie", rng.random(len(seen))),
        pl.col("video_id").alias("action"),
        pl.col("video_duration").alias("duration"),
        _REWARDS[reward].alias("reward"),
    )
    events = by_pause(keep_users(events, max_users, seed=seed), pause_minutes)
    return feed_log(
        events,
        _action_set(videos, events),
        [],
        None,
        users,
        recent=recent,
        pause_minutes=pause_minutes,
        max_episode=max_episode,
    )


def _read(
    folder: Path, matrix: str, untimed: str
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """What was seen, videos with their tags, and users."""
    path, videos_path, users_path = (
        find_table(folder, (name, f"data/{name}"), _SOURCE)
        for name in (f"{matrix}_matrix.csv", "item_categories.csv", "user_features.csv")
    )
    seen = read_table(path, _MATRIX)
    videos = read_table(videos_path, _CATEGORIES)
    refuse_repeats(videos_path, videos["video_id"])
    videos = videos.with_columns(tags(videos_path, videos["feat"]).alias("feat"))
    users = read_table(users_path, USERS)
    refuse_repeats(users_path, users["user_id"])
    refuse_unknown(path, seen["video_id"], videos["video_id"], videos_path)
    refuse_unknown(path, seen["user_id"], users["user_id"], users_path)
    timeless = seen["timestamp"].is_null()
    if untimed == "refuse":
        mend = "read the file with untimed='drop', which leaves these rows out"
        refuse_rows(path, "timestamp", timeless, "a time", seen["timestamp"], mend)
    kept = seen.filter(~timeless)
    if not len(kept):
        raise ValueError(f"{path}, column 'timestamp': no row has a time, expected at least one")
    return kept, videos, users


def _action_set(videos: pl.DataFrame, events: pl.DataFrame) -> ActionSet:
    """Ids by rising video."""
    known = log_lengths(events).join(videos, left_on="action", right_on="video_id", how="left")
    known = known.sort("action")
    bits, names = many_hot(known["feat"], common_tags(known["feat"], _MOST_TAGS), prefix="tag")
    return ActionSet(
        ids=known["action"].to_numpy(),
        features=np.column_stack([bits, known["log_seconds"].to_numpy()]).astype(np.float32),
        feature_names=(*names, "log_seconds"),
    )
