"""Logs as d3rlpy reads them: each of its traps, and that it is held."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.files.exchange.d3rlpy import ActionSpace, MDPDataset, mdp_dataset

Episode = tuple[int, str]
"""Rows, and how it ends: `terminal`, `cut` with a known next state, or `lost` without one."""


def log_of(episodes: list[Episode], n_actions: int = 9, seed: int = 0) -> Log:
    """A log of such episodes; only the actions 0..4 occur in it."""
    draws = np.random.default_rng(seed)
    lengths = np.array([rows for rows, _ in episodes])
    ends = np.cumsum(lengths) - 1
    n = int(lengths.sum())
    last = np.full(n, "", dtype=object)
    last[ends] = [end for _, end in episodes]
    observations = draws.normal(size=(n, 2)).astype(np.float32)
    following = np.roll(observations, -1, axis=0)
    following[ends] = observations[ends] + 10.0
    following[last == "lost"] = observations[last == "lost"]
    return Log(
        action_set=ActionSet.dense(n_actions),
        observations=observations,
        actions=draws.integers(5, size=n),
        rewards=draws.normal(size=n).astype(np.float32),
        terminated=last == "terminal",
        truncated=(last == "cut") | (last == "lost"),
        next_observations=following,
        has_next=last != "lost",
        episode_offsets=np.concatenate([[0], ends + 1]),
        episode_ids=np.arange(len(episodes)),
    )


def transitions(dataset: MDPDataset) -> list:
    """All that d3rlpy would draw batches from, in order."""
    picker = dataset.transition_picker
    return [
        picker(episode, i) for episode in dataset.episodes for i in range(episode.transition_count)
    ]


EVERY_END: list[Episode] = [(3, "terminal"), (4, "cut"), (2, "lost"), (1, "cut"), (1, "terminal")]


def test_whole_numbers_in_the_first_episode_do_not_make_points_ids() -> None:
    log = log_of([(3, "terminal"), (3, "terminal")])
    points = np.array([[1, -1], [0, 1], [-1, 0], [0.5, 0.2], [0.1, 0.3], [0.7, 0.9]], np.float32)
    unstated = MDPDataset(
        log.observations, points, log.rewards[:, None], log.terminated.astype(np.float32)
    )
    assert unstated.dataset_info.action_space == ActionSpace.DISCRETE
    stated = mdp_dataset(log, points).dataset_info
    assert stated.action_space == ActionSpace.CONTINUOUS
    assert stated.action_size == 2


def test_the_number_of_ids_is_the_catalogues() -> None:
    log = log_of(EVERY_END, n_actions=9)
    unstated = MDPDataset(
        log.observations,
        log.actions[:, None],
        log.rewards[:, None],
        log.terminated.astype(np.float32),
        log.truncated.astype(np.float32),
    )
    assert unstated.dataset_info.action_size < 9
    stated = mdp_dataset(log).dataset_info
    assert stated.action_space == ActionSpace.DISCRETE
    assert stated.action_size == 9


def test_a_cut_episode_keeps_its_last_transition_where_the_next_state_is_known() -> None:
    log = log_of([(4, "cut")])
    found = transitions(mdp_dataset(log))
    assert len(found) == 4
    assert np.array_equal(found[-1].next_observation, log.next_observations[-1])
    assert found[-1].terminal == 0.0
    assert found[-1].reward == log.rewards[-1]


def test_only_the_last_is_dropped_where_the_next_state_is_unknown() -> None:
    log = log_of([(4, "lost"), (2, "terminal")])
    found = transitions(mdp_dataset(log))
    kept = [0, 1, 2, 4, 5]
    assert [float(t.reward[0]) for t in found] == log.rewards[kept].tolist()


def test_a_terminal_stays_terminal_and_nothing_else_becomes_one() -> None:
    log = log_of(EVERY_END)
    dataset = mdp_dataset(log)
    assert [episode.terminated for episode in dataset.episodes] == [True, False, False, False, True]
    found = np.array([t.terminal for t in transitions(dataset)])
    assert np.array_equal(found == 1.0, log.terminated[log.usable])


episodes = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(["terminal", "cut", "lost"])),
    min_size=1,
    max_size=6,
)


@given(episodes, st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_transition_is_lost_or_changed(drawn: list[Episode], ids: bool, seed: int) -> None:
    log = log_of(drawn, seed=seed)
    points = np.random.default_rng(seed).uniform(-1, 1, (len(log), 3)).astype(np.float32)
    dataset = mdp_dataset(log, None if ids else points)
    found, rows = transitions(dataset), np.flatnonzero(log.usable)
    assert dataset.transition_count == len(found) == len(rows)
    for transition, row in zip(found, rows, strict=True):
        assert np.array_equal(transition.observation, log.observations[row])
        assert np.array_equal(transition.action, log.actions[[row]] if ids else points[row])
        assert transition.reward[0] == log.rewards[row]
        if not log.terminated[row]:
            assert np.array_equal(transition.next_observation, log.next_observations[row])


@given(episodes)
@settings(max_examples=30, deadline=None)
def test_episodes_keep_their_returns(drawn: list[Episode]) -> None:
    """All but those of a single row without a next state, which hold no transition at all."""
    log = log_of(drawn)
    found = [float(episode.rewards.sum()) for episode in mdp_dataset(log).episodes]
    having = [episode != (1, "lost") for episode in drawn]
    np.testing.assert_allclose(found, log.returns[having], atol=1e-5)


def test_points_of_another_length_are_refused() -> None:
    log = log_of(EVERY_END)
    with pytest.raises(ValueError, match="the log has 11 rows, the points have 3"):
        mdp_dataset(log, np.zeros((3, 2), np.float32))
