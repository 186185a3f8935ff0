"""The counts of an n-gram recommender: by hand, against a slow count, on disk, and made up."""

import json
from collections import Counter, defaultdict
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.simulators.ngram_tables import (
    CHEAPEST,
    FORMAT,
    NO_CATEGORY,
    NgramTables,
    synthetic_tables,
)

SESSIONS = {"u": [10, 20, 30, 10, 20, 30], "v": [10, 20, 10], "w": [20, 30]}
PRICES = {10: 1.0, 20: 2.0, 30: 4.0}


def columns(log: dict[str, list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A row a purchase, session after session, every item at its price."""
    sessions = np.array([name for name, bought in log.items() for _ in bought], np.str_)
    items = np.array([item for bought in log.values() for item in bought], np.int64)
    return sessions, items, np.array([PRICES.get(item, 1.0) for item in items.tolist()])


def by_hand(**changes: Any) -> NgramTables:
    return replace(NgramTables.from_purchases(*columns(SESSIONS), min_length=2), **changes)


def same(left: NgramTables, right: NgramTables) -> bool:
    return all(
        np.array_equal(getattr(left, field.name), getattr(right, field.name))
        for field in fields(left)
    )


def counted(grams: np.ndarray, counts: np.ndarray) -> dict[tuple[int, ...], int]:
    return {tuple(row): count for row, count in zip(grams.tolist(), counts.tolist(), strict=True)}


# --- counting


def test_counts_by_hand() -> None:
    tables = by_hand()
    assert tables.ids.tolist() == [10, 20, 30]
    assert len(tables) == 3
    assert tables.purchases.tolist() == [4, 4, 3]
    assert tables.prices.tolist() == [1.0, 2.0, 4.0]
    assert counted(tables.bigrams, tables.bigram_counts) == {
        (0, 1): 3,
        (1, 0): 1,
        (1, 2): 3,
        (2, 0): 1,
    }
    assert counted(tables.trigrams, tables.trigram_counts) == {
        (0, 1, 0): 1,
        (0, 1, 2): 2,
        (1, 2, 0): 1,
        (2, 0, 1): 1,
    }
    assert tables.category_names == (NO_CATEGORY,)
    assert tables.categories.tolist() == [0, 0, 0]
    assert tables.names == ()


def test_nothing_follows_from_one_session_to_the_next() -> None:
    tables = NgramTables.from_purchases(*columns({"u": [1, 2], "v": [3, 4]}), min_length=2)
    assert tables.bigrams.tolist() == [[0, 1], [2, 3]]
    assert tables.trigrams.shape == (0, 3)


def test_rows_of_other_sessions_may_lie_between() -> None:
    sessions, items, prices = columns(SESSIONS)
    mixed = np.array([0, 6, 1, 9, 2, 7, 3, 10, 4, 8, 5])
    tables = NgramTables.from_purchases(sessions[mixed], items[mixed], prices[mixed], min_length=2)
    assert same(tables, by_hand())


def test_a_price_is_the_median_of_what_was_paid() -> None:
    sessions, items, _ = columns({"u": [7, 5, 7, 7, 5]})
    paid = np.array([3.0, 1.0, 100.0, 2.0, 2.0])
    assert NgramTables.from_purchases(sessions, items, paid).prices.tolist() == [1.5, 3.0]


def test_rare_items_go_first_then_short_sessions_then_items_that_nobody_has_left() -> None:
    log = {"long": [1, 2, 9, 1, 2], "other": [2, 1, 2, 2], "short": [3, 9, 3], "lone": [3]}
    tables = NgramTables.from_purchases(*columns(log), min_count=2, min_length=3)
    assert tables.ids.tolist() == [1, 2, 3, 9]
    # Now 9 is rare, so `short` is too short, and nobody is left who bought 3 (three times).
    tables = NgramTables.from_purchases(*columns(log), min_count=3, min_length=3)
    assert tables.ids.tolist() == [1, 2]
    assert counted(tables.bigrams, tables.bigram_counts) == {(0, 1): 3, (1, 0): 2, (1, 1): 1}
    assert tables.purchases.tolist() == [3, 5]


def test_categories_and_names_are_looked_up_by_id() -> None:
    kinds, called = {10: "tea", 20: "bread", 30: "tea", 99: "none"}, {10: "A", 20: "B", 30: "C"}
    tables = NgramTables.from_purchases(
        *columns(SESSIONS), categories=kinds, names=called, min_length=2
    )
    assert tables.category_names == ("bread", "tea")
    assert tables.categories.tolist() == [1, 0, 1]
    assert tables.names == ("A", "B", "C")


def test_ids_may_be_strings_also_of_object_columns() -> None:
    sessions = np.array([1, 1, 1])
    items = np.array(["pear", "fig", "pear"], object)
    tables = NgramTables.from_purchases(
        sessions, items, np.ones(3), categories={"pear": "fruit", "fig": "fruit"}
    )
    assert tables.ids.tolist() == ["fig", "pear"]
    assert tables.ids.dtype.kind == "U"
    assert tables.bigrams.tolist() == [[0, 1], [1, 0]]
    assert tables.category_names == ("fruit",)


logs = st.dictionaries(
    st.sampled_from("uvwx"), st.lists(st.integers(0, 5), min_size=1, max_size=9), min_size=1
)


@settings(deadline=None, max_examples=80)
@given(logs, st.integers(1, 3), st.integers(2, 4), st.randoms(use_true_random=False))
def test_counts_are_those_of_a_slow_count(
    log: dict[str, list[int]], min_count: int, min_length: int, random: Any
) -> None:
    often = Counter(chain(*log.values()))
    kept = {name: [i for i in row if often[i] >= min_count] for name, row in log.items()}
    kept = {name: row for name, row in kept.items() if len(row) >= min_length}
    rows = [(name, item, 0.5 + k) for name, row in log.items() for k, item in enumerate(row)]
    order = sorted(range(len(rows)), key=lambda k: (rows[k][2], random.random()))
    sessions, items, prices = (
        np.array(part) for part in zip(*[rows[k] for k in order], strict=True)
    )
    if not kept:
        with pytest.raises(ValueError, match="no session has"):
            NgramTables.from_purchases(
                sessions, items, prices, min_count=min_count, min_length=min_length
            )
        return
    tables = NgramTables.from_purchases(
        sessions, items, prices, min_count=min_count, min_length=min_length
    )
    ids = tables.ids.tolist()
    assert ids == sorted(set(chain(*kept.values())))
    paid = defaultdict(list)
    for name, item, price in rows:
        if name in kept and often[item] >= min_count:
            paid[item].append(price)
    assert tables.prices.tolist() == [median(paid[item]) for item in ids]
    assert tables.purchases.tolist() == [len(paid[item]) for item in ids]
    for length, grams, counts in (
        (2, tables.bigrams, tables.bigram_counts),
        (3, tables.trigrams, tables.trigram_counts),
    ):
        wanted = Counter(
            tuple(ids.index(item) for item in row[k : k + length])
            for row in kept.values()
            for k in range(len(row) - length + 1)
        )
        assert counted(grams, counts) == wanted


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sessions": np.array(["u", "u"])}, r"got the shapes \(2,\), \(3,\), \(3,\)"),
        ({"prices": np.array([1.0, 0.0, 0.0])}, r"prices in row 1 .* got 0.0 \(2 such rows\)"),
        ({"prices": np.array([1.0, 1.0, np.nan])}, "prices in row 2 must be a number above 0"),
        ({"prices": np.array(["1", "2", "3"])}, "prices must be numbers, got <U1"),
        ({"items": np.array([1.5, 2.0, 2.0])}, "items must be integers or strings, got float64"),
        ({"sessions": np.array([None, "u", "u"])}, "sessions must be .* got object"),
        ({"min_count": 0}, "min_count must be at least 1, got 0"),
        ({"min_length": 1}, "min_length must be at least 2, got 1"),
        ({"min_count": 3}, "3 purchases were read, 0 are of such items; lower min_count or"),
        ({"categories": {1: "tea"}}, "item 2 has no category: 1 of 2 items have none, 1 are given"),
        ({"names": {}}, "item 1 has no name: 2 of 2 items have none, 0 are given"),
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused(changes: dict[str, Any], message: str) -> None:
    log = {
        "sessions": np.array(["u", "u", "u"]),
        "items": np.array([1, 2, 2]),
        "prices": np.ones(3),
    }
    with pytest.raises(ValueError, match=message):
        NgramTables.from_purchases(**(log | changes))


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array([10, 30, 20])}, "ids of items must rise"),
        ({"ids": np.array([], np.int64)}, "tables hold 1 to 2097151 items, got 0"),
        ({"names": ("A",)}, "3 items need 3 names, got 1"),
        ({"prices": np.ones(2)}, r"prices must have the shape \(3,\), got \(2,\)"),
        ({"prices": np.array([1.0, -1.0, 1.0])}, "prices in row 1 must be a number above 0"),
        ({"purchases": np.array([1, 0, 1])}, "purchases in row 1 must be a number above 0, got 0"),
        ({"categories": np.array([0, 1, 0])}, "categories in row 1 must be one of the 1 categ"),
        ({"bigrams": np.array([0, 1, 1, 2])}, r"bigrams must have the shape \(4, 2\), got \(4,\)"),
        ({"bigram_counts": np.array([1, 1, 0, 1])}, "counts of bigrams in row 2 must be at least"),
        ({"bigrams": np.array([[0, 1], [1, 0], [1, 0], [2, 0]])}, "rows of bigrams must rise"),
        ({"bigrams": np.array([[0, 1], [1, 0], [1, 2], [2, 3]])}, "bigrams in row 3 .* 0..2"),
        ({"trigrams": np.array([[0, 1, 2], [0, 1, 0], [1, 2, 0], [2, 0, 1]])}, "trigrams must"),
        (
            {"bigrams": np.zeros((0, 2), np.int64), "bigram_counts": np.zeros(0, np.int64)},
            "at least one pair",
        ),
    ],
)  # fmt: skip
def test_tables_check_themselves(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        by_hand(**changes)


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        by_hand().prices[0] = 5.0


# --- on disk


@pytest.mark.parametrize("named", [True, False])
def test_what_is_written_is_read(tmp_path: Path, named: bool) -> None:
    names = ("Ä", "", "c") if named else ()
    tables = by_hand(names=names)
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path in paths:
        tables.write(path)
    again = NgramTables.read(str(paths[0]))
    assert same(tables, again)
    assert again.names == names
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == paths
    NgramTables.from_purchases(*columns(SESSIONS)).write(paths[0])
    assert not same(tables, NgramTables.read(paths[0]))


def test_string_ids_are_read(tmp_path: Path) -> None:
    tables = by_hand(ids=np.array(["a", "b", "ccc"]))
    tables.write(tmp_path / "t.npz")
    assert NgramTables.read(tmp_path / "t.npz").ids.tolist() == ["a", "b", "ccc"]


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with pytest.raises(ValueError, match="there are no n-gram tables at"):
        NgramTables.read(path)
    path.write_text(json.dumps({"ids": [1]}))
    with pytest.raises(ValueError, match=r"is no \.npz file"):
        NgramTables.read(path)
    np.savez(path, ids=np.arange(3))
    with pytest.raises(ValueError, match=f"must say '{FORMAT}', got 'None'"):
        NgramTables.read(path)
    np.savez(path, format=np.array(FORMAT), ids=np.arange(3))
    with pytest.raises(ValueError, match=r"lacks the array\(s\) names, categories, category_names"):
        NgramTables.read(path)
    np.savez(path, format=np.array([{}]))
    with pytest.raises(ValueError, match="cannot be read: Object arrays cannot be loaded"):
        NgramTables.read(path)


def test_a_file_with_wrong_content_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    by_hand().write(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, allow_pickle=False, **(arrays | {"prices": np.array([1.0, -2.0, 3.0])}))
    with pytest.raises(ValueError, match=r"t\.npz: prices in row 1 .*; write the tables anew"):
        NgramTables.read(path)
    by_hand().write(path)
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read"):
        NgramTables.read(path)


# --- the shop of its own making


def test_the_synthetic_shop_is_the_same_each_time_and_another_with_another_seed() -> None:
    first = synthetic_tables(60, 3)
    synthetic_tables.cache_clear()
    assert same(first, synthetic_tables(60, 3))
    assert not np.array_equal(first.prices, synthetic_tables(60, 4).prices)


@pytest.mark.parametrize("n_items", [2, 3, 21, 137])
def test_the_synthetic_shop_has_as_many_items_as_asked(n_items: int) -> None:
    tables = synthetic_tables(n_items, 0)
    assert tables.ids.tolist() == list(range(n_items))
    assert len(tables.category_names) == min(n_items, 20)
    assert (np.bincount(tables.categories) > 0).all()
    assert tables.prices.min() >= CHEAPEST


@pytest.mark.parametrize("n_items", [1, 2**21])
def test_a_synthetic_shop_needs_a_possible_size(n_items: int) -> None:
    with pytest.raises(ValueError, match=f"has 2 to 2097151 items, got {n_items}"):
        synthetic_tables(n_items, 0)


def test_the_synthetic_shop_looks_like_one() -> None:
    tables = synthetic_tables(1000, 0)
    popular = np.sort(tables.purchases)[::-1]
    assert 200 < tables.purchases.mean() < 300
    assert popular[:100].sum() > 0.2 * popular.sum()  # a tenth of the items
    assert popular[-100:].sum() < 0.06 * popular.sum()
    logs = np.log(tables.prices)
    assert 4 < np.median(tables.prices) < 16
    assert 0.5 < logs.std() < 1.1
    assert abs(((logs - logs.mean()) ** 3).mean()) < 0.5 * logs.std() ** 3
    # A purchase depends on the last item far beyond popularity ..
    followed = tables.bigram_counts / tables.purchases[tables.bigrams[:, 0]]
    lift = followed / (tables.purchases / tables.purchases.sum())[tables.bigrams[:, 1]]
    assert (np.average(lift, weights=tables.bigram_counts)) > 10
    # .. and stays in its category more often than one time in twenty.
    stays = tables.categories[tables.bigrams[:, 0]] == tables.categories[tables.bigrams[:, 1]]
    assert 0.2 < np.average(stays, weights=tables.bigram_counts) < 0.4
    assert tables.names[7] == f"{tables.category_names[tables.categories[7]]}, item 7"
