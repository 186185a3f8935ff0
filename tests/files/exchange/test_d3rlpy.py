"""Logs in d3rlpy's HDF5: d3rlpy reads them, and nothing of the log is lost on the way."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.d3rlpy import (
    ActionSpace,
    InfiniteBuffer,
    ReplayBuffer,
    load,
    mdp_dataset,
    read_d3rlpy,
    write_d3rlpy,
)
from offline_actrep.files.exchange.d3rlpy import Episode as StoredEpisode

Episode = tuple[int, str]
"""Rows, and how it ends: `terminal`, `cut` with a known next state, or `lost` without one."""
EVERY_END: list[Episode] = [(3, "terminal"), (4, "cut"), (2, "lost"), (1, "cut"), (1, "terminal")]


def log_of(episodes: list[Episode], ids: np.ndarray) -> Log:
    """Rows of distinct numbers; the last action is never taken."""
    lengths = np.array([rows for rows, _ in episodes])
    lasts = np.cumsum(lengths) - 1
    ends = np.full(lengths.sum(), "", dtype=object)
    ends[lasts] = [end for _, end in episodes]
    n = len(ends)
    own = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    following = np.roll(own, -1, axis=0)
    following[lasts] = own[lasts] + 0.5
    known = ends != "lost"
    return Log(
        action_set=ActionSet(ids),
        observations=own,
        actions=np.arange(n) % (len(ids) - 1),
        rewards=np.linspace(-1, 1, n, dtype=np.float32),
        terminated=ends == "terminal",
        truncated=(ends == "cut") | ~known,
        next_observations=np.where(known[:, None], following, own),
        has_next=known,
        episode_offsets=np.append(0, lasts + 1),
        episode_ids=np.array([f"visit {m}" for m in range(len(lengths))]),
        action_probabilities=np.linspace(0.1, 0.9, n),
    )


LOG = log_of(EVERY_END, np.array([7, 40, 1000, 5_000_000]))
POINTS = np.random.default_rng(0).uniform(-1, 1, (len(LOG), 3)).astype(np.float32)


@pytest.mark.parametrize("points", [None, POINTS], ids=["ids", "points"])
def test_space_and_size_are_those_of_the_log(tmp_path: Path, points: np.ndarray | None) -> None:
    write_d3rlpy(LOG, tmp_path / "log.h5", points)
    info = read_d3rlpy(tmp_path / "log.h5").dataset_info
    wanted = (ActionSpace.DISCRETE, 4) if points is None else (ActionSpace.CONTINUOUS, 3)
    assert (info.action_space, info.action_size) == wanted
    with (tmp_path / "log.h5").open("rb") as stream:
        guessed = ReplayBuffer.load(stream, InfiniteBuffer()).dataset_info
    if points is None:
        assert guessed.action_size == 3  # d3rlpy's guess is one short: the last was never taken


@pytest.mark.parametrize("points", [None, POINTS], ids=["ids", "points"])
def test_d3rlpy_reads_the_episodes_of_its_own_dataset(
    tmp_path: Path, points: np.ndarray | None
) -> None:
    write_d3rlpy(LOG, tmp_path / "log.h5", points)
    wanted = mdp_dataset(LOG, points)
    with (tmp_path / "log.h5").open("rb") as stream:
        by_d3rlpy = ReplayBuffer.load(stream, InfiniteBuffer())
    for found in (by_d3rlpy, read_d3rlpy(tmp_path / "log.h5")):
        assert found.transition_count == wanted.transition_count == int(LOG.usable.sum())
        for one, other in zip(found.episodes, wanted.episodes, strict=True):
            assert one.terminated == other.terminated
            for name in ("observations", "actions", "rewards"):
                mine, theirs = getattr(one, name), getattr(other, name)
                assert mine.dtype == theirs.dtype
                np.testing.assert_array_equal(mine, theirs)


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["terminal", "cut", "lost"])),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([np.array([3, 9, 2**62]), np.array(["tea", "käse", "牛乳"])]),
)
@settings(max_examples=30, deadline=None)
def test_ids_rewards_ends_and_propensities_survive(
    tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode], ids: np.ndarray
) -> None:
    log = log_of(episodes, ids)
    points = np.random.default_rng(1).uniform(-1, 1, (len(log), 2)).astype(np.float32)
    path = tmp_path_factory.mktemp("h5") / "log.h5"
    write_d3rlpy(log, path, points)
    with path.open("rb") as stream:
        stored = load(StoredEpisode, stream)
    with h5py.File(path) as file:
        ours = file["offline_actrep"]
        taken, names = ours["action_ids"][()], ours["episode_ids"].asstr()[()]
        lengths, chances = ours["episode_lengths"][()], ours["action_probabilities"][()]
    taken = taken if ids.dtype.kind == "i" else np.array([one.decode() for one in taken])
    np.testing.assert_array_equal(taken, log.action_set.decode(log.actions))
    np.testing.assert_array_equal(names, log.episode_ids)
    np.testing.assert_array_equal(lengths, log.lengths)
    np.testing.assert_array_equal(chances, log.action_probabilities)
    kept = [e.rewards[:n, 0] for e, n in zip(stored, lengths, strict=True)]
    np.testing.assert_array_equal(np.concatenate(kept), log.rewards)  # every row, the last too
    kept = [e.actions[:n] for e, n in zip(stored, lengths, strict=True)]
    np.testing.assert_array_equal(np.concatenate(kept), points)
    terminated = log.terminated[log.episode_offsets[1:] - 1]
    assert [bool(e.terminated) for e in stored] == terminated.tolist()
    read = read_d3rlpy(path)  # an episode of one row and no known next state gives no transition
    picker = read.transition_picker
    rewards = [
        float(picker(e, i).reward[0]) for e in read.episodes for i in range(e.transition_count)
    ]
    assert rewards == log.rewards[log.usable].tolist()


def test_a_log_without_propensities_invents_none(tmp_path: Path) -> None:
    write_d3rlpy(replace(LOG, action_probabilities=None), tmp_path / "log.h5")
    with h5py.File(tmp_path / "log.h5") as file:
        assert "action_probabilities" not in file["offline_actrep"]


def test_a_file_that_states_no_space_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "theirs.h5").open("w+b") as stream:
        mdp_dataset(LOG, POINTS).dump(stream)
    with pytest.raises(ValueError, match=r"theirs\.h5: expected the action space .*got none"):
        read_d3rlpy(tmp_path / "theirs.h5")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the log has 11 rows, the points have 10"):
        write_d3rlpy(LOG, tmp_path / "log.h5", POINTS[1:])
    broken = replace(LOG, episode_ids=np.array(["a\0b"] * 5))
    with pytest.raises(ValueError, match="NULL"):
        write_d3rlpy(broken, tmp_path / "log.h5", POINTS)
    assert list(tmp_path.iterdir()) == []
