"""Events of a multi-category store, in tiny files of the documented shape."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.store_events import read_store_events

HEAD = (
    "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
)
PRODUCTS = {
    100: ("electronics.smartphone", "xiaomi", 489.0),
    200: ("", "lg", 10.0),
    300: ("", "", 0),
}
# day, time, kind, product, user, session
OCTOBER = [
    (1, "10:00:00", "view", 100, 7, "s1"),
    (1, "10:00:30", "cart", 100, 7, "s1"),
    (1, "10:00:30", "purchase", 200, 7, "s1"),
    (1, "10:05:00", "view", 300, 7, "s1"),
]
NOVEMBER = [(3, "08:00:00", "view", 200, 7, "s2"), (9, "09:00:00", "purchase", 200, 8, "s2")]


def month(folder: Path, name: str, number: int, events: list) -> Path:
    lines = []
    for day, time, kind, product, user, session in events:
        code, brand, price = PRODUCTS[product]
        when = f"2019-{number}-{day:02} {time} UTC"
        lines.append(f"{when},{kind},{product},2053013,{code},{brand},{price},{user},{session}\n")
    (folder / name).write_text(HEAD + "".join(lines))
    return folder


def write(folder: Path, october: list = OCTOBER, november: list = NOVEMBER) -> Path:
    month(folder, "2019-Oct.csv", 10, october)
    return month(folder, "2019-Nov.csv", 11, november)


def test_the_third_event_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_store_events(write(tmp_path))
    keeps_the_rules(log)
    assert log.episode_ids.tolist() == ["7.0", "7.1", "8.0"]
    assert log.lengths.tolist() == [4, 1, 1]
    assert log.rewards.tolist() == [0, 0, 10, 0, 0, 10]
    assert log.terminated.tolist() == [False, False, False, True, True, False]
    assert log.truncated[-1]  # the log ends with this event
    price = pytest.approx(np.log(490))
    third = state(log, 2)
    assert {name: third[name] for name in third if name.startswith("last")} == {
        "last1 category=electronics": 1, "last1 brand=xiaomi": 1, "last1 log_price": price,
        "last1 cart": 1,
        "last2 category=electronics": 1, "last2 brand=xiaomi": 1, "last2 log_price": price,
        "last2 view": 1,
    }  # fmt: skip
    assert third["mean view"] == third["mean cart"] == 0.5
    fourth = state(log, 3)
    assert fourth["last1 log_reward"] == pytest.approx(np.log(11))
    assert fourth["last1 category=OTHER"] == fourth["last1 brand=lg"] == 1
    assert "log_seconds_between_last_two" not in fourth  # both in one second
    later = state(log, 4)
    assert later["usual_reward"] == pytest.approx(2.5)
    assert later["log_events_before"] == pytest.approx(np.log(5))


def test_products_have_features(tmp_path: Path) -> None:
    actions = read_store_events(write(tmp_path)).action_set
    assert actions.ids.tolist() == [100, 200, 300]
    names = ("category=electronics", "category=OTHER", "brand=lg", "brand=xiaomi", "brand=OTHER")
    assert actions.feature_names == (*names, "log_price")
    assert actions.features is not None
    assert actions.features[2].tolist() == [0, 1, 0, 0, 1, 0]


def test_purchases_may_be_the_reward(tmp_path: Path) -> None:
    log = read_store_events(write(tmp_path), reward="purchases")
    assert log.rewards.tolist() == [0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_row_does_not_know_its_product_and_reward(
    tmp_path: Path, does_not_leak: Callable[[Log, Log, int], None], row: int
) -> None:
    changed = [*OCTOBER]
    day, time, kind, product, user, session = OCTOBER[row]
    other = 200 if product == 100 else 100
    changed[row] = (day, time, "view" if kind == "purchase" else "purchase", other, user, session)
    november = [*NOVEMBER, *((20, "00:00:00", "view", product, 9, "s9") for product in PRODUCTS)]
    one = read_store_events(write(tmp_path, OCTOBER, november))
    does_not_leak(one, read_store_events(write(tmp_path, changed, november)), row)


def test_events_without_a_session_are_dropped_only_when_asked(tmp_path: Path) -> None:
    folder = write(tmp_path, [*OCTOBER, (1, "11:00:00", "view", 100, 7, "")])
    with pytest.raises(
        ValueError, match=r"Oct\.csv, column 'user_session', row 4: .*unnamed='drop'"
    ):
        read_store_events(folder)
    assert len(read_store_events(folder, unnamed="drop")) == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("view", "look", "'event_type', row 0: expected one of 'view', 'cart'"),
        ("489.0", "-1", "'price', row 0: expected a finite number, at least 0"),
        ("489.0", "", "'price', row 0: .*got nothing"),
        ("10:00:00 UTC", "10:00:00", "'event_time', row 0: expected a time written %Y"),
        (",7,", ",seven,", "'user_id', row 0: expected a 64-bit integer, got 'seven'"),
        ("s1", "s" * 65, "'user_session', row 0: expected text of at most 64 characters"),
        ("brand", "maker", r"lacks the column\(s\) brand"),
        (",s1\n", ",s1,more\n", "cannot be read as a table"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write(tmp_path) / "2019-Oct.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=said) as refused:
        read_store_events(tmp_path)
    assert str(path) in str(refused.value)


def test_absent_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no \*\.csv"):
        read_store_events(tmp_path)
    with pytest.raises(ValueError, match="reward must be one of sales, purchases"):
        read_store_events(tmp_path, reward="profit")
    with pytest.raises(ValueError, match="no event in"):
        read_store_events(
            month(tmp_path, "x.csv", 10, [(1, "10:00:00", "view", 100, 7, "")]), unnamed="drop"
        )
