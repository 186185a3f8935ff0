"""KuaiRand, in tiny files of the documented shape."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.kuairand import read_kuairand

T = 1_650_485_801_301
SIGNALS = "is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view"
LOG = f"user_id,video_id,date,hourmin,time_ms,{SIGNALS},play_time_ms,duration_ms,"
LOG += "profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab\n"
# user, video, ms after T, clicked, liked, ms watched, at random, tab
STANDARD = [
    (0, 5, 0, 1, 0, 12_000, 0, 1),
    (0, 6, 9_000, 0, 0, 500, 0, 1),
    (1, 6, 9e6, 1, 1, 1, 0, 4),
]
RANDOM = [(0, 7, 4_000, 1, 1, 80_000, 1, 1)]
USER = "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
USER += "follow_user_num_range,fans_user_num_range,friend_user_num_range,register_days_range\n"
VIDEO = "video_id,author_id,video_type,upload_dt,upload_type,music_type,tag\n"


def lines(rows: list) -> str:
    return "".join(
        f"{user},{video},20220421,400,{T + int(ms)},{click},{like},0,0,0,0,0,"
        f"{played},10000,0,0,0,{rand},{tab}\n"
        for user, video, ms, click, like, played, rand, tab in rows
    )


def write(folder: Path, standard: list = STANDARD, random: list = RANDOM) -> Path:
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "log_standard_4_08_to_4_21_pure.csv").write_text(LOG + lines(standard[:1]))
    (data / "log_standard_4_22_to_5_08_pure.csv").write_text(LOG + lines(standard[1:]))
    (data / "log_random_4_22_to_5_08_pure.csv").write_text(LOG + lines(random))
    described = "".join(f'{user},full_active,0,-124,0,500+,"[1,10)",0,730+\n' for user in (0, 1))
    (data / "user_features_pure.csv").write_text(USER + described)
    videos = (
        '5,1,NORMAL,2020-07-08,ShortImport,4.0,"12,65"\n6,1,AD,,Web,,\n7,1,NORMAL,,Web,9.0,12\n'
    )
    (data / "video_features_basic_pure.csv").write_text(VIDEO + videos)
    return folder


def test_the_third_video_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    """Of both logs the videos of a user stand in the order of time."""
    log = read_kuairand(write(tmp_path))
    keeps_the_rules(log)
    assert log.action_set.decode(log.actions).tolist() == [5, 7, 6, 6]
    assert log.rewards.tolist() == [1, 1, 0, 1]
    assert log.lengths.tolist() == [3, 1]
    assert log.action_probabilities is None
    third = state(log, 2)
    seconds = pytest.approx(np.log(11))
    assert {name: third[name] for name in third if name.startswith("last")} == {
        "last1 tag=12": 1, "last1 video_type=NORMAL": 1, "last1 upload_type=Web": 1,
        "last1 music_type=9.0": 1, "last1 log_seconds": seconds, "last1 is_click": 1,
        "last1 is_like": 1, "last1 is_rand": 1, "last1 reward": 1,
        "last2 tag=12": 1, "last2 tag=65": 1, "last2 video_type=NORMAL": 1,
        "last2 upload_type=ShortImport": 1, "last2 music_type=4.0": 1,
        "last2 log_seconds": seconds, "last2 is_click": 1, "last2 reward": 1,
    }  # fmt: skip
    assert third["mean is_rand"] == 0.5
    assert third["tab=1"] == third["is_live_streamer=-124"] == 1
    assert state(log, 3)["tab=4"] == 1


@pytest.mark.parametrize(
    ("reward", "earned"), [("is_like", [0, 1, 0, 1]), ("watch_ratio", [1.2, 5, 0.05, 1e-4])]
)
def test_rewards(tmp_path: Path, reward: str, earned: list[float]) -> None:
    log = read_kuairand(write(tmp_path), reward=reward)
    assert log.rewards.tolist() == pytest.approx(earned)


def test_one_kind_of_log_alone(tmp_path: Path) -> None:
    assert len(read_kuairand(write(tmp_path), logs="standard")) == 3
    assert len(read_kuairand(write(tmp_path), logs="random")) == 1


@pytest.mark.parametrize("row", [0, 1])
def test_a_row_does_not_know_its_video_and_reward(
    tmp_path: Path, does_not_leak: Callable[[Log, Log, int], None], row: int
) -> None:
    # a second user keeps what is known of video 5 and 7 as it is
    more = [*STANDARD, *((2, video, 9e6 + video, 1, 0, 1, 0, 1) for video in (5, 6, 7))]
    more = [(min(user, 1), *rest) for user, *rest in more]
    standard, random = [*more], [*RANDOM]
    if row == 0:
        standard[0] = (0, 7, 0, 0, 1, 3, 0, 1)
    else:
        random[0] = (0, 5, 4_000, 0, 0, 7, 1, 1)
    one = read_kuairand(write(tmp_path, more))
    does_not_leak(one, read_kuairand(write(tmp_path, standard, random)), row)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("log_random_4_22_to_5_08", ",80000,", ",-1,", "'play_time_ms', row 0: .*at least 0"),
        ("log_random_4_22_to_5_08", "0,7,", "0,8,", r"expected one that video_features_basic_pure"),
        ("log_random_4_22_to_5_08", "0,7,", "3,7,", r"expected one that user_features_pure\.csv"),
        ("log_random_4_22_to_5_08", ",1,1\n", ",2,1\n", "'is_rand', row 0: expected one of 0, 1"),
        ("log_standard_4_22_to_5_08", f"{T + 9000}", "1e300", "'time_ms', row 0: "),
        ("video_features_basic", '"12,65"', "a", "'tag', row 0: expected whole numbers"),
        ("video_features_basic", "6,1,AD", "5,1,AD", "'video_id', row 1: expected each once"),
        ("user_features", "user_active_degree", "degree", r"lacks the column\(s\) user_active_deg"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    path = write(tmp_path) / "data" / f"{name}_pure.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=said):
        read_kuairand(tmp_path)


def test_absent_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no log_random_\*\.csv; get a version"):
        read_kuairand(tmp_path)
    with pytest.raises(ValueError, match="logs must be one of standard, random, both"):
        read_kuairand(tmp_path, logs="all")
    write(tmp_path, random=[(0, 7, 4_000, 1, 1, 80_000, 1, 1)])
    path = tmp_path / "data" / "log_random_4_22_to_5_08_pure.csv"
    path.write_text(path.read_text().replace(",10000,", ",0,"))
    with pytest.raises(ValueError, match="'duration_ms', row 0: expected above 0"):
        read_kuairand(tmp_path, reward="watch_ratio")
    (tmp_path / "data" / "user_features_1k.csv").write_text(USER)
    with pytest.raises(ValueError, match="expected one version in a folder"):
        read_kuairand(tmp_path)
