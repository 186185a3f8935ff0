"""Events of a multi-category store (REES46) -> a Log of visits.

Read are monthly files `*.csv` with the columns `event_time, event_type, product_id, category_id,
category_code, brand, price, user_id, user_session`.

Episode: a visit, `user_session` of a user, cut after `max_episode` rows
(`offline_actrep.files.exchange.sessions` says how). Events of one second stay in the order of the
file, which is one of time.

Action: `product_id`, whatever was done with it: the user looked at it, put it into the cart, took
it out or bought it. Features: the first part of `category_code` (`electronics` of
`electronics.smartphone`) and the brand, one-hot, the 20 most frequent of each, and log(1 + price),
the median of the prices seen.

Reward: by `reward`,

- `sales`: the price, where the event is a purchase, else 0
- `purchases`: 1 where the event is a purchase, else 0

Observation: features, kinds and rewards of the user's earlier events and their times, as
`offline_actrep.files.exchange.histories` makes them (`last1 view`, `mean category=toys`, ..).
"""

from pathlib import Path

import numpy as np
import polars as pl

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import Column, read_table, refuse_rows
from offline_actrep.files.exchange.histories import history, one_hot
from offline_actrep.files.exchange.sessions import (
    at_least,
    by_name,
    keep_users,
    one_of,
    sessions_log,
)

_KINDS = ("view", "cart", "remove_from_cart", "purchase")
_EVENTS = (
    Column("event_time", "time", written="%Y-%m-%d %H:%M:%S UTC"),
    Column("event_type", "text", among=_KINDS),
    Column("product_id", "integer"),
    Column("category_code", "text", may_be_null=True),
    Column("brand", "text", may_be_null=True),
    Column("price", "number", low=0, high=1e7),
    Column("user_id", "integer"),
    Column("user_session", "text", may_be_null=True, longest=64),
)
_MOST_CATEGORIES = _MOST_BRANDS = 20
_STILL_HERE_MINUTES = 30.0
"""A visit with an event so shortly before the last of the log may have gone on."""
_BOUGHT = pl.col("event_type") == "purchase"
_REWARDS = {
    "sales": pl.when(_BOUGHT).then("price").otherwise(0.0),
    "purchases": _BOUGHT.cast(pl.Float64),
}


def read_store_events(
    folder: str | Path,
    *,
    reward: str = "sales",
    unnamed: str = "refuse",
    recent: int = 3,
    max_episode: int = 50,
    max_users: int | None = None,
    seed: int = 0,
) -> Log:
    """Reads all csv files in `folder`; every event of the users read is a row.

    Args:
        folder: holds the monthly files, and no other csv.
        reward: `sales` or `purchases`, as above.
        unnamed: what to do with events that name no session: `refuse`, which says how many there
            are, or `drop`.
        recent: how many of the last events the observation tells one by one.
        max_episode: most rows of an episode.
        max_users: that many users are drawn; None reads all. A row takes some
            `8 (recent + 1) 45` bytes.
        seed: draws the users.

    Raises:
        ValueError: a setting that there is not or below its least value, no file, an absent column,
            a cell that does not fit, an event without a session.
    """
    one_of("reward", reward, tuple(_REWARDS))
    one_of("unnamed", unnamed, ("refuse", "drop"))
    at_least("recent", recent, 1)
    at_least("max_episode", max_episode, 2)
    seen = _read(Path(folder), unnamed).with_columns(
        pl.col("user_id").alias("user"),
        pl.col("event_time").dt.epoch("ms").alias("time"),
        pl.col("product_id").alias("action"),
        pl.col("user_session").alias("name"),
        _REWARDS[reward].alias("reward"),
    )
    events = by_name(keep_users(seen.with_row_index("tie"), max_users, seed=seed))
    action_set = _action_set(events)
    assert action_set.features is not None
    kinds = (events["event_type"].to_numpy()[:, None] == np.array(_KINDS)).astype(np.float32)
    told = np.column_stack(
        [
            action_set.features[action_set.encode(events["action"].to_numpy())],
            kinds,
            events["reward"].log1p().cast(pl.Float32).to_numpy(),
        ]
    )
    told_names = (*action_set.feature_names, *_KINDS, "log_reward")
    observations, names = history(events, told, told_names, recent)
    return sessions_log(
        events,
        observations,
        names,
        action_set,
        max_episode=max_episode,
        pause_minutes=_STILL_HERE_MINUTES,
    )


def _read(folder: Path, unnamed: str) -> pl.DataFrame:
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise ValueError(
            f"{folder} holds no *.csv; see datasets/store_events/README.md for where to get them"
        )
    parts = []
    for path in paths:
        part = read_table(path, _EVENTS)
        lost = part["user_session"].is_null()
        if unnamed == "refuse":
            mend = "read the files with unnamed='drop', which leaves these events out"
            refuse_rows(path, "user_session", lost, "a session", part["user_session"], mend)
        parts.append(part.filter(~lost))
    events = pl.concat(parts)
    if not len(events):
        raise ValueError(f"no event in {folder} names a session, expected at least one")
    return events


def _action_set(events: pl.DataFrame) -> ActionSet:
    """Ids by rising product; of a product, its most frequent category and brand."""
    code = pl.col("category_code").str.split(".").list.first()
    products = (
        events.with_columns(code.alias("category"))
        .group_by("action")
        .agg(
            pl.col("price").median().log1p().alias("log_price"),
            *[
                pl.col(name).drop_nulls().sort().mode(maintain_order=True).first()
                for name in ("category", "brand")
            ],
        )
    )
    products = products.sort("action")
    category, names = one_hot(products["category"], _MOST_CATEGORIES, prefix="category")
    brand, brands = one_hot(products["brand"], _MOST_BRANDS, prefix="brand")
    price = products["log_price"].cast(pl.Float32).to_numpy()
    return ActionSet(
        ids=products["action"].to_numpy(),
        features=np.column_stack([category, brand, price]),
        feature_names=(*names, *brands, "log_price"),
    )
