"""RL4RS, in tiny files of the documented shape: three locations of five items each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.rl4rs import read_rl4rs

HEAD = "timestamp@session_id@sequence_id@exposed_items@user_feedback@user_seqfeature@"
HEAD += "user_protrait@item_feature@behavior_policy_id\n"
ITEMS = [
    (k, f"{k / 10},{-k / 10}", float(k), (k - 1) // 5 + 1, 2 if k in (4, 5) else 0)
    for k in range(1, 16)
]
PORTRAIT = ",".join(str(k) for k in range(10)) + ",0.5,7.25"
ONE = "1,2,4,6,7,8,11,12,13"
TWO = "2,3,1,10,9,8,15,14,11"
# session, page, items, bought
PAGES = [
    (31, 1, ONE, "1,0,0,0,0,0,0,0,1"),
    (31, 2, TWO, "0,0,0,0,0,0,0,0,0"),
    (32, 1, ONE, "0,1,0,0,0,0,0,0,0"),
]


def write(folder: Path, pages: list = PAGES, dataset: str = "b_sl") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [
        f"{2992008 + session}@{session}@{page}@{items}@{bought}@6,8,0@{PORTRAIT}@0.1,0.2@1\n"
        for session, page, items, bought in pages
    ]
    (folder / f"rl4rs_dataset_{dataset}.csv").write_text(HEAD + "".join(rows))
    items = "".join(" ".join(map(str, item)) + "\n" for item in ITEMS)
    (folder / "item_info.csv").write_text("item_id item_vec price location special_item\n" + items)
    return folder


def test_a_slot_of_the_second_page_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_rl4rs(write(tmp_path), dataset="b_sl")
    keeps_the_rules(log)
    assert log.lengths.tolist() == [18, 9]
    assert log.episode_ids.tolist() == [31, 32]
    assert log.terminated.sum() == 2
    assert log.terminated[17]
    known = state(log, 9 + 2)  # the second page has items 2 and 3 by now
    assert known == pytest.approx(
        {
            "dense 0": 0.5, "dense 1": 7.25, **{f"category {k}={k}": 1 for k in range(10)},
            "clicked before 0": 0.7, "clicked before 1": -0.7, "log_clicked_before": np.log(3),
            "slot=3": 1, "log_page": np.log(2),
            "page 0": 0.25, "page 1": -0.25, "last 0": 0.3, "last 1": -0.3,
            "bought 0": 0.7, "bought 1": -0.7, "log_bought": np.log(3), "log_earned": np.log(15),
        }
    )  # fmt: skip


def test_a_page_pays_when_it_is_full_or_item_by_item(tmp_path: Path) -> None:
    pages = read_rl4rs(write(tmp_path), dataset="b_sl").rewards.reshape(3, 9)
    assert pages.sum(axis=1).tolist() == [14, 0, 2]
    assert pages[:, :-1].sum() == 0
    items = read_rl4rs(tmp_path, dataset="b_sl", reward="item").rewards.reshape(3, 9)
    assert items[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 13]


def test_what_a_slot_could_have(tmp_path: Path) -> None:
    log = read_rl4rs(write(tmp_path), dataset="b_sl")
    assert log.allowed is not None
    ids = [log.action_set.decode(log.allowed.row(row)).tolist() for row in range(9)]
    assert ids[0] == [1, 2, 3, 4, 5]
    assert ids[2] == [3, 4, 5]
    assert ids[3] == [6, 7, 8, 9, 10]
    assert ids[8] == [13, 14, 15]
    assert read_rl4rs(tmp_path, dataset="b_sl", limit_actions=False).allowed is None


@pytest.mark.parametrize(
    "items", ["1,1,4,6,7,8,11,12,13", "6,2,4,1,7,8,11,12,13", "1,5,4,6,7,8,11,12,13"]
)
def test_a_page_that_breaks_the_rules_is_refused_unless_they_are_not_told(
    tmp_path: Path, items: str
) -> None:
    """An item twice, in another location, and two special ones."""
    folder = write(tmp_path, [PAGES[0], (32, 1, items, PAGES[0][3])])
    with pytest.raises(ValueError, match=r"row 1: expected in slot . an item.*limit_actions=False"):
        read_rl4rs(folder, dataset="b_sl")
    with pytest.raises(ValueError, match="row 1: expected in slot"):  # whichever is drawn
        for seed in range(9):
            read_rl4rs(folder, dataset="b_sl", max_sessions=1, seed=seed)
    assert len(read_rl4rs(folder, dataset="b_sl", limit_actions=False)) == 18


def test_a_row_does_not_know_its_item_nor_what_is_bought_of_its_page(
    tmp_path: Path, does_not_leak: Callable[[Log, Log, int], None]
) -> None:
    one = read_rl4rs(write(tmp_path), dataset="b_sl", reward="item")
    other_page = (31, 1, ONE.replace("4", "3"), "1,1,1,1,1,1,1,1,0")
    write(tmp_path, [other_page, *PAGES[1:]])
    other = read_rl4rs(tmp_path, dataset="b_sl", reward="item")
    does_not_leak(one, other, 2)
    same_items = (*PAGES[0][:3], "0,1,1,1,1,1,1,1,0")
    other = read_rl4rs(write(tmp_path, [same_items, *PAGES[1:]]), dataset="b_sl")
    assert np.array_equal(one.observations[:9], other.observations[:9])
    assert not np.array_equal(one.observations[9], other.observations[9])


def test_sessions_are_drawn_whole(tmp_path: Path) -> None:
    log = read_rl4rs(write(tmp_path), dataset="b_sl", max_sessions=1)
    assert len(log) in (9, 18)
    assert log.n_episodes == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("rl4rs_dataset_b_sl", "@1,2,4", "@1,2", "'exposed_items', row 0: expected 9 numbers"),
        ("rl4rs_dataset_b_sl", "@1,2,4", "@1,x,4", "'exposed_items', row 0: expected 9 numbers"),
        ("rl4rs_dataset_b_sl", "@1,2,4", "@1,2,99", "'exposed_items', row 0: expected items that"),
        ("rl4rs_dataset_b_sl", "@1,0,0", "@2,0,0", "'user_feedback', row 0: expected zeros and"),
        ("rl4rs_dataset_b_sl", "7.25", "inf", "'user_protrait', row 0: expected 12 numbers"),
        ("rl4rs_dataset_b_sl", "@31@2@", "@31@3@", "'sequence_id', row 1: expected 1, then one"),
        ("rl4rs_dataset_b_sl", "@32@1@", "@31@1@", "'sequence_id', row 2: expected 1, then one"),
        ("rl4rs_dataset_b_sl", "session_id", "session", r"lacks the column\(s\) session_id"),
        ("item_info", "2 0.2", "1 0.2", "'item_id', row 1: expected each once, got 1"),
        ("item_info", " 1 0\n", " 4 0\n", "'location', row 0: expected a 64-bit integer"),
        ("item_info", "0.2,-0.2", "0.2", "'item_vec', row 1: expected 2 numbers"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    path = write(tmp_path) / f"{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=said):
        read_rl4rs(tmp_path, dataset="b_sl")


def test_a_session_in_two_places_absent_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no rl4rs_dataset_a_sl\.csv"):
        read_rl4rs(tmp_path)
    with pytest.raises(ValueError, match="dataset must be one of a_sl, a_rl, b_sl, b_rl"):
        read_rl4rs(tmp_path, dataset="c")
    folder = write(tmp_path, [PAGES[0], PAGES[2], (31, 1, *PAGES[0][2:])])
    with pytest.raises(ValueError, match="row 2: expected a session in one piece"):
        read_rl4rs(folder, dataset="b_sl")
