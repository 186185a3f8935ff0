"""RL4RS (Wang et al. 2023) -> a Log of pages of a game's shop, filled slot by slot.

Read is one of the files `rl4rs_dataset_a_sl.csv`, `.._a_rl.csv`, `.._b_sl.csv`, `.._b_rl.csv`,
whose cells are parted by `@`, and `item_info.csv`, whose cells are parted by blanks, from the
folder given or its folder `raw_data`.

Episode: a session: one page of nine items (dataset a) or several, one after the other (dataset b).
A page is chosen as a whole before the user answers it; here it is nine steps, slot by slot, as in
the publisher's environment. A session ends `terminated`.

Action: the item of the slot, 1 to 283. Features: `item_vec` as it is, log(1 + price), the location
one-hot, and whether it is special. Allowed: items of the slot's location (the first three slots
have the first, ..) that the page does not have yet, and no second special item on a page, as the
publisher's environment has it.

Reward: by `reward`,

- `page`: after the ninth slot, the summed prices of what the user bought of the page, else 0: the
  publisher's reward. It is earned when the user answers.
- `item`: after each slot, the price of its item where the user bought it, else 0. It says earlier
  than the user does what will be bought; no state tells it before the page is full.

Observation:

- `dense K`: what `user_protrait` tells after its first ten numbers, as it is
- `category K=ID`: its first ten, which are ids; of each the 8 most frequent stand for themselves
- `clicked before K`, `log_clicked_before`: mean `item_vec` of the items of `user_seqfeature` in the
  session's first page, and log(1 + their number); numbers there that are no item are not told
- `slot=1` .. `slot=9`, `log_page`: where the item will stand
- `page K`, `last K`: mean `item_vec` of the page's items so far, and that of the last
- `bought K`, `log_bought`, `log_earned`: mean `item_vec`, number and summed price of what was
  bought of earlier pages of the session
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import (
    Column,
    Layout,
    find_table,
    read_table,
    refuse_repeats,
    refuse_rows,
)
from offline_actrep.files.exchange.histories import before, mean_before, one_hot
from offline_actrep.files.exchange.sessions import at_least, one_of
from offline_actrep.files.faults import refusal

_SLOTS = 9
_LAYERS = 3
_CATEGORIES = 10
_MOST_KINDS = 8
_DATASETS = ("a_sl", "a_rl", "b_sl", "b_rl")
_LISTS = 100_000
_PAGES = (
    Column("timestamp", "integer", low=0),
    Column("session_id", "integer"),
    Column("sequence_id", "integer", low=1, high=1000),
    Column("exposed_items", "text", longest=_LISTS),
    Column("user_feedback", "text", longest=_LISTS),
    Column("user_seqfeature", "text", longest=_LISTS),
    Column("user_protrait", "text", longest=_LISTS),
)
_ITEMS = (
    Column("item_id", "integer", low=1, high=10**9),
    Column("item_vec", "text", longest=_LISTS),
    Column("price", "number", low=0),
    Column("location", "integer", low=1, high=_LAYERS),
    Column("special_item", "integer", low=0, high=2),
)
_SPECIAL = 2
_SOURCE = "get RL4RS from https://github.com/fuxiAIlab/RL4RS and unpack it"


def read_rl4rs(
    folder: str | Path,
    *,
    dataset: str = "a_sl",
    reward: str = "page",
    limit_actions: bool = True,
    max_sessions: int | None = None,
    seed: int = 0,
) -> Log:
    """Reads a file in `folder`; every slot of the sessions read is a row.

    Args:
        folder: holds the file and `item_info.csv`.
        dataset: `a_sl`, `a_rl`, `b_sl` or `b_rl`.
        reward: `page` or `item`, as above.
        limit_actions: whether to say which items a slot could have, at some 7 kB a page. A log
            that breaks the publisher's rules for a page is then refused.
        max_sessions: that many sessions are drawn; None reads all. A row takes some 2 kB.
        seed: draws the sessions.

    Raises:
        ValueError: a setting that there is not or below its least value, a file or column that is
            absent, a cell that does not fit, lists of another length, an unknown item, a session
            in two places or with a page missing, an item on a page where it may not stand.
    """
    one_of("dataset", dataset, _DATASETS)
    one_of("reward", reward, ("page", "item"))
    path, items_path = (
        find_table(folder, (name, f"raw_data/{name}"), _SOURCE)
        for name in (f"rl4rs_dataset_{dataset}.csv", "item_info.csv")
    )
    items, vectors = _read_items(items_path)
    pages = _read_pages(path, items)
    if max_sessions is not None:
        at_least("max_sessions", max_sessions, 1)
        pages = _draw(pages, max_sessions, seed)
    action_set = _action_set(items, vectors)
    shown = action_set.encode(_flat(pages["exposed_items"])).reshape(-1, _SLOTS)
    bought = _flat(pages["user_feedback"]).reshape(-1, _SLOTS) > 0
    prices = items["price"].to_numpy()[shown] * bought
    if reward == "page":
        rewards = np.zeros(prices.shape)
        rewards[:, -1] = prices.sum(axis=1)
    else:
        rewards = prices
    observations, names = _observations(pages, shown, bought, prices, vectors, action_set)
    allowed = _allowed(path, pages, shown, items) if limit_actions else None
    return _log(pages, action_set, shown, rewards, observations, names, allowed)


def _read_items(path: Path) -> tuple[pl.DataFrame, Float32[np.ndarray, "A V"]]:
    """The items by rising id, and their vectors."""
    items = read_table(path, _ITEMS, Layout(separator=" ", quoted=False))
    refuse_repeats(path, items["item_id"])
    vectors = _numbers(path, items["item_vec"], None)
    items = items.with_columns(vectors.alias("item_vec")).sort("item_id")
    return items, np.stack(items["item_vec"].to_list()).astype(np.float32)


def _read_pages(path: Path, items: pl.DataFrame) -> pl.DataFrame:
    """The pages with their lists, sessions one after the other, as they stand in the file."""
    written = read_table(path, _PAGES, Layout(separator="@", quoted=False))
    lengths = {"exposed_items": _SLOTS, "user_feedback": _SLOTS, "user_protrait": None}
    pages = written.with_columns(
        _numbers(path, written[name], length).alias(name)
        for name, length in (*lengths.items(), ("user_seqfeature", 0))
    )
    mend = "drop the page's session"
    ids = items["item_id"].cast(pl.Float64).to_list()
    known = {"exposed_items": ids, "user_feedback": [0.0, 1.0]}
    said = {"exposed_items": "items that item_info.csv has", "user_feedback": "zeros and ones"}
    for name, values in known.items():
        every = pl.col(name).list.eval(pl.element().is_in(values)).list.all()
        wrong = ~pages.select(every).to_series()
        refuse_rows(path, name, wrong, said[name], written[name], mend)
    return _check_sessions(path, pages).with_row_index("row")


def _check_sessions(path: Path, pages: pl.DataFrame) -> pl.DataFrame:
    """Adds whether a page `begins` its session."""
    session, page = pages["session_id"], pages["sequence_id"]
    begins = (session != session.shift(1)).fill_null(True)
    mend = "sort the pages by session_id and sequence_id; drop sessions that are not whole"
    again = begins & ~session.is_first_distinct()
    refuse_rows(path, "session_id", again, "a session in one piece", session, mend)
    pages = pages.with_columns(begins.alias("begins"))
    due = pl.when("begins").then(1).otherwise(pl.col("sequence_id").shift(1) + 1)
    wrong = page != pages.select(due).to_series()
    refuse_rows(path, "sequence_id", wrong, "1, then one more a page", page, mend)
    return pages


def _numbers(path: Path, cells: pl.Series, length: int | None) -> pl.Series:
    """Numbers with commas between: so many, or as many as in the first row, or any number (0)."""
    lists = cells.str.split(",").cast(pl.List(pl.Float64), strict=False)
    fits = lists.list.eval(pl.element().is_finite().fill_null(False)).list.all()
    due = int(lists.list.len()[0]) if length is None else length
    if due:
        fits &= lists.list.len() == due
    expected = f"{due or 'some'} numbers with commas between"
    refuse_rows(path, cells.name, ~fits, expected, cells, "get the file again, or drop the row")
    return lists


def _draw(pages: pl.DataFrame, max_sessions: int, seed: int) -> pl.DataFrame:
    sessions = pages["session_id"].unique().sort()
    drawn = np.random.default_rng(seed).permutation(len(sessions))[:max_sessions]
    return pages.filter(pl.col("session_id").is_in(sessions[np.sort(drawn)].implode()))


def _flat(lists: pl.Series) -> Int64[np.ndarray, " N"]:
    return lists.explode().cast(pl.Int64).to_numpy()


def _observations(
    pages: pl.DataFrame,
    shown: Int64[np.ndarray, "P 9"],
    bought: Bool[np.ndarray, "P 9"],
    prices: Float64[np.ndarray, "P 9"],
    vectors: Float32[np.ndarray, "A V"],
    action_set: ActionSet,
) -> tuple[Float32[np.ndarray, "N S"], tuple[str, ...]]:
    """The state before each slot: what was known before the page, and what the page has so far."""
    parts = [_user(pages, vectors, action_set), _earlier(pages, shown, bought, prices, vectors)]
    blocks = [np.repeat(block, _SLOTS, axis=0) for block, _ in parts]
    names = [name for _, own in parts for name in own]
    slot = np.tile(np.arange(_SLOTS), len(pages))
    blocks.append(np.eye(_SLOTS, dtype=np.float32)[slot])
    names += [f"slot={k}" for k in range(1, _SLOTS + 1)]
    told = vectors[shown.reshape(-1)]
    blocks += [mean_before(told, slot), before(told, slot, 1)]
    names += _numbered("page", vectors) + _numbered("last", vectors)
    return np.hstack(blocks), tuple(names)


def _numbered(prefix: str, vectors: np.ndarray) -> list[str]:
    return [f"{prefix} {k}" for k in range(vectors.shape[1])]


def _user(
    pages: pl.DataFrame, vectors: Float32[np.ndarray, "A V"], action_set: ActionSet
) -> tuple[Float32[np.ndarray, "P D"], list[str]]:
    """What is known of the user when the session begins, a row a page."""
    session = pages["begins"].cum_sum().cast(pl.Int64).to_numpy() - 1
    first = pages.filter("begins")
    portrait = np.stack(first["user_protrait"].to_list())
    dense = portrait[:, _CATEGORIES:].astype(np.float32)
    blocks, names = [dense], [f"dense {k}" for k in range(dense.shape[1])]
    for k in range(_CATEGORIES):
        ids = pl.Series(portrait[:, k]).cast(pl.Int64)
        block, own = one_hot(ids, _MOST_KINDS, prefix=f"category {k}")
        blocks.append(block)
        names += own
    lengths = first["user_seqfeature"].list.len().to_numpy()
    index, known = action_set.find(_flat(first["user_seqfeature"]))
    owner = np.repeat(np.arange(len(first)), lengths)[known]
    counts = np.bincount(owner, minlength=len(first)).astype(np.float64)
    blocks.append(_mean_of(vectors[index[known]], owner, counts))
    blocks.append(np.log1p(counts).astype(np.float32)[:, None])
    names += [*_numbered("clicked before", vectors), "log_clicked_before"]
    return np.hstack(blocks)[session], names


def _mean_of(
    told: Float32[np.ndarray, "N V"],
    owner: Int64[np.ndarray, " N"],
    counts: Float64[np.ndarray, " P"],
) -> Float32[np.ndarray, "P V"]:
    sums = np.zeros((len(counts), told.shape[1]))
    np.add.at(sums, owner, told)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def _earlier(
    pages: pl.DataFrame,
    shown: Int64[np.ndarray, "P 9"],
    bought: Bool[np.ndarray, "P 9"],
    prices: Float64[np.ndarray, "P 9"],
    vectors: Float32[np.ndarray, "A V"],
) -> tuple[Float32[np.ndarray, "P D"], list[str]]:
    """What the user bought of the session's earlier pages, a row a page."""
    page = pages["sequence_id"].to_numpy() - 1
    sums = np.einsum("psv,ps->pv", vectors[shown], bought.astype(np.float32))
    each = np.column_stack([sums, bought.sum(axis=1), prices.sum(axis=1)]).astype(np.float32)
    so_far = mean_before(each, page) * page[:, None].astype(np.float32)
    count = so_far[:, -2:-1]
    block = np.column_stack(
        [so_far[:, :-2] / np.maximum(count, 1), np.log1p(so_far[:, -2:]), np.log1p(page)]
    )
    names = [*_numbered("bought", vectors), "log_bought", "log_earned", "log_page"]
    return block.astype(np.float32), names


def _allowed(
    path: Path, pages: pl.DataFrame, shown: Int64[np.ndarray, "P 9"], items: pl.DataFrame
) -> AllowedActions:
    """What each slot could have."""
    location = items["location"].to_numpy()
    special = items["special_item"].to_numpy() == _SPECIAL
    masks = np.zeros((len(shown), _SLOTS, len(items)), bool)
    free = np.ones((len(shown), len(items)), bool)
    rows = np.arange(len(shown))
    for slot in range(_SLOTS):
        masks[:, slot] = free & (location == slot * _LAYERS // _SLOTS + 1)
        free[rows, shown[:, slot]] = False
        free &= ~(special[shown[:, slot]][:, None] & special)
        broken = np.flatnonzero(~masks[rows, slot, shown[:, slot]])
        if len(broken):
            page = pages.row(int(broken[0]), named=True)
            expected = f"in slot {slot + 1} an item of its location that may still stand there"
            found = f"{[int(item) for item in page['exposed_items']]} ({len(broken)} such rows)"
            mend = "read the file with limit_actions=False"
            raise refusal(path, "exposed_items", expected, found, mend, page["row"])
    return AllowedActions.of_mask(masks.reshape(-1, len(items)))


def _action_set(items: pl.DataFrame, vectors: Float32[np.ndarray, "A V"]) -> ActionSet:
    layers = np.arange(1, _LAYERS + 1)
    location = items["location"].to_numpy()[:, None] == layers
    special = items["special_item"].to_numpy() == _SPECIAL
    blocks = [vectors, np.log1p(items["price"].to_numpy())[:, None], location, special[:, None]]
    return ActionSet(
        ids=items["item_id"].to_numpy(),
        features=np.hstack(blocks).astype(np.float32),
        feature_names=(
            *_numbered("item_vec", vectors),
            "log_price",
            *(f"location={layer}" for layer in layers),
            "special",
        ),
    )


def _log(
    pages: pl.DataFrame,
    action_set: ActionSet,
    shown: Int64[np.ndarray, "P 9"],
    rewards: Float64[np.ndarray, "P 9"],
    observations: Float32[np.ndarray, "N S"],
    names: tuple[str, ...],
    allowed: AllowedActions | None,
) -> Log:
    starts = np.flatnonzero(pages["begins"].to_numpy()) * _SLOTS
    n = len(observations)
    offsets = np.append(starts, n).astype(np.int64)
    ends = np.zeros(n, bool)
    ends[offsets[1:] - 1] = True
    rows = np.arange(n)
    return Log(
        action_set=action_set,
        observations=observations,
        actions=shown.reshape(-1),
        rewards=rewards.reshape(-1).astype(np.float32),
        terminated=ends,
        truncated=np.zeros(n, bool),
        next_observations=observations[np.where(ends, rows, rows + 1)],
        has_next=~ends,
        episode_offsets=offsets,
        episode_ids=pages.filter("begins")["session_id"].to_numpy(),
        allowed=allowed,
        timestamps=np.repeat(pages["timestamp"].to_numpy(), _SLOTS),
        observation_names=names,
    )
