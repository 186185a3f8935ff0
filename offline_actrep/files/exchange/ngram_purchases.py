"""The Complete Journey tables -> the purchases that an n-gram recommender is made from.

Lines are cleaned as for a log of shopping trips (`complete_journey`); a session is all that a
household bought in the year, trip after trip, since the paper that this follows (Pritz et al.,
2021) counts users, not visits. Lines of one basket stand in a random order drawn from `seed`: the
file lists them by product id. The price of a line is what was paid for one piece of it.

    purchases = read_purchases(folder)
    tables = NgramTables.from_purchases(
        purchases.sessions, purchases.items, purchases.prices,
        categories=purchases.categories, names=purchases.names,
    )
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float64, Int64

from offline_actrep.files.exchange.complete_journey import product_name, read_clean_lines


@dataclass(frozen=True, eq=False)
class Purchases:
    """One row a purchase, in the order a household made them.

    Attributes:
        sessions: `[N]` household.
        items: `[N]` product id.
        prices: `[N]` USD for one piece, above 0.
        categories: aisle of every product, by its id.
        names: brand, type and size of every product, by its id.
    """

    sessions: Int64[np.ndarray, " N"]
    items: Int64[np.ndarray, " N"]
    prices: Float64[np.ndarray, " N"]
    categories: dict[int, str]
    names: dict[int, str]


def read_purchases(
    folder: str | Path, *, min_purchases: int = 100, min_length: int = 3, seed: int = 0
) -> Purchases:
    """Reads the transactions and the products in `folder`.

    Args:
        folder: holds the two tables.
        min_purchases: a product bought fewer times, counted in clean lines, is left out.
        min_length: a household with fewer purchases left is left out.
        seed: draws the order of lines within a basket.

    Raises:
        ValueError: a setting below 1, a file or column that is not there, a null, a product that
            the product table lacks or names twice, nothing left after cleaning.
    """
    if min_length < 1:
        raise ValueError(f"min_length must be at least 1, got {min_length}")
    clean = read_clean_lines(folder, min_purchases=min_purchases, seed=seed)
    enough = pl.len().over("household_id") >= min_length
    lines = clean.lines.filter(enough).sort(
        "household_id", "transaction_timestamp", "basket_id", "draw"
    )
    if not len(lines):
        raise ValueError(
            f"no household has {min_length} purchases of products bought at least {min_purchases} "
            f"times: {clean.lines_read} lines were read, {len(clean.lines)} are of such products; "
            "lower min_purchases or min_length"
        )
    ids = clean.catalogue["product_id"]
    return Purchases(
        sessions=lines["household_id"].to_numpy(writable=True),
        items=lines["product_id"].to_numpy(writable=True),
        prices=lines.select(pl.col("cents") / 100 / pl.col("quantity")).to_series().to_numpy(),
        categories=dict(zip(ids, clean.catalogue["aisle"], strict=True)),
        names=dict(zip(ids, clean.catalogue.select(product_name()).to_series(), strict=True)),
    )
