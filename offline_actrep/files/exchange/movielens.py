"""MovieLens (GroupLens; Harper and Konstan 2015) -> a Log of rating sessions.

Read are the ratings and the movies of a release, as csv (`ratings.csv`, `movies.csv`: ml-latest,
ml-latest-small, ml-20m, ml-25m, ml-32m) or with `::` (`ratings.dat`, `movies.dat`, and `users.dat`
where it is there: ml-1m).

Episode: a session of a user: ratings that follow each other by at most `pause_minutes`, cut after
`max_episode` rows (`offline_actrep.files.exchange.sessions` says how).

Order: by time. Ratings have a time in whole seconds, and several of a user may have the same one;
those are put in a random order, drawn from `seed`: in the file they may stand by movie id, and the
last movie would then tell which ids can still come.

Action: the movie that was rated. Features: a bit a genre, the decades since 1980 of its year, and
whether the title tells one.

Reward: by `reward`,

- `rating`: the stars, 0.5 to 5
- `centred`: stars - 3, so that a poor movie costs
- `liked`: 1 from four stars up, else 0

Observation: the features and rewards of the user's earlier ratings and their times, as
`offline_actrep.files.exchange.histories` makes them (`last1 genre=Drama`, `mean reward`, ..), and,
where `users.dat` is there, the user's `gender=F`, `age=25`, `occupation=4`, one-hot as the file
codes them.
"""

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.documented import (
    CSV,
    Column,
    Layout,
    find_table,
    present_table,
    read_table,
    refuse_repeats,
    refuse_unknown,
)
from offline_actrep.files.exchange.histories import history, many_hot, one_hot
from offline_actrep.files.exchange.sessions import (
    at_least,
    by_pause,
    keep_users,
    one_of,
    sessions_log,
)

_REWARDS = {
    "rating": pl.col("rating"),
    "centred": pl.col("rating") - 3,
    "liked": (pl.col("rating") >= 4).cast(pl.Float64),
}
_DAT = Layout(separator="::", header=False, quoted=False, encoding="latin-1")
_LATEST_SECOND = 2**33
_RATINGS = (
    Column("userId", "integer"),
    Column("movieId", "integer"),
    Column("rating", "number", low=0.5, high=5),
    Column("timestamp", "integer", low=0, high=_LATEST_SECOND),
)
_MOVIES = (
    Column("movieId", "integer"),
    Column("title", "text", longest=1000),
    Column("genres", "text"),
)
_USERS = (
    Column("userId", "integer"),
    Column("gender", "text", among=("F", "M")),
    Column("age", "integer", low=0, high=120),
    Column("occupation", "integer", low=0, high=1000),
    Column("zip", "text"),
)
_NO_GENRE = "(no genres listed)"
_SOURCE = "get a release from https://grouplens.org/datasets/movielens/ and unpack it"


def read_movielens(
    folder: str | Path,
    *,
    reward: str = "rating",
    recent: int = 3,
    pause_minutes: float = 60.0,
    max_episode: int = 50,
    max_users: int | None = None,
    seed: int = 0,
) -> Log:
    """Reads the ratings in `folder`; every rating of the users read is a row.

    Args:
        folder: an unpacked release.
        reward: `rating`, `centred` or `liked`, as above.
        recent: how many of the last ratings the observation tells one by one.
        pause_minutes: a longer pause ends a session.
        max_episode: most rows of an episode.
        max_users: that many users are drawn; None reads all. A row takes about
            `8 (recent + 1) (genres + 3)` bytes.
        seed: draws the users, and the order of ratings of one second.

    Raises:
        ValueError: a setting that there is not or below its least value, a file or column that is
            absent, a cell that does not fit, a movie that the movie table lacks or names twice.
    """
    one_of("reward", reward, tuple(_REWARDS))
    at_least("recent", recent, 1)
    at_least("max_episode", max_episode, 2)
    at_least("pause_minutes", pause_minutes, 0)
    ratings, movies, users = _read(Path(folder))
    rng = np.random.default_rng(seed)
    events = ratings.select(
        pl.col("userId").alias("user"),
        (pl.col("timestamp") * 1000).alias("time"),
        pl.Series("tie", rng.random(len(ratings))),
        pl.col("movieId").alias("action"),
        _REWARDS[reward].alias("reward"),
    )
    events = by_pause(keep_users(events, max_users, seed=seed), pause_minutes)
    action_set = _action_set(movies.join(events, left_on="movieId", right_on="action", how="semi"))
    assert action_set.features is not None
    told = np.column_stack(
        [
            action_set.features[action_set.encode(events["action"].to_numpy())],
            events["reward"].cast(pl.Float32).to_numpy(),
        ]
    )
    observations, names = history(events, told, (*action_set.feature_names, "reward"), recent)
    if users is not None:
        block, own = _who(events, users)
        observations, names = np.hstack([observations, block]), (*names, *own)
    return sessions_log(
        events,
        observations,
        names,
        action_set,
        max_episode=max_episode,
        pause_minutes=pause_minutes,
    )


def _read(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    """Ratings, movies, and users where there are any."""
    path = find_table(folder, ("ratings.csv", "ratings.dat"), _SOURCE)
    layout = CSV if path.suffix == ".csv" else _DAT
    movies_path = find_table(folder, (f"movies{path.suffix}",), _SOURCE)
    ratings = read_table(path, _RATINGS, layout)
    movies = read_table(movies_path, _MOVIES, layout)
    refuse_repeats(movies_path, movies["movieId"])
    refuse_unknown(path, ratings["movieId"], movies["movieId"], movies_path)
    users_path = present_table(folder, ("users.dat",))
    if users_path is None:
        return ratings, movies, None
    users = read_table(users_path, _USERS, _DAT)
    refuse_repeats(users_path, users["userId"])
    refuse_unknown(path, ratings["userId"], users["userId"], users_path)
    return ratings, movies, users


def _action_set(movies: pl.DataFrame) -> ActionSet:
    """Ids by rising movie id."""
    movies = movies.sort("movieId")
    lists = movies["genres"].str.split("|")
    genres = [name for name in lists.explode().unique().sort() if name and name != _NO_GENRE]
    bits, names = many_hot(lists, genres, prefix="genre")
    year = movies["title"].str.extract(r"\((\d{4})\)\s*$").cast(pl.Float32)
    decades = ((year - 1980) / 10).fill_null(0).to_numpy()
    return ActionSet(
        ids=movies["movieId"].to_numpy(),
        names=tuple(movies["title"]),
        features=np.column_stack([bits, decades, year.is_not_null().to_numpy()]).astype(np.float32),
        feature_names=(*names, "decades_since_1980", "has_year"),
    )


def _who(
    events: pl.DataFrame, users: pl.DataFrame
) -> tuple[Float32[np.ndarray, "N D"], tuple[str, ...]]:
    """What the release tells of the user of each event."""
    known = events.select("user").join(
        users, left_on="user", right_on="userId", how="left", maintain_order="left"
    )
    blocks, names = zip(
        *(
            one_hot(known[name], known[name].n_unique(), prefix=name)
            for name in ("gender", "age", "occupation")
        ),
        strict=True,
    )
    return np.hstack(blocks), tuple(name for own in names for name in own)
