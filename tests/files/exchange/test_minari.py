"""What Minari reads back is what the log holds."""

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange import minari as exchange
from offline_actrep.files.exchange.minari import DataFormat, minari_dataset


def log_of(ids: list[int] | list[str]) -> Log:
    """Four episodes of 2, 1, 3 and 1 rows, ending in all four ways."""
    offsets = np.array([0, 2, 3, 6, 7])
    rows = np.arange(7)
    observations = np.stack([rows, -rows], axis=1).astype(np.float32)
    return Log(
        action_set=ActionSet(np.array(ids)),
        observations=observations,
        actions=np.array([0, 2, 1, 1, 0, 2, 0]),
        rewards=np.array([0.5, -1, 2, 0, 0.25, 3, 7], np.float32),
        terminated=np.isin(rows, [1, 6]),
        truncated=np.isin(rows, [2, 5]),
        next_observations=observations + 100,
        has_next=np.isin(rows, [0, 2, 3, 4, 6]),
        episode_offsets=offsets,
        episode_ids=np.arange(4),
        action_probabilities=np.linspace(0.1, 0.7, 7),
    )


LOG = log_of([7, 40, 1000])
POINTS = np.random.default_rng(0).uniform(-1, 1, (7, 3)).astype(np.float32)


def test_without_minari_it_is_imported_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "minari"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "minari", None)
    without = runpy.run_path(exchange.__file__)
    with pytest.raises(ImportError, match=r'pip install "offline_actrep\[minari\]"'):
        without["minari_dataset"](LOG, POINTS, "maze/points-v0")


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Minari with an empty store."""
    package = pytest.importorskip("minari", reason="the extra `minari` is not installed")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "store"))
    return package


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_every_column_comes_back(minari, tmp_path: Path, data_format: DataFormat) -> None:
    made = minari_dataset(LOG, POINTS, "maze/points-v0", data_format=data_format)
    assert isinstance(made, minari.MinariDataset)
    assert (tmp_path / "store" / "maze" / "points-v0").is_dir()
    dataset = minari.load_dataset("maze/points-v0")
    written = dataset.storage.FORMAT
    assert written == data_format
    assert (dataset.total_episodes, dataset.total_steps) == (4, 7)
    assert dataset.action_space == gym.spaces.Box(-1, 1, (3,), np.float32)
    assert dataset.observation_space == gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    for number, episode in enumerate(dataset.iterate_episodes()):
        rows = slice(*LOG.episode_offsets[number : number + 2])
        assert episode.actions.dtype == np.float32
        np.testing.assert_array_equal(episode.actions, POINTS[rows])
        np.testing.assert_array_equal(episode.rewards, LOG.rewards[rows])
        np.testing.assert_array_equal(episode.terminations, LOG.terminated[rows])
        np.testing.assert_array_equal(episode.truncations, LOG.truncated[rows])
        np.testing.assert_array_equal(episode.observations[:-1], LOG.observations[rows])
        assert LOG.action_probabilities is not None
        wanted = {
            "action_id": LOG.action_set.decode(LOG.actions[rows]),
            "action_probability": LOG.action_probabilities[rows],
        }
        for name, column in wanted.items():
            found = episode.infos[name]
            np.testing.assert_array_equal(found[: len(column)], column)
            assert found[len(column) :].tolist() == ([column[-1]] if data_format == "arrow" else [])


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
@pytest.mark.parametrize("ids", [np.arange(4) * 10**15, np.array(["a", "b", "ü", "d"])])
def test_what_an_episode_was_called_stands_in_its_metadata(
    minari, data_format: DataFormat, ids: np.ndarray
) -> None:
    log = replace(LOG, episode_ids=ids)
    minari_dataset(log, POINTS, "points-v0", data_format=data_format)
    storage = minari.load_dataset("points-v0").storage
    found = list(storage.get_episode_metadata(range(4)))
    assert [one["logged_id"] for one in found] == ids.tolist()
    assert [bool(one["next_known"]) for one in found] == [False, True, False, True]
    assert [one["total_steps"] for one in found] == [2, 1, 3, 1]


def test_the_observation_after_the_last_row_is_the_known_one_or_the_row_s_own(minari) -> None:
    dataset = minari_dataset(LOG, POINTS, "points-v0")
    last = [episode.observations[-1].tolist() for episode in dataset.iterate_episodes()]
    # Rows 1 and 5 do not know theirs; rows 2 and 6 do.
    assert last == [[1, -1], [102, 98], [5, -5], [106, 94]]


def test_spaces_hold_what_is_stored(minari) -> None:
    dataset = minari_dataset(LOG, POINTS, "points-v0")
    for episode in dataset.iterate_episodes():
        assert all(dataset.action_space.contains(point) for point in episode.actions)
        assert all(dataset.observation_space.contains(row) for row in episode.observations)


def test_ids_that_are_strings_come_back_from_arrow(minari) -> None:
    log = log_of(["tea", "käse", "牛乳"])
    dataset = minari_dataset(log, POINTS, "points-v0", data_format="arrow")
    ids = [key for episode in dataset for key in episode.infos["action_id"][:-1].tolist()]
    assert ids == ["tea", "牛乳", "käse", "käse", "tea", "牛乳", "tea"]


def test_an_episode_that_minari_would_cut_is_refused(
    minari, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 1 << 15
    column = np.zeros((n, 2), np.float32)
    long = Log(
        action_set=ActionSet.dense(1),
        observations=column,
        actions=np.zeros(n, np.int64),
        rewards=np.zeros(n, np.float32),
        terminated=np.arange(n) == n - 1,
        truncated=np.zeros(n, bool),
        next_observations=column,
        has_next=np.ones(n, bool),
        episode_offsets=np.array([0, n]),
        episode_ids=np.arange(1),
    )
    with pytest.raises(ValueError, match=r"32,768 rows.*data_format='hdf5'"):
        minari_dataset(long, column, "points-v0", data_format="arrow")
    monkeypatch.setattr(exchange, "_MOST_ARROW_ROWS", n + 1)
    cut = minari_dataset(long, column, "points-v0", data_format="arrow")
    assert len(cut[0].observations) == n  # of n + 1, which is why it is refused


def test_ids_that_are_strings_come_back_as_utf_8(minari) -> None:
    dataset = minari_dataset(log_of(["tea", "käse", "牛乳"]), POINTS, "points-v0")
    ids = [key.decode() for episode in dataset for key in episode.infos["action_id"]]
    assert ids == ["tea", "牛乳", "käse", "käse", "tea", "牛乳", "tea"]


def test_a_log_without_propensities_invents_none(minari) -> None:
    dataset = minari_dataset(replace(LOG, action_probabilities=None), POINTS, "points-v0")
    assert set(dataset[0].infos) == {"action_id"}


def test_a_collected_log_comes_back_whole(minari, maze_log: Log) -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (len(maze_log), 2)).astype(np.float32)
    dataset = minari_dataset(maze_log, points, "maze/collected-v3")
    episodes = list(dataset.iterate_episodes())
    np.testing.assert_array_equal(np.concatenate([e.actions for e in episodes]), points)
    assert [len(e) for e in episodes] == maze_log.lengths.tolist()
    following = np.concatenate([e.observations[1:] for e in episodes])
    np.testing.assert_array_equal(following, maze_log.next_observations)


@pytest.mark.parametrize("dataset_id", ["points", "maze/points", "a b-v0", "/points-v0", "p-vx"])
def test_an_id_that_minari_does_not_know_is_refused(
    minari, tmp_path: Path, dataset_id: str
) -> None:
    with pytest.raises(ValueError, match="a Minari id reads `name-v0` or `folder/name-v0`, got"):
        minari_dataset(LOG, POINTS, dataset_id)
    assert not (tmp_path / "store").exists()


def test_a_dataset_is_not_overwritten(minari) -> None:
    minari_dataset(LOG, POINTS, "points-v0")
    with pytest.raises(ValueError, match="points-v0 already exists"):
        minari_dataset(LOG, POINTS, "points-v0")


@pytest.mark.parametrize("entry", [1.5, np.nan])
def test_points_outside_the_cube_are_refused(minari, entry: float) -> None:
    points = POINTS.copy()
    points[4, 1] = entry
    with pytest.raises(ValueError, match=r"row 4: point .* cube \[-1, 1\]\^3 \(1 such rows\)"):
        minari_dataset(LOG, points, "points-v0")


def test_a_point_too_few_is_refused(minari) -> None:
    with pytest.raises(ValueError, match="the log has 7 rows, the points have 6"):
        minari_dataset(LOG, POINTS[:6], "points-v0")
