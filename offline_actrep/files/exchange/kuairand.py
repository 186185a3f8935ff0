"""KuaiRand (Gao et al. 2022) -> a Log of videos shown in the app Kuaishou, some of them at random.

Read are all files `log_standard_*.csv` (what the app's recommenders showed) and `log_random_*.csv`
(videos that were put in their place at random), `user_features_*.csv` and
`video_features_basic_*.csv` of one version (Pure, 1K, 27K), from the folder given or its folder
`data`.

Episode: a session of a user: videos that follow each other by at most `pause_minutes`, cut after
`max_episode` rows (`offline_actrep.files.exchange.sessions` says how). Videos of one millisecond
are put in a random order, drawn from `seed`.

Action: `video_id`. Features: a bit each for the 32 most frequent tags, kind of video, of upload and
of music, one-hot, and log(1 + seconds) of the video.

Reward: by `reward`, one of the logged signals `is_click`, `is_like`, `is_follow`, `is_comment`,
`is_forward`, `long_view`; or `watch_ratio`, the share of the video that was watched, at most 5.

Observation: features, signals and rewards of the user's earlier videos and their times, as
`offline_actrep.files.exchange.histories` makes them, whether they were shown at random, the `tab`
of the app in which the video is about to be shown, one-hot, and the user as for KuaiRec.

Propensities: none. That a video was shown at random is logged, the probability is not.
"""

from pathlib import Path

import numpy as np
import polars as pl

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import (
    Column,
    read_table,
    refuse_repeats,
    refuse_rows,
    refuse_unknown,
)
from offline_actrep.files.exchange.histories import many_hot, one_hot
from offline_actrep.files.exchange.kuaishou import (
    MOST_WATCH_RATIO,
    USERS,
    common_tags,
    feed_log,
    log_lengths,
    tags,
)
from offline_actrep.files.exchange.sessions import at_least, by_pause, keep_users, one_of

_SIGNALS = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "long_view")
_TOLD = [*_SIGNALS, "is_hate", "is_rand"]
_LATEST_MS = 2**43
_LOG = (
    Column("user_id", "integer"),
    Column("video_id", "integer"),
    Column("time_ms", "integer", low=0, high=_LATEST_MS),
    *(Column(name, "integer", among=(0, 1)) for name in _TOLD),
    Column("play_time_ms", "number", low=0),
    Column("duration_ms", "number", low=0),
    Column("tab", "integer", low=0, high=100),
)
_VIDEOS = (
    Column("video_id", "integer"),
    Column("video_type", "text", may_be_null=True),
    Column("upload_type", "text", may_be_null=True),
    Column("music_type", "number", may_be_null=True),
    Column("tag", "text", may_be_null=True),
)
_MOST_TAGS, _MOST_KINDS = 32, 8
_KINDS = {"standard": ("standard",), "random": ("random",), "both": ("random", "standard")}


def read_kuairand(
    folder: str | Path,
    *,
    logs: str = "both",
    reward: str = "is_click",
    recent: int = 3,
    pause_minutes: float = 30.0,
    max_episode: int = 50,
    max_users: int | None = None,
    seed: int = 0,
) -> Log:
    """Reads the logs in `folder`; every video shown to the users read is a row.

    Args:
        folder: an unpacked version, or its `data`.
        logs: `standard`, `random`, or `both`, which alone has a user's videos without holes.
        reward: as above.
        recent: how many of the last videos the observation tells one by one.
        pause_minutes: a longer pause ends a session.
        max_episode: most rows of an episode.
        max_users: that many users are drawn; None reads all. A row takes some
            `8 (recent + 1) 60` bytes.
        seed: draws the users, and the order of videos of one millisecond.

    Raises:
        ValueError: a setting that there is not or below its least value, a file or column that is
            absent, a cell that does not fit, a video or user that its table lacks or names twice, a
            video of no length where the reward is the share watched.
    """
    one_of("logs", logs, tuple(_KINDS))
    one_of("reward", reward, (*_SIGNALS, "watch_ratio"))
    at_least("recent", recent, 1)
    at_least("max_episode", max_episode, 2)
    at_least("pause_minutes", pause_minutes, 0)
    place = Path(folder)
    paths = [path for kind in _KINDS[logs] for path in _files(place, f"log_{kind}_*.csv")]
    users, users_path = _table(place, "user_features_*.csv", USERS)
    videos, videos_path = _table(place, "video_features_basic_*.csv", _VIDEOS)
    parts = []
    for path in paths:
        part = read_table(path, _LOG)
        refuse_unknown(path, part["video_id"], videos["video_id"], videos_path)
        refuse_unknown(path, part["user_id"], users["user_id"], users_path)
        if reward == "watch_ratio":
            mend = "choose another reward"
            none = part["duration_ms"] == 0
            refuse_rows(path, "duration_ms", none, "above 0", part["duration_ms"], mend)
        parts.append(part)
    events = _events(pl.concat(parts), reward, seed)
    events = by_pause(keep_users(events, max_users, seed=seed), pause_minutes)
    return feed_log(
        events,
        _action_set(videos, events),
        _TOLD,
        one_hot(events["tab"], 100, prefix="tab"),
        users,
        recent=recent,
        pause_minutes=pause_minutes,
        max_episode=max_episode,
    )


def _events(seen: pl.DataFrame, reward: str, seed: int) -> pl.DataFrame:
    ratio = pl.col("play_time_ms") / pl.col("duration_ms")
    earned = ratio.clip(upper_bound=MOST_WATCH_RATIO) if reward == "watch_ratio" else pl.col(reward)
    return seen.select(
        pl.col("user_id").alias("user"),
        pl.col("time_ms").alias("time"),
        pl.Series("tie", np.random.default_rng(seed).random(len(seen))),
        pl.col("video_id").alias("action"),
        pl.col("duration_ms").alias("duration"),
        earned.cast(pl.Float64).alias("reward"),
        *_TOLD,
        "tab",
    )


def _files(folder: Path, pattern: str) -> list[Path]:
    """In the folder or in its `data`, by name."""
    found = sorted(folder.glob(pattern)) or sorted((folder / "data").glob(pattern))
    if not found:
        raise ValueError(
            f"{folder} holds no {pattern}; get a version of KuaiRand from https://kuairand.com and "
            "unpack it"
        )
    return found


def _table(folder: Path, pattern: str, columns: tuple[Column, ...]) -> tuple[pl.DataFrame, Path]:
    """The one table of that name; ids once."""
    paths = _files(folder, pattern)
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"{folder} holds {names}; expected one version in a folder")
    table = read_table(paths[0], columns)
    refuse_repeats(paths[0], table[columns[0].name])
    if "tag" in table.columns:
        table = table.with_columns(tags(paths[0], table["tag"]).alias("tag"))
    return table, paths[0]


def _action_set(videos: pl.DataFrame, events: pl.DataFrame) -> ActionSet:
    """Ids by rising video."""
    known = log_lengths(events).join(videos, left_on="action", right_on="video_id", how="left")
    known = known.sort("action")
    bits, names = many_hot(known["tag"], common_tags(known["tag"], _MOST_TAGS), prefix="tag")
    blocks = [bits]
    for kind in ("video_type", "upload_type", "music_type"):
        block, own = one_hot(known[kind], _MOST_KINDS, prefix=kind)
        blocks.append(block)
        names += own
    blocks.append(known["log_seconds"].cast(pl.Float32).to_numpy()[:, None])
    return ActionSet(
        ids=known["action"].to_numpy(),
        features=np.hstack(blocks),
        feature_names=(*names, "log_seconds"),
    )
