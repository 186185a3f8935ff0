"""Open Bandit (ZOZOTOWN, Saito et al. 2020) -> a Log with the true logging propensities.

A fashion shop showed items at three positions, chosen uniformly at random or by Bernoulli Thompson
sampling (`bts`) at the same time, in three campaigns with catalogues of their own. Read is one
policy's log of one campaign, as published (`POLICY/CAMPAIGN/CAMPAIGN.csv` with `item_context.csv`
beside it) or as one table with the columns `behavior_policy` and `campaign`
(`obd_sample.parquet`, `obd_item_context.parquet`).

Episode: one impression of one item: one row, `terminated`. A policy chooses here once, and nothing
follows.

Action: `item_id`. Features of an item: `item_feature_0` as it is, the hashed
`item_feature_1` .. `item_feature_3` one-hot.

Reward: `click`.

Propensity: `propensity_score`, the probability with which the logging policy shows this item at
this position. The position is therefore state, not action.

Observation:

- `position=1`, `position=2`, `position=3`: left, middle, right
- `user_feature_K=HASH`: the four hashed features of the user, one-hot; of each the 20 most frequent
  hashes stand for themselves
- `log_affinity_I`: log(1 + affinity score I), a column an item of the campaign; by the publisher
  the scores come from the user's earlier clicks
- `hour_sin`, `hour_cos`, `weekday_sin`, `weekday_cos`: UTC, of the impression
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import (
    Column,
    find_table,
    read_table,
    refuse_repeats,
    refuse_rows,
)
from offline_actrep.files.exchange.histories import clock, one_hot
from offline_actrep.files.exchange.sessions import one_of

_POLICIES = ("random", "bts")
_CAMPAIGNS = ("all", "men", "women")
_POSITIONS = 3
_MOST_HASHES = 20
_AFFINITY = "user-item_affinity_"
_USER_FEATURES = tuple(f"user_feature_{k}" for k in range(4))
_HASHED = tuple(f"item_feature_{k}" for k in range(1, 4))
_SOURCE = "see datasets/open_bandit/README.md for where to get it and how it lies in a folder"
_POLICY = Column("behavior_policy", "text", among=_POLICIES)
_CAMPAIGN = Column("campaign", "text", among=_CAMPAIGNS)
_ITEMS = (
    Column("item_id", "integer", low=0),
    Column("item_feature_0", "number"),
    *(Column(name, "text") for name in _HASHED),
)
_IMPRESSIONS = (
    Column("timestamp", "time", written="%Y-%m-%d %H:%M:%S%.f%:z"),
    Column("item_id", "integer", low=0),
    Column("position", "integer", low=1, high=_POSITIONS),
    Column("click", "integer", among=(0, 1)),
    Column("propensity_score", "number", high=1),
    *(Column(name, "text") for name in _USER_FEATURES),
)


def read_open_bandit(
    folder: str | Path, *, behavior_policy: str = "random", campaign: str = "all"
) -> Log:
    """Reads the impressions of one campaign; every one is a row, in the file's order.

    Args:
        folder: holds the tables, in one of the two forms.
        behavior_policy: `random`, `bts`, or `both`, one after the other. The log's `splits` name
            the policy of a row. Hashes get columns as they are met, so logs that are to be
            compared must be read together.
        campaign: `all`, `men` or `women`.

    Raises:
        ValueError: a setting that there is not, a file or column that is absent, a cell that does
            not fit, a propensity outside (0, 1], an item that the item table lacks or names twice,
            no impression of a policy and campaign asked for.
    """
    one_of("behavior_policy", behavior_policy, (*_POLICIES, "both"))
    one_of("campaign", campaign, _CAMPAIGNS)
    policies = _POLICIES if behavior_policy == "both" else (behavior_policy,)
    published = Path(folder) / policies[0] / campaign / f"{campaign}.csv"
    read = _read_published if published.is_file() else _read_together
    parts = [read(Path(folder), policy, campaign) for policy in policies]
    items = parts[0][1]
    for rest in parts[1:]:
        if not rest[1].equals(items):
            raise ValueError(
                f"the item tables of {' and '.join(policies)} differ under {folder}; take both "
                "policies of one release"
            )
    rows = pl.concat([rows for rows, _ in parts])
    return _log(rows, items, [name for name in rows.columns if name.startswith(_AFFINITY)])


def _read_published(folder: Path, policy: str, campaign: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Impressions and items, each in a file of its own."""
    place = folder / policy / campaign
    path = find_table(place, (f"{campaign}.csv",), _SOURCE)
    items_path = find_table(place, ("item_context.csv",), _SOURCE)
    items = read_table(items_path, _ITEMS).sort("item_id")
    refuse_repeats(items_path, items["item_id"])
    rows = read_table(path, (*_IMPRESSIONS, *_affinities(len(items))))
    rows = rows.with_columns(pl.lit(policy).alias("behavior_policy"))
    _check(path, rows, pl.repeat(True, len(rows), eager=True), items, items_path)
    return rows, items


def _read_together(folder: Path, policy: str, campaign: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Impressions and items among those of other policies and campaigns."""
    names = ("obd_sample.parquet", f"{policy}/{campaign}/{campaign}.csv")
    path = find_table(folder, names, _SOURCE)
    items_path = find_table(folder, ("obd_item_context.parquet",), _SOURCE)
    items = _items_of(items_path, campaign)
    rows = read_table(path, (*_IMPRESSIONS, _POLICY, _CAMPAIGN, *_affinities(len(items))))
    mine = (rows["behavior_policy"] == policy) & (rows["campaign"] == campaign)
    if not mine.any():
        kinds = rows.select("behavior_policy", "campaign").unique().sort(pl.all()).rows()
        had = ", ".join("/".join(kind) for kind in kinds)
        raise ValueError(f"{path} has no row of {policy}/{campaign}; it has {had}")
    _check(path, rows, mine, items, items_path)
    return rows.filter(mine).drop("campaign"), items


def _affinities(n_items: int) -> list[Column]:
    """Nothing stands in those beyond a campaign's catalogue, where campaigns share a table."""
    return [Column(f"{_AFFINITY}{k}", "number", low=0, may_be_null=True) for k in range(n_items)]


def _items_of(path: Path, campaign: str) -> pl.DataFrame:
    items = read_table(path, (*_ITEMS, _CAMPAIGN))
    first = items.select(pl.struct("campaign", "item_id").is_first_distinct()).to_series()
    mend = "drop the repeated row"
    refuse_rows(path, "item_id", ~first, "each once a campaign", items["item_id"], mend)
    mine = items.filter(pl.col("campaign") == campaign)
    if not len(mine):
        raise ValueError(f"{path} has no item of the campaign {campaign!r}")
    return mine.drop("campaign").sort("item_id")


def _check(
    path: Path,
    rows: pl.DataFrame,
    mine: pl.Series,
    items: pl.DataFrame,
    items_path: Path,
) -> None:
    """What only the rows that are taken have to keep."""
    chance = rows["propensity_score"]
    mend = "drop the row: a policy cannot log what it never shows"
    refuse_rows(path, chance.name, mine & (chance <= 0), "a probability above 0", chance, mend)
    for score in rows.select(f"^{_AFFINITY}.*$"):
        mend = "take the impressions and the items of one campaign and release"
        refuse_rows(path, score.name, mine & score.is_null(), "a finite number", score, mend)
    item = rows["item_id"]
    known = item.is_in(items["item_id"].implode())
    expected = f"an item of this campaign in {items_path.name}"
    mend = "take the impressions and the items of one campaign and release"
    refuse_rows(path, item.name, mine & ~known, expected, item, mend)


def _log(rows: pl.DataFrame, items: pl.DataFrame, affinities: list[str]) -> Log:
    observations, names = _observations(rows, affinities)
    action_set = _action_set(items)
    n = len(rows)
    return Log(
        action_set=action_set,
        observations=observations,
        actions=action_set.encode(rows["item_id"].to_numpy()),
        rewards=rows["click"].cast(pl.Float32).to_numpy(writable=True),
        terminated=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        next_observations=observations.copy(),
        has_next=np.zeros(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
        action_probabilities=rows["propensity_score"].to_numpy(writable=True),
        splits=rows["behavior_policy"].to_numpy().astype(np.str_),
        timestamps=rows["timestamp"].dt.replace_time_zone(None).to_numpy(writable=True),
        observation_names=names,
    )


def _observations(
    rows: pl.DataFrame, affinities: list[str]
) -> tuple[Float32[np.ndarray, "N S"], tuple[str, ...]]:
    """What was known before the item was chosen."""
    positions = np.arange(1, _POSITIONS + 1)
    blocks = [(rows["position"].to_numpy()[:, None] == positions).astype(np.float32)]
    names = [f"position={position}" for position in positions]
    for name in _USER_FEATURES:
        block, own = one_hot(rows[name], _MOST_HASHES, prefix=name)
        blocks.append(block)
        names += own
    blocks.append(rows.select(pl.col(affinities).log1p().cast(pl.Float32)).to_numpy())
    names += [f"log_affinity_{name.rpartition('_')[2]}" for name in affinities]
    times = rows.select(clock(pl.col("timestamp"))).cast(pl.Float32)
    return np.hstack([*blocks, times.to_numpy()]), (*names, *times.columns)


def _action_set(items: pl.DataFrame) -> ActionSet:
    """Ids by rising item."""
    blocks = [items.select(pl.col("item_feature_0").cast(pl.Float32)).to_numpy()]
    names = ["item_feature_0"]
    for name in _HASHED:
        block, own = one_hot(items[name], len(items), prefix=name)
        blocks.append(block)
        names += own
    return ActionSet(
        ids=items["item_id"].to_numpy(),
        features=np.hstack(blocks),
        feature_names=tuple(names),
    )
