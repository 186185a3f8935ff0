"""A log's episodes and transitions as d3rlpy's own tools see them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from d3rlpy.dataset import (
    BasicTrajectorySlicer,
    BasicTransitionPicker,
    Episode,
    InfiniteBuffer,
    MDPDataset,
    MultiStepTransitionPicker,
    ReplayBuffer,
    ReplayBufferBase,
    Transition,
)
from hypothesis import given
from stored import makers

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.d3rlpy import mdp_dataset
from offline_actrep.offline.bridge import replay_buffer
from offline_actrep.relabel import Relabelled

FIELDS = ("observation", "action", "reward", "next_observation", "next_action", "rewards_to_go")


def consistent(log: Log) -> Log:
    """What follows a row inside an episode stands in the next one, as d3rlpy has it."""
    following = np.append(log.observations[1:], log.observations[-1:], axis=0)
    after = np.where(log.ends[:, None], log.next_observations, following)
    return replace(log, next_observations=after)


def transitions(dataset: ReplayBufferBase) -> list[Transition]:
    """All of them, through the data set's own picker."""
    return [
        dataset.transition_picker(episode, index)
        for episode in dataset.episodes
        for index in range(episode.transition_count)
    ]


def same(one: Transition, other: Transition) -> bool:
    return (
        all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)
        and one.terminal == other.terminal
        and one.interval == other.interval == 1
        and one.observation_signature == other.observation_signature
        and one.action_signature == other.action_signature
        and one.reward_signature == other.reward_signature
    )


@given(makers())
def test_nothing_is_lost(make: Callable[[], Log]) -> None:
    """Every row whose next state is known, or that has none, is a transition as it was logged."""
    log = make()
    if not log.usable.any():
        return
    data = replay_buffer(log, seed=0)
    found, rows = transitions(data), np.flatnonzero(log.usable)
    assert len(found) == data.transition_count == len(rows)
    assert (
        len(data.buffer.episodes)
        == data.size()
        == sum(
            log.usable[start:end].any()
            for start, end in zip(log.episode_offsets[:-1], log.episode_offsets[1:], strict=True)
        )
    )
    for number, (transition, row) in enumerate(zip(found, rows.tolist(), strict=True)):
        assert same(transition, data.transition_picker(*data.buffer[number]))
        assert np.array_equal(transition.observation, log.observations[row])
        assert transition.action.tolist() == [log.actions[row]]
        assert transition.reward.tolist() == [log.rewards[row]]
        assert transition.terminal == log.terminated[row]
        ahead = (
            np.zeros(log.observation_size) if log.terminated[row] else log.next_observations[row]
        )
        assert np.array_equal(transition.next_observation, ahead)
        assert transition.next_action.tolist() == [0 if log.ends[row] else log.actions[row + 1]]
        end = log.episode_offsets[np.searchsorted(log.episode_offsets, row, side="right")]
        assert transition.rewards_to_go[:, 0].tolist() == log.rewards[row:end].tolist()


@given(makers())
def test_transitions_and_episodes_are_those_of_d3rlpys_data_set(make: Callable[[], Log]) -> None:
    log = consistent(make())
    if not log.usable.any():
        return
    ours, theirs = replay_buffer(log, seed=0), mdp_dataset(log)
    pairs = zip(transitions(ours), transitions(theirs), strict=True)
    for mine, their in pairs:
        given_more = replace_rewards(their, len(mine.rewards_to_go))
        assert same(mine, given_more)
    assert ours.dataset_info == theirs.dataset_info
    for mine, their in zip(ours.episodes, theirs.episodes, strict=True):
        for name in ("observations", "actions", "rewards"):
            left, right = getattr(mine, name), getattr(their, name)
            assert np.array_equal(left, right) and left.dtype == right.dtype
        assert (mine.terminated, mine.size()) == (their.terminated, their.size())
        assert mine.transition_count == their.transition_count == len(mine)
        assert mine.compute_return() == pytest.approx(their.compute_return(), abs=1e-4)
        assert mine.observation_signature == their.observation_signature
        assert mine.action_signature == their.action_signature
        assert mine.reward_signature == their.reward_signature


def replace_rewards(transition: Transition, length: int) -> Transition:
    """Without the reward 0 of the row that stands for what followed."""
    rewards = transition.rewards_to_go
    assert len(rewards) - length in (0, 1) and not rewards[length:].any()
    return Transition(**{**vars(transition), "rewards_to_go": rewards[:length]})


def test_what_d3rlpy_drops_of_the_same_columns_is_kept(maze_log: Log) -> None:
    """One transition an episode that was cut off."""
    log = maze_log
    truncated = np.zeros(len(log), bool)
    truncated[log.episode_offsets[1::2] - 1] = True
    log = replace(log, terminated=log.ends & ~truncated, truncated=truncated)
    theirs = MDPDataset(
        log.observations,
        log.actions,
        log.rewards,
        log.terminated.astype(np.float32),
        log.truncated.astype(np.float32),
    )
    ours = replay_buffer(log, seed=0)
    assert ours.transition_count == len(log)
    assert ours.transition_count - theirs.transition_count == truncated.sum() > 0


def test_episodes_that_have_no_transition_are_left_out(maze_log: Log) -> None:
    n = 6
    log = Log(
        action_set=maze_log.action_set,
        observations=maze_log.observations[:n],
        actions=maze_log.actions[:n],
        rewards=maze_log.rewards[:n],
        terminated=np.array([0, 0, 1, 0, 0, 0], bool),
        truncated=np.array([1, 0, 0, 1, 0, 1], bool),
        next_observations=maze_log.next_observations[:n],
        has_next=np.array([0, 1, 0, 0, 1, 0], bool),
        episode_offsets=np.array([0, 1, 3, 4, 6]),
        episode_ids=np.arange(4),
    )
    data = replay_buffer(log, seed=0)
    assert data.size() == len(data.episodes) == 2
    assert [episode.transition_count for episode in data.episodes] == [2, 1]
    assert [data.buffer[number][1] for number in range(3)] == [0, 1, 0]
    assert [e.terminated for e in data.episodes] == [True, False]
    assert {float(data.sample_transition().reward[0]) for _ in range(60)} == {
        float(reward) for reward in log.rewards[[1, 2, 4]]
    }


def test_a_row_inside_an_episode_whose_next_state_is_not_known_is_left_out(maze_log: Log) -> None:
    has_next = np.ones(len(maze_log), bool)
    has_next[2] = False
    assert not maze_log.ends[2]
    data = replay_buffer(replace(maze_log, has_next=has_next), seed=0)
    first = data.episodes[0]
    rewards = [float(data.transition_picker(first, k).reward[0]) for k in range(4)]
    assert rewards == maze_log.rewards[[0, 1, 3, 4]].tolist()
    assert first.transition_count == maze_log.lengths[0] - 1


def test_episodes_are_a_sequence(maze_log: Log) -> None:
    episodes = replay_buffer(maze_log, seed=0).episodes
    firsts = [float(episode.rewards[0, 0]) for episode in episodes]
    assert len(firsts) == len(episodes) == maze_log.n_episodes
    assert [float(e.rewards[0, 0]) for e in episodes[1:4]] == firsts[1:4]
    assert float(episodes[-1].rewards[0, 0]) == firsts[-1]
    with pytest.raises(IndexError):
        episodes[len(episodes)]
    with pytest.raises(IndexError):
        replay_buffer(maze_log, seed=0).buffer[len(maze_log)]


@pytest.mark.parametrize("of_points", [False, True])
def test_d3rlpys_own_tools_read_our_episodes(of_points: bool, points: Relabelled) -> None:
    """A replay buffer of d3rlpy's made of them, its slicer, another picker; and back."""
    data = points if of_points else points.log
    ours = replay_buffer(data, seed=0)
    stock = mdp_dataset(points.log, points.points if of_points else None)
    info = ours.dataset_info
    built = ReplayBuffer(
        InfiniteBuffer(),
        episodes=ours.episodes,
        action_space=info.action_space,
        action_size=info.action_size,
    )
    assert built.transition_count == stock.transition_count
    picker, slicer = MultiStepTransitionPicker(3, 0.9), BasicTrajectorySlicer()
    for mine, their in zip(ours.episodes, stock.episodes, strict=True):
        last = mine.transition_count - 1
        assert same(BasicTransitionPicker()(mine, last), BasicTransitionPicker()(their, last))
        assert same_steps(picker(mine, last - 1), picker(their, last - 1))
        left, right = slicer(mine, last, 5), slicer(their, last, 5)
        assert np.array_equal(left.observations, right.observations)
        assert same(ours.transition_picker(their, last), BasicTransitionPicker()(their, last))
        again = type(mine).deserialize(mine.serialize())
        assert isinstance(again, Episode) and np.array_equal(again.actions, their.actions)


def same_steps(one: Transition, other: Transition) -> bool:
    return np.array_equal(one.next_observation, other.next_observation) and np.array_equal(
        one.reward, other.reward
    )
