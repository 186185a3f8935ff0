"""What the two logs of the video app Kuaishou have in common: users, tags, lengths.

KuaiRec and KuaiRand describe their users by the same columns and list a video's tags as numbers.
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import Column, refuse_rows
from offline_actrep.files.exchange.histories import history, one_hot
from offline_actrep.files.exchange.sessions import sessions_log

MOST_WATCH_RATIO = 5.0
"""A share of a video watched counts up to this: some were left running for hours."""
_DESCRIBED = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
_MOST_KINDS = 10

USERS = (
    Column("user_id", "integer"),
    *(Column(name, "text", may_be_null=True) for name in _DESCRIBED),
)
"""What is read of a user. The numbers behind the ranges, and encrypted features, are not."""


def tags(path: Path, cells: pl.Series) -> pl.Series:
    """`[27, 9]` or `27,9` or nothing -> the numbers.

    Raises:
        ValueError: a cell that is written otherwise; says its row.
    """
    text = cells.fill_null("").str.strip_chars(" []")
    wrong = ~text.str.contains(r"^(-?\d{1,9}(\s*,\s*-?\d{1,9})*)?$")
    mend = "drop the row, or get the file again"
    refuse_rows(path, cells.name, wrong, "whole numbers with commas between", cells, mend)
    return text.str.extract_all(r"-?\d+").cast(pl.List(pl.Int64))


def common_tags(lists: pl.Series, most: int) -> list[int]:
    """The most frequent tags, ascending; of equally frequent ones the least."""
    counts = lists.explode().drop_nulls().rename("tag").value_counts(name="rows")
    ranked = counts.sort("rows", "tag", descending=[True, False])
    return ranked["tag"].head(most).sort().to_list()


def log_lengths(events: pl.DataFrame) -> pl.DataFrame:
    """`action` and log(1 + seconds) of each video: the median of what its events say."""
    seconds = pl.col("duration").median() / 1000
    return events.group_by("action").agg(seconds.log1p().alias("log_seconds")).sort("action")


def feed_log(
    events: pl.DataFrame,
    action_set: ActionSet,
    signals: list[str],
    context: tuple[Float32[np.ndarray, "N C"], list[str]] | None,
    users: pl.DataFrame,
    *,
    recent: int,
    pause_minutes: float,
    max_episode: int,
) -> Log:
    """The log of videos shown to users, in the order of `events`, which `by_pause` numbered.

    Args:
        events: numbered events, with the `signals`.
        action_set: with features.
        signals: columns of the events that a later state may tell, besides video and reward.
        context: what was known before the video, and its names.
        users: a row a user.
        recent: how many of the last videos the observation tells one by one.
        pause_minutes: a longer pause ended a session.
        max_episode: most rows of an episode.
    """
    assert action_set.features is not None
    told = np.column_stack(
        [
            action_set.features[action_set.encode(events["action"].to_numpy())],
            events.select(pl.col([*signals, "reward"]).cast(pl.Float32)).to_numpy(),
        ]
    )
    names = (*action_set.feature_names, *signals, "reward")
    observations, columns = history(events, told, names, recent)
    for block, own in ([context] if context else []) + [_who(events, users)]:
        observations, columns = np.hstack([observations, block]), (*columns, *own)
    return sessions_log(
        events,
        observations,
        columns,
        action_set,
        max_episode=max_episode,
        pause_minutes=pause_minutes,
    )


def _who(events: pl.DataFrame, users: pl.DataFrame) -> tuple[Float32[np.ndarray, "N D"], list[str]]:
    """What is known of the user of each event, one-hot."""
    known = events.select("user").join(
        users, left_on="user", right_on="user_id", how="left", maintain_order="left"
    )
    blocks, names = [], []
    for name in _DESCRIBED:
        block, own = one_hot(known[name], _MOST_KINDS, prefix=name)
        blocks.append(block)
        names += own
    return np.hstack(blocks), names
