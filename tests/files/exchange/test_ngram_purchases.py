"""Purchases for an n-gram recommender out of the Complete Journey tables."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from offline_actrep.files.exchange.ngram_purchases import read_purchases
from offline_actrep.simulators.ngram_tables import NgramTables

REAL_DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
AT = datetime(2017, 7, 5, 19, 0)
# household, basket, product, quantity, sales value, days later
Line = tuple[int, int, int, int, float, int]
LINES: list[Line] = [
    (7, 101, 25, 2, 5.0, 3),  # 2.50 a piece
    (7, 100, 11, 1, 2.0, 0),
    (7, 102, 11, 4, 6.0, 9),  # 1.50 a piece
    (7, 102, 11, 0, 6.0, 9),  # no quantity
    (7, 102, 11, 60, 6.0, 9),  # fuel
    (7, 103, 25, 1, 0.0, 10),  # nothing paid
    (8, 200, 11, 1, 9.0, 0),  # with the next two lines but one of a rare product
    (8, 200, 40, 1, 1.0, 0),
    (8, 201, 25, 1, 3.0, 1),
]


def write(folder: Path, lines: list[Line]) -> Path:
    names = ("household_id", "basket_id", "product_id", "quantity", "sales_value")
    kinds = (pl.Int64, pl.Int64, pl.Int64, pl.Int64, pl.Float64)
    rows = [(*line[:5], AT + timedelta(days=line[5])) for line in lines]
    schema = dict(zip(names, kinds, strict=True)) | {"transaction_timestamp": pl.Datetime("us")}
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / "transactions.parquet")
    pl.DataFrame(
        {
            "product_id": [11, 25, 40],
            "department": ["GROCERY", "GROCERY", "PRODUCE"],
            "brand": ["Private", "National", "National"],
            "product_category": ["MILK", "BREAD", None],
            "product_type": ["WHITE MILK", "WHITE BREAD", "BANANAS"],
            "package_size": ["1 GA", None, "40 LB"],
        }
    ).write_parquet(folder / "products.parquet")
    return folder


def test_purchases_by_hand(tmp_path: Path) -> None:
    purchases = read_purchases(write(tmp_path, LINES), min_purchases=2)
    assert purchases.sessions.tolist() == [7, 7, 7]
    assert purchases.items.tolist() == [11, 25, 11]  # by time, not by line
    assert purchases.prices.tolist() == [2.0, 2.5, 1.5]
    assert purchases.categories == {11: "MILK", 25: "BREAD"}
    assert purchases.names == {11: "Private, WHITE MILK, 1 GA", 25: "National, WHITE BREAD"}


def test_a_household_of_two_purchases_is_kept_if_two_are_enough(tmp_path: Path) -> None:
    purchases = read_purchases(write(tmp_path, LINES), min_purchases=2, min_length=2)
    assert purchases.sessions.tolist() == [7, 7, 7, 8, 8]
    tables = NgramTables.from_purchases(
        purchases.sessions,
        purchases.items,
        purchases.prices,
        categories=purchases.categories,
        names=purchases.names,
        min_length=2,
    )
    assert tables.prices.tolist() == [2.0, 2.75]
    assert tables.bigrams.tolist() == [[0, 1], [1, 0]]
    assert tables.bigram_counts.tolist() == [2, 1]
    assert tables.category_names == ("BREAD", "MILK")


def test_the_order_within_a_basket_repeats_with_the_seed(tmp_path: Path) -> None:
    folder = write(tmp_path, [(h, h, p, 1, 1.0, 0) for h in range(30) for p in (11, 25, 40)])
    first, again, other = (
        read_purchases(folder, min_purchases=1, seed=seed).items.reshape(30, 3)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert (np.sort(first) == [11, 25, 40]).all()
    assert set(first[:, 0].tolist()) == {11, 25, 40}


def test_nothing_left_says_what_to_lower(tmp_path: Path) -> None:
    folder = write(tmp_path, LINES)
    with pytest.raises(ValueError, match=r"no household has 3 purchases .* 9 lines were read, 0"):
        read_purchases(folder)
    with pytest.raises(ValueError, match="lower min_purchases or min_length"):
        read_purchases(folder, min_purchases=1, min_length=4)


@pytest.mark.parametrize("setting", ["min_purchases", "min_length"])
def test_settings_have_a_least_value(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be at least 1, got 0"):
        read_purchases(write(tmp_path, LINES), **{setting: 0})


def test_the_published_tables() -> None:
    if not (REAL_DATA / "complete_journey_transactions.parquet").is_file():
        pytest.skip(f"the Complete Journey tables are not in {REAL_DATA}")
    purchases = read_purchases(REAL_DATA)
    assert len(purchases.items) == 765_186
    assert len(np.unique(purchases.sessions)) == 2_424
    counts = np.unique(purchases.items, return_counts=True)[1]
    assert len(counts) == len(purchases.names) == len(purchases.categories) == 2_759
    assert counts.min() >= 99
    assert len(set(purchases.categories.values())) == 25
    assert purchases.prices.min() >= 0.01
    assert 1 < np.median(purchases.prices) < 3
