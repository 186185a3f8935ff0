"""What an n-gram recommender knows of a shop: how often which item was bought after which.

A purchase log becomes counts: of every item, of every item after another (bigrams), of every item
after two others (trigrams), each within a session. Nothing is smoothed here. Who is filtered out
follows Pritz et al. (2021), "Jointly-Trained State-Action Embedding for Efficient Reinforcement
Learning", appendix A.4: first items bought too rarely, then users with too few purchases left.

On disk: one `.npz` of plain arrays. `synthetic_tables` makes a shop and its log from a seed alone.
"""

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Float64, Int64

FORMAT = "offline_actrep n-gram tables 1"
"""The array `format` of a file: what it is, and the version of its layout."""
LARGEST_CATALOGUE = 2**21 - 1
"""Three item indices make one key of 63 bits."""
NO_CATEGORY = "all"
"""The one category of all items where a log names none."""


@final
@dataclass(frozen=True, eq=False)
class NgramTables:
    """Counts of a purchase log, and what is known of its items.

    Attributes:
        ids: `[A]` the items as logged, int64 or `str`, ascending; position = dense index.
        names: a name an item for people to read, or empty.
        categories: `[A]` index into `category_names`.
        category_names: a name a category.
        prices: `[A]` in the log's currency, above 0.
        purchases: `[A]` how often each item was bought, at least once.
        bigrams: `[M, 2]` pairs (b, c) of dense indices, c bought right after b; rows ascending.
        bigram_counts: `[M]` how often.
        trigrams: `[L, 3]` triples (a, b, c) in the order bought; rows ascending.
        trigram_counts: `[L]` how often.

    Raises:
        ValueError: arrays of unequal length, no bigram, an index outside its range, rows that do
            not rise, a count below 1, a price that is not above 0, an id twice.
    """

    ids: np.ndarray
    names: tuple[str, ...]
    categories: Int64[np.ndarray, " A"]
    category_names: tuple[str, ...]
    prices: Float64[np.ndarray, " A"]
    purchases: Int64[np.ndarray, " A"]
    bigrams: Int64[np.ndarray, "M 2"]
    bigram_counts: Int64[np.ndarray, " M"]
    trigrams: Int64[np.ndarray, "L 3"]
    trigram_counts: Int64[np.ndarray, " L"]

    def __post_init__(self) -> None:
        n_items = len(self.ids)
        _check_size(n_items)
        if self.names and len(self.names) != n_items:
            raise ValueError(f"{n_items} items need {n_items} names, got {len(self.names)}")
        for name in ("categories", "prices", "purchases"):
            _check_shape(name, getattr(self, name), (n_items,))
        for name, length in (("bigram", 2), ("trigram", 3)):
            counts = getattr(self, f"{name}_counts")
            _check_shape(f"{name}s", getattr(self, f"{name}s"), (len(counts), length))
        if not (self.ids[1:] > self.ids[:-1]).all():
            raise ValueError("ids of items must rise and differ; they do not")
        for name, column in (("prices", self.prices), ("purchases", self.purchases)):
            _check_rows(name, np.isfinite(column) & (column > 0), column, "a number above 0")
        inside = (self.categories >= 0) & (self.categories < len(self.category_names))
        known = f"one of the {len(self.category_names)} categories"
        _check_rows("categories", inside, self.categories, known)
        if not len(self.bigrams):
            raise ValueError("tables need at least one pair of purchases in a row, got none")
        _check_grams("bigrams", self.bigrams, self.bigram_counts, n_items)
        _check_grams("trigrams", self.trigrams, self.trigram_counts, n_items)
        for field in fields(self):
            if isinstance(column := getattr(self, field.name), np.ndarray):
                column.setflags(write=False)

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def from_purchases(
        sessions: np.ndarray,
        items: np.ndarray,
        prices: np.ndarray,
        *,
        categories: Mapping[Any, str] | None = None,
        names: Mapping[Any, str] | None = None,
        min_count: int = 1,
        min_length: int = 3,
    ) -> "NgramTables":
        """Counts the purchases of a log, one row a purchase.

        The rows of a session stand in the order of its purchases; rows of other sessions may lie
        between them. An item's price is the median of what was paid for it.

        Args:
            sessions: `[N]` who bought (a user, a visit): integers or strings.
            items: `[N]` what was bought: integers or strings.
            prices: `[N]` what one piece cost, above 0.
            categories: of every item kept, by id; None: one category for all.
            names: of every item kept, by id; None: no names.
            min_count: an item bought fewer times is left out (835 items remain of the paper's log
                at 100).
            min_length: a session with fewer purchases, rare items not counted, is left out.

        Raises:
            ValueError: columns of unequal length or a wrong kind, a price that is not above 0,
                a setting below its least value, an item without its category or name, or nothing
                left. Says the row or the item.
        """
        sessions, items, prices = _checked(sessions, items, prices)
        for setting, value, least in (("min_count", min_count, 1), ("min_length", min_length, 2)):
            if value < least:
                raise ValueError(f"{setting} must be at least {least}, got {value}")
        ids, item = np.unique(items, return_inverse=True)
        session = np.unique(sessions, return_inverse=True)[1]
        often = np.bincount(item)[item] >= min_count
        kept = often & (np.bincount(session, weights=often)[session] >= min_length)
        if not kept.any():
            raise ValueError(
                f"no session has {min_length} purchases of items bought at least {min_count} "
                f"times: {len(items)} purchases were read, {often.sum()} are of such items; "
                "lower min_count or min_length"
            )
        rows = np.flatnonzero(kept)
        rows = rows[np.argsort(session[rows], kind="stable")]
        left, item = np.unique(item[rows], return_inverse=True)
        ids = ids[left]
        _check_size(len(ids))
        codes, category_names = _categories(ids, categories)
        bigrams, bigram_counts = _grams(item, session[rows], 2, len(ids))
        trigrams, trigram_counts = _grams(item, session[rows], 3, len(ids))
        return NgramTables(
            ids=ids,
            names=() if names is None else _looked_up("name", ids, names),
            categories=codes,
            category_names=category_names,
            prices=_medians(item, prices[rows]),
            purchases=np.bincount(item),
            bigrams=bigrams,
            bigram_counts=bigram_counts,
            trigrams=trigrams,
            trigram_counts=trigram_counts,
        )

    def write(self, path: str | Path) -> None:
        """One `.npz` file, whole or not at all; equal tables give equal bytes."""
        target = Path(path)
        draft = target.with_name(target.name + ".tmp")
        columns = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        for name in ("names", "category_names"):
            columns[name] = columns[name].astype(np.str_)
        with draft.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, format=np.array(FORMAT), **columns)
        os.replace(draft, target)

    @staticmethod
    def read(path: str | Path) -> "NgramTables":
        """What `write` wrote.

        Raises:
            ValueError: no such file, another kind of file, an array that is not there or is wrong.
        """
        arrays = _read_arrays(Path(path))
        try:
            return NgramTables(
                ids=arrays["ids"],
                names=tuple(arrays["names"].tolist()),
                category_names=tuple(arrays["category_names"].tolist()),
                prices=arrays["prices"].astype(np.float64),
                **{
                    name: arrays[name].astype(np.int64)
                    for name in (
                        "categories",
                        "purchases",
                        "bigrams",
                        "bigram_counts",
                        "trigrams",
                        "trigram_counts",
                    )
                },
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}; write the tables anew") from error


def _check_size(n_items: int) -> None:
    if not 1 <= n_items <= LARGEST_CATALOGUE:
        raise ValueError(f"tables hold 1 to {LARGEST_CATALOGUE} items, got {n_items}")


def _check_shape(name: str, column: np.ndarray, wanted: tuple[int, ...]) -> None:
    if column.shape != wanted:
        raise ValueError(f"{name} must have the shape {wanted}, got {column.shape}")


def _check_rows(name: str, good: Bool[np.ndarray, " N"], column: np.ndarray, wanted: str) -> None:
    bad = np.flatnonzero(~good)
    if len(bad):
        raise ValueError(
            f"{name} in row {bad[0]} must be {wanted}, got {column[bad[0]]} ({len(bad)} such rows)"
        )


def _check_grams(
    name: str, grams: Int64[np.ndarray, "M n"], counts: Int64[np.ndarray, " M"], n_items: int
) -> None:
    inside = np.all((grams >= 0) & (grams < n_items), axis=1)
    _check_rows(name, inside, grams, f"item indices 0..{n_items - 1}")
    _check_rows(f"counts of {name}", counts > 0, counts, "at least 1")
    keys = _keys(grams, n_items)
    if not (keys[1:] > keys[:-1]).all():
        raise ValueError(f"rows of {name} must rise and differ; they do not")


def _checked(
    sessions: np.ndarray, items: np.ndarray, prices: np.ndarray
) -> tuple[np.ndarray, np.ndarray, Float64[np.ndarray, " N"]]:
    """The columns of a log: integers or strings, the same, numbers above 0."""
    sessions, items, prices = (np.asarray(column) for column in (sessions, items, prices))
    if items.ndim != 1 or not sessions.shape == items.shape == prices.shape:
        raise ValueError(
            "sessions, items and prices need one entry a purchase each, got the shapes "
            f"{sessions.shape}, {items.shape}, {prices.shape}"
        )
    if prices.dtype.kind not in "iuf":
        raise ValueError(f"prices must be numbers, got {prices.dtype}")
    _check_rows("prices", np.isfinite(prices) & (prices > 0), prices, "a number above 0")
    return _as_ids("sessions", sessions), _as_ids("items", items), prices.astype(np.float64)


def _as_ids(name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind in "iu":
        return column.astype(np.int64)
    if column.dtype.kind == "U" or all(isinstance(entry, str) for entry in column):
        return column.astype(np.str_)
    raise ValueError(f"{name} must be integers or strings, got {column.dtype}")


def _keys(grams: Int64[np.ndarray, "M n"], n_items: int) -> Int64[np.ndarray, " M"]:
    """One number a row; the order of numbers is the order of rows."""
    keys = np.zeros(len(grams), np.int64)
    for column in grams.T:
        keys = keys * n_items + column
    return keys


def _grams(
    items: Int64[np.ndarray, " N"], sessions: Int64[np.ndarray, " N"], length: int, n_items: int
) -> tuple[Int64[np.ndarray, "M n"], Int64[np.ndarray, " M"]]:
    """The distinct runs of `length` purchases within a session, and how often each occurs."""
    starts = len(items) - length + 1
    whole = sessions[:starts] == sessions[length - 1 :]
    runs = np.stack([items[k : starts + k][whole] for k in range(length)], axis=1)
    keys, counts = np.unique(_keys(runs, n_items), return_counts=True)
    columns = [keys // n_items**k % n_items for k in reversed(range(length))]
    return np.stack(columns, axis=1), counts.astype(np.int64)


def _medians(
    groups: Int64[np.ndarray, " N"], values: Float64[np.ndarray, " N"]
) -> Float64[np.ndarray, " A"]:
    """The median of every group 0..A-1; each has a value."""
    ranked = values[np.lexsort((values, groups))]
    sizes = np.bincount(groups)
    first = np.cumsum(sizes) - sizes
    return (ranked[first + (sizes - 1) // 2] + ranked[first + sizes // 2]) / 2


def _looked_up(what: str, ids: np.ndarray, known: Mapping[Any, str]) -> tuple[str, ...]:
    """The entry of every id."""
    missing = [item for item in ids.tolist() if item not in known]
    if missing:
        raise ValueError(
            f"item {missing[0]!r} has no {what}: {len(missing)} of {len(ids)} items have none, "
            f"{len(known)} are given"
        )
    return tuple(known[item] for item in ids.tolist())


def _categories(
    ids: np.ndarray, known: Mapping[Any, str] | None
) -> tuple[Int64[np.ndarray, " A"], tuple[str, ...]]:
    if known is None:
        return np.zeros(len(ids), np.int64), (NO_CATEGORY,)
    names, codes = np.unique(_looked_up("category", ids, known), return_inverse=True)
    return codes.astype(np.int64), tuple(names.tolist())


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"there are no n-gram tables at {path}; NgramTables.write makes them")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .npz file; NgramTables.write makes one")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}; write the tables anew") from error
    if str(arrays.get("format")) != FORMAT:
        raise ValueError(f"{path} must say {FORMAT!r}, got {str(arrays.get('format'))!r}")
    missing = [field.name for field in fields(NgramTables) if field.name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks the array(s) {', '.join(missing)}; write the tables anew")
    return arrays


# --- a shop of its own making. Every number below is an assumption: none is taken from a paper.

CATEGORIES = 20
"""Categories of the synthetic shop (fewer where it has fewer items)."""
SESSIONS_AN_ITEM = 10
"""Sessions of the synthetic log for every item: with `MEAN_LENGTH` about 250 purchases an item."""
MEAN_LENGTH, SHORTEST, LONGEST = 25, 3, 100
"""Purchases of a session: geometric, between these bounds."""
ZIPF = 0.8
"""An item's general appeal is (its rank)^-ZIPF."""
COMPLEMENTS = (0.45, 0.25, 0.15, 0.10, 0.05)
"""How an item's complements share what is bought for its sake, the dearest to it first."""
RELATED = 2
"""An item's complements lie in this many other categories, the same for its whole category."""
AFTER_LAST, AFTER_BOTH, SAME_CATEGORY = 0.35, 0.15, 0.25
"""Share of purchases that complete the last item, that complete the one before it, and that are of
the last item's category; the rest follow general appeal."""
MEDIAN_PRICE, CATEGORY_SPREAD, ITEM_SPREAD = 8.0, 0.6, 0.5
"""Log-normal prices: median of all, and deviations of log prices between and within categories."""
CHEAPEST = 0.25
"""No price is lower."""


@lru_cache(maxsize=4)
def synthetic_tables(n_items: int = 1000, seed: int = 0) -> NgramTables:
    """The tables of a made-up shop; the same arguments give the same tables.

    Items have a category, an appeal that falls with their rank (Zipf), a log-normal price and five
    complements in two other categories. A session is a chain: the next purchase is a complement of
    the last item or of the one before it, an item of the last one's category, or any item, the last
    two by appeal. Every item opens at least one session.

    Raises:
        ValueError: fewer than 2 items, or too many.
    """
    if not 2 <= n_items <= LARGEST_CATALOGUE:
        raise ValueError(f"a synthetic shop has 2 to {LARGEST_CATALOGUE} items, got {n_items}")
    generator = np.random.default_rng([n_items, seed])
    shop = _Shop.draw(n_items, generator)
    sessions, items = _purchases(shop, generator)
    every = range(n_items)
    return NgramTables.from_purchases(
        sessions,
        items,
        shop.prices[items],
        categories={item: f"aisle {shop.categories[item]:02}" for item in every},
        names={item: f"aisle {shop.categories[item]:02}, item {item}" for item in every},
        min_length=SHORTEST,
    )


@dataclass(frozen=True, eq=False)
class _Shop:
    """Items of the synthetic shop.

    Attributes:
        categories: `[A]`.
        prices: `[A]`.
        complements: `[A, K]` items, the dearest to each first.
        by_category: `[A]` items, category after category.
        starts: `[C + 1]` where each category begins in `by_category`.
        appeal: `[A + 1]` cumulative appeal, in the order of `by_category`.
    """

    categories: Int64[np.ndarray, " A"]
    prices: Float64[np.ndarray, " A"]
    complements: Int64[np.ndarray, "A K"]
    by_category: Int64[np.ndarray, " A"]
    starts: Int64[np.ndarray, " C_plus_1"]
    appeal: Float64[np.ndarray, " A_plus_1"]

    @staticmethod
    def draw(n_items: int, generator: np.random.Generator) -> "_Shop":
        n_categories = min(CATEGORIES, n_items)
        categories = generator.permutation(np.arange(n_items) % n_categories)
        by_category = np.argsort(categories, kind="stable")
        starts = np.searchsorted(categories[by_category], np.arange(n_categories + 1))
        appeal = (1.0 + generator.permutation(n_items)) ** -ZIPF
        level = np.log(MEDIAN_PRICE) + CATEGORY_SPREAD * generator.standard_normal(n_categories)
        logs = level[categories] + ITEM_SPREAD * generator.standard_normal(n_items)
        steps = 1 + generator.integers(RELATED, size=(n_items, len(COMPLEMENTS)))
        related = (categories[:, None] + steps) % n_categories
        place = starts[related] + np.floor(
            generator.random(related.shape) * np.diff(starts)[related]
        ).astype(np.int64)
        return _Shop(
            categories=categories,
            prices=np.maximum(np.round(np.exp(logs), 2), CHEAPEST),
            complements=by_category[place],
            by_category=by_category,
            starts=starts,
            appeal=np.concatenate([[0.0], np.cumsum(appeal[by_category])]),
        )

    def within(
        self,
        first: Int64[np.ndarray, " N"],
        end: Int64[np.ndarray, " N"],
        draws: Float64[np.ndarray, " N"],
    ) -> Int64[np.ndarray, " N"]:
        """An item by appeal among places first..end-1 of `by_category`."""
        low, high = self.appeal[first], self.appeal[end]
        place = np.searchsorted(self.appeal, low + draws * (high - low), side="right") - 1
        return self.by_category[np.clip(place, first, end - 1)]

    def follow(
        self,
        older: Int64[np.ndarray, " N"],
        last: Int64[np.ndarray, " N"],
        draws: Float64[np.ndarray, "2 N"],
    ) -> Int64[np.ndarray, " N"]:
        """The purchases that follow: the first draw says of which kind, the second which item."""
        kind = np.searchsorted(np.cumsum([AFTER_LAST, AFTER_BOTH, SAME_CATEGORY]), draws[0])
        rank = np.searchsorted(np.cumsum(COMPLEMENTS[:-1]), draws[1], side="right")
        completed = self.complements[np.where(kind == 0, last, older), rank]
        near = kind == 2
        category = self.categories[last]
        first = np.where(near, self.starts[category], 0)
        end = np.where(near, self.starts[category + 1], len(self.categories))
        return np.where(kind < 2, completed, self.within(first, end, draws[1]))


def _purchases(
    shop: _Shop, generator: np.random.Generator
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """(session, item) of every purchase, a round of all sessions after the other."""
    n_items = len(shop.categories)
    n_sessions = SESSIONS_AN_ITEM * n_items
    lengths = SHORTEST - 1 + generator.geometric(1 / (MEAN_LENGTH - SHORTEST + 1), n_sessions)
    lengths = -np.sort(-np.minimum(lengths, LONGEST))
    everywhere = np.zeros(n_sessions, np.int64), np.full(n_sessions, n_items)
    last = shop.within(*everywhere, generator.random(n_sessions))
    last[:n_items] = generator.permutation(n_items)
    older = last
    items, sessions = [last], [np.arange(n_sessions)]
    for done in range(1, LONGEST):
        going = int(np.searchsorted(-lengths, -done))
        older, last = (
            last[:going],
            shop.follow(older[:going], last[:going], generator.random((2, going))),
        )
        items.append(last)
        sessions.append(np.arange(going))
    return np.concatenate(sessions), np.concatenate(items)
