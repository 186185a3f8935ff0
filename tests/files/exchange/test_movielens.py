"""MovieLens in its two forms: states by hand, nothing of a rating in its own row."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.movielens import read_movielens

MOVIES = {
    10: ("Alien (1979)", "Horror|Sci-Fi"),
    20: ('"Clueless", or: a film (1995)', "Comedy"),
    31: ("Untitled", "(no genres listed)"),
}
T = 964_980_000  # 2000-07-30 18:00 UTC, a Sunday
# user, movie, stars, seconds
RATINGS = [
    (1, 10, 5.0, T),
    (1, 20, 2.0, T + 60),
    (1, 31, 4.0, T + 90),
    (1, 20, 3.0, T + 100 * 3600),
    (2, 10, 1.0, T + 200 * 3600),
]


def csv(folder: Path, ratings: list = RATINGS) -> Path:
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{u},{m},{r},{t}\n" for u, m, r, t in ratings)
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + lines)
    rows = [
        f'{m},"{title.replace(chr(34), chr(34) * 2)}",{g}\n' for m, (title, g) in MOVIES.items()
    ]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(rows))
    return folder


def dat(folder: Path, ratings: list = RATINGS) -> Path:
    folder.mkdir(exist_ok=True)
    lines = [f"{u}::{m}::{int(r)}::{t}\n" for u, m, r, t in ratings]
    (folder / "ratings.dat").write_text("".join(lines))
    rows = [f"{m}::{title}::{g}\n" for m, (title, g) in MOVIES.items()]
    (folder / "movies.dat").write_bytes("".join(rows).encode("latin-1"))
    users = ["1::F::25::4::02139\n", "2::M::56::16::70072-1234\n"]
    (folder / "users.dat").write_text("".join(users))
    return folder


def test_the_third_rating_by_hand(
    tmp_path: Path, state: Callable, keeps_the_rules: Callable[[Log], None]
) -> None:
    log = read_movielens(csv(tmp_path))
    keeps_the_rules(log)
    assert log.episode_ids.tolist() == ["1.0", "1.1", "2.0"]
    assert log.lengths.tolist() == [3, 1, 1]
    assert log.rewards.tolist() == [5, 2, 4, 3, 1]
    third = state(log, 2)
    assert {name: third[name] for name in third if name.startswith(("last", "mean"))} == (
        pytest.approx(
            {
                "last1 genre=Comedy": 1,
                "last1 decades_since_1980": 1.5,
                "last1 has_year": 1,
                "last1 reward": 2,
                "last2 genre=Horror": 1,
                "last2 genre=Sci-Fi": 1,
                "last2 decades_since_1980": -0.1,
                "last2 has_year": 1,
                "last2 reward": 5,
                "mean genre=Comedy": 0.5,
                "mean genre=Horror": 0.5,
                "mean genre=Sci-Fi": 0.5,
                "mean decades_since_1980": 0.7,
                "mean has_year": 1,
                "mean reward": 3.5,
            }
        )
    )
    assert third["log_seconds_between_last_two"] == pytest.approx(np.log(61))
    assert state(log, 3)["usual_reward"] == pytest.approx(11 / 3)


def test_movies_have_titles_and_features(tmp_path: Path) -> None:
    actions = read_movielens(csv(tmp_path)).action_set
    assert actions.ids.tolist() == [10, 20, 31]
    assert actions.names == tuple(title for title, _ in MOVIES.values())
    names = ("genre=Comedy", "genre=Horror", "genre=Sci-Fi", "decades_since_1980", "has_year")
    assert actions.feature_names == names
    assert actions.features is not None
    assert actions.features[2].tolist() == [0, 0, 0, 0, 0]


def test_both_forms_are_read_alike_and_dat_knows_users(tmp_path: Path, state: Callable) -> None:
    one, other = read_movielens(csv(tmp_path / "csv")), read_movielens(dat(tmp_path / "dat"))
    size = one.observation_size
    assert np.array_equal(one.observations, other.observations[:, :size])
    assert np.array_equal(one.rewards, other.rewards)
    assert one.action_set.names == other.action_set.names
    assert other.observation_names[size:] == (
        "gender=F", "gender=M", "age=25", "age=56", "occupation=16", "occupation=4",
    )  # fmt: skip
    assert {"gender=M", "age=56", "occupation=16"} < set(state(other, 4))


@pytest.mark.parametrize(
    ("reward", "earned"),
    [("rating", [5, 2, 4, 3, 1]), ("centred", [2, -1, 1, 0, -2]), ("liked", [1, 0, 1, 0, 0])],
)
def test_rewards(tmp_path: Path, reward: str, earned: list[float]) -> None:
    assert read_movielens(csv(tmp_path), reward=reward).rewards.tolist() == earned


@pytest.mark.parametrize("row", range(3))
def test_a_row_does_not_know_its_movie_and_rating(
    tmp_path: Path, does_not_leak: Callable[[Log, Log, int], None], row: int
) -> None:
    whole = [*RATINGS, (3, 10, 1.0, T), (3, 20, 1.0, T), (3, 31, 1.0, T)]
    changed = [*whole]
    user, movie, stars, when = whole[row]
    changed[row] = (user, 20 if movie != 20 else 10, stars - 0.5, when)
    before, after = read_movielens(csv(tmp_path, whole)), read_movielens(csv(tmp_path, changed))
    if before.ends[row]:
        assert np.array_equal(before.observations[: row + 1], after.observations[: row + 1])
    else:
        does_not_leak(before, after, row)


def test_ratings_of_one_second_are_not_left_in_the_order_of_the_file(tmp_path: Path) -> None:
    ratings = [(user, movie, 3.0, T) for user in range(60) for movie in MOVIES]
    folder = csv(tmp_path, ratings)
    log = read_movielens(folder)
    orders = log.actions.reshape(60, 3)
    assert (np.sort(orders) == [0, 1, 2]).all()
    assert len(np.unique(orders, axis=0)) == 6
    assert read_movielens(folder).fingerprint == log.fingerprint
    assert read_movielens(folder, seed=1).fingerprint != log.fingerprint


def test_users_are_drawn_and_sessions_cut(tmp_path: Path) -> None:
    log = read_movielens(csv(tmp_path), max_episode=2)
    assert log.lengths.tolist() == [2, 1, 1, 1]
    assert log.truncated.tolist() == [False, True, False, False, True]
    assert read_movielens(csv(tmp_path), max_users=1).n_episodes in (1, 2)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("ratings", "1,10,5.0", "1,10,5.5", "'rating', row 0: .*at most 5, got '5.5'"),
        ("ratings", "1,10,5.0", "1,10,nan", "'rating', row 0: .*got 'nan'"),
        ("ratings", "1,10,5.0", "1,11,5.0", r"'movieId', row 0: expected one that movies\.csv has"),
        ("ratings", f"{T + 60}", "99999999999999", "'timestamp', row 1: "),
        ("movies", "10,", "20,", "'movieId', row 1: expected each once, got 20"),
        ("movies", "genres", "genre", r"lacks the column\(s\) genres"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    path = csv(tmp_path) / f"{name}.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=said):
        read_movielens(tmp_path)


def test_absent_files_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no ratings\.csv or ratings\.dat; get a release"):
        read_movielens(tmp_path)
    with pytest.raises(ValueError, match="reward must be one of rating, centred, liked"):
        read_movielens(tmp_path, reward="stars")
    with pytest.raises(ValueError, match="max_episode must be at least 2, got 1"):
        read_movielens(tmp_path, max_episode=1)
    (dat(tmp_path) / "users.dat").write_text("1::F::25::4::02139\n")
    with pytest.raises(ValueError, match=r"'userId', row 4: expected one that users\.dat has"):
        read_movielens(tmp_path)
