"""KuaiRec, in tiny files of the documented shape."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.kuairec import read_kuairec

T = 1_593_878_903.438  # 2020-07-04 16:08 UTC
# user, video, share watched, seconds after T
SEEN = [
    (14, 148, 1.5, 0.0),
    (14, 183, 0.25, 7.0),
    (14, 148, 12.0, 27.0),
    (14, 183, 1.0, 7200.0),
    (21, 207, 2.5, 90_000.0),
]
MATRIX = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
USER = "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
USER += "follow_user_num,follow_user_num_range,fans_user_num_range,friend_user_num_range,"
USER += "register_days_range,onehot_feat0\n"


def write(folder: Path, seen: list = SEEN, *, big: bool = False) -> Path:
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    rows = [f"{u},{v},{int(1e4 * r)},10000,t,20200705,{T + s:.3f},{r}\n" for u, v, r, s in seen]
    name = "big" if big else "small"
    (data / f"{name}_matrix.csv").write_text(MATRIX + "".join(rows))
    (data / "item_categories.csv").write_text('video_id,feat\n148,[8]\n183,"[27, 9]"\n207,[8]\n')
    described = (
        '14,full_active,0,0,1,5,"(0,10]",0,0,61-90,1\n21,UNKNOWN,1,,0,0,0,"[1,10)",0,730+,0\n'
    )
    (data / "user_features.csv").write_text(USER + described)
    return folder


def test_the_third_video_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_kuairec(write(tmp_path))
    keeps_the_rules(log)
    assert log.episode_ids.tolist() == ["14.0", "14.1", "21.0"]
    assert log.lengths.tolist() == [3, 1, 1]
    assert log.rewards.tolist() == [1.5, 0.25, 5, 1, 2.5]
    assert log.action_probabilities is None
    third = state(log, 2)
    seconds = np.log(11)
    assert {name: third[name] for name in third if name.startswith(("last", "mean"))} == (
        pytest.approx(
            {
                "last1 tag=9": 1,
                "last1 tag=27": 1,
                "last1 log_seconds": seconds,
                "last1 reward": 0.25,
                "last2 tag=8": 1,
                "last2 log_seconds": seconds,
                "last2 reward": 1.5,
                "mean tag=8": 0.5,
                "mean tag=9": 0.5,
                "mean tag=27": 0.5,
                "mean log_seconds": seconds,
                "mean reward": 0.875,
            }
        )
    )
    user = {name for name in third if "=" in name and not name.startswith(("last", "mean"))}
    assert user == {
        "user_active_degree=full_active", "is_lowactive_period=0", "is_live_streamer=0",
        "is_video_author=1", "follow_user_num_range=(0,10]", "fans_user_num_range=0",
        "friend_user_num_range=0", "register_days_range=61-90",
    }  # fmt: skip
    assert state(log, 4)["is_live_streamer=OTHER"] == 1  # nothing stands there


@pytest.mark.parametrize(
    ("reward", "earned"), [("finished", [1, 0, 1, 1, 1]), ("liked", [0, 0, 1, 0, 1])]
)
def test_rewards(tmp_path: Path, reward: str, earned: list[float]) -> None:
    assert read_kuairec(write(tmp_path), reward=reward).rewards.tolist() == earned


def test_the_big_matrix_and_a_folder_without_data(tmp_path: Path) -> None:
    small = read_kuairec(write(tmp_path))
    big = read_kuairec(write(tmp_path, big=True) / "data", matrix="big")
    assert small.fingerprint == big.fingerprint


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_does_not_know_its_video_and_reward(
    tmp_path: Path, does_not_leak: Callable[[Log, Log, int], None], row: int
) -> None:
    changed = [*SEEN]
    user, video, ratio, when = SEEN[row]
    changed[row] = (user, 331 - video, ratio + 0.5, when)
    does_not_leak(read_kuairec(write(tmp_path)), read_kuairec(write(tmp_path, changed)), row)


def test_a_time_that_tells_how_long_a_video_was_watched_is_not_in_its_row(tmp_path: Path) -> None:
    """If an event's time is when it ended, moving it changes later rows only."""
    later = [*SEEN]
    later[1] = (14, 183, 0.25, 8.5)
    one, other = read_kuairec(write(tmp_path)), read_kuairec(write(tmp_path, later))
    assert np.array_equal(one.observations[:2], other.observations[:2])
    assert not np.array_equal(one.observations[2], other.observations[2])


def test_rows_without_a_time_are_dropped_only_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path) / "data" / "small_matrix.csv"
    path.write_text(path.read_text() + "14,207,1,10000,,,,0.5\n21,207,1,10000,,,,0.5\n")
    with pytest.raises(ValueError, match=r"'timestamp', row 5: .* \(2 such rows in all\).*untimed"):
        read_kuairec(tmp_path)
    assert len(read_kuairec(tmp_path, untimed="drop")) == 5
    path.write_text(MATRIX + "14,207,1,10000,,,,0.5\n")
    with pytest.raises(ValueError, match="no row has a time"):
        read_kuairec(tmp_path, untimed="drop")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("small_matrix", ",1.5\n", ",inf\n", "'watch_ratio', row 0: .*got 'inf'"),
        ("small_matrix", ",1.5\n", ",-1\n", "'watch_ratio', row 0: .*at least 0"),
        ("small_matrix", "14,148", "14,149", r"row 0: expected one that item_categories\.csv has"),
        ("small_matrix", "21,207", "22,207", r"row 4: expected one that user_features\.csv has"),
        ("item_categories", "[8]", "[8;9]", "'feat', row 0: expected whole numbers with commas"),
        ("item_categories", "148,", "183,", "'video_id', row 1: expected each once, got 183"),
        ("user_features", "21,UNKNOWN", "14,UNKNOWN", "'user_id', row 1: expected each once"),
        ("user_features", "is_video_author", "author", r"lacks the column\(s\) is_video_author"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    path = write(tmp_path) / "data" / f"{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=said):
        read_kuairec(tmp_path)


def test_absent_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no small_matrix\.csv or data/small_matrix\.csv"):
        read_kuairec(tmp_path)
    with pytest.raises(ValueError, match="matrix must be one of small, big"):
        read_kuairec(tmp_path, matrix="tiny")
    with pytest.raises(ValueError, match="untimed must be one of refuse, drop"):
        read_kuairec(tmp_path, untimed="guess")
