"""A log checks itself, and cuts itself by whole episodes."""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline_actrep.core import log as log_module
from offline_actrep.core import mapped
from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log

N_ROWS = 5


def columns(**changes: Any) -> dict[str, Any]:
    """Two episodes: rows 0-1 terminate, rows 2-4 are cut off."""
    rows = np.arange(N_ROWS)
    given = {
        "action_set": ActionSet(np.array([10, 20, 30])),
        "observations": np.stack([rows, rows * 0.5], axis=1).astype(np.float32),
        "actions": np.array([0, 2, 1, 1, 0]),
        "rewards": np.array([1, 2, 3, -1, 0.5], np.float32),
        "terminated": rows == 1,
        "truncated": rows == 4,
        "next_observations": np.stack([rows + 1, rows * 0.5], axis=1).astype(np.float32),
        "has_next": rows != 4,
        "episode_offsets": np.array([0, 2, 5]),
        "episode_ids": np.array(["mon", "tue"]),
        "action_probabilities": np.array([0.5, 1.0, 0.25, 0.1, 0.2]),
        "allowed": AllowedActions(np.array([0, 1, 3, 5, 6, 8]), np.array([0, 1, 2, 0, 1, 1, 0, 2])),
        "timestamps": rows + 100,
        "splits": np.array(["train", "train", "test", "test", "test"]),
        "observation_names": ("x", "y"),
    }
    return given | changes


def log(**changes: Any) -> Log:
    return Log(**columns(**changes))


def with_entry(name: str, row: int, entry: Any) -> np.ndarray:
    column = columns()[name].copy()
    column[row] = entry
    return column


def flags(*rows: int) -> np.ndarray:
    return np.isin(np.arange(N_ROWS), rows)


EMPTY = {
    name: column[:0]
    for name, column in columns().items()
    if isinstance(column, np.ndarray) and len(column) == N_ROWS
}
NONE_ALLOWED = AllowedActions(np.zeros(N_ROWS + 1, np.int64), np.zeros(0, np.int64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (EMPTY, "at least one row, got none"),
        ({"allowed": NONE_ALLOWED.take(np.arange(3))}, "column allowed has 3 rows"),
        ({"timestamps": np.arange(6)}, "column timestamps has 6 rows"),
        ({"observation_names": ("x",)}, "2 observation columns need as many names, got 1"),
        ({"episode_offsets": np.array([1, 2, 5])}, "must rise from 0 to 5"),
        ({"episode_offsets": np.array([0, 2, 4])}, "must rise from 0 to 5"),
        ({"episode_offsets": np.array([0, 2, 2, 5])}, "without empty episodes"),
        ({"episode_ids": np.array(["mon"])}, "2 episodes need as many ids, got 1"),
        ({"truncated": flags(1, 4)}, r"row 1: row is both terminated and truncated \(1 such"),
        ({"truncated": flags()}, "row 4: episode's last row is neither terminated nor trunc"),
        ({"terminated": flags(0, 1)}, "row 0: episode goes on after a row that ends it"),
        (
            {"observations": with_entry("observations", 3, np.nan)},
            "row 3: observation is not finite",
        ),
        (
            {"next_observations": with_entry("next_observations", 2, np.inf)},
            "row 2: next_observation is not finite",
        ),
        ({"rewards": with_entry("rewards", 4, np.nan)}, "row 4: reward is not finite"),
        ({"actions": np.array([0, 3, 1, 5, 0])}, r"row 1: .* dense index 0\.\.2 \(2 such rows\)"),
        ({"actions": with_entry("actions", 2, -1)}, r"row 2: .* dense index 0\.\.2"),
        (
            {"action_probabilities": with_entry("action_probabilities", 0, 0.0)},
            r"row 0: action_probability is not in \(0, 1\]",
        ),
        (
            {"action_probabilities": with_entry("action_probabilities", 3, 1.01)},
            "row 3: action_probability",
        ),
        (
            {"action_probabilities": with_entry("action_probabilities", 3, np.nan)},
            "row 3: action_probability",
        ),
        ({"actions": with_entry("actions", 0, 1)}, "row 0: allowed_actions lack the logged"),
        ({"allowed": NONE_ALLOWED}, r"allowed_actions lack the logged action \(5 such rows\)"),
    ],
)
def test_a_broken_log_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.zeros(4, np.float32)}, "column rewards has 4 rows, the actions have 5"),
        (
            {"next_observations": np.zeros((5, 3), np.float32)},
            r"next_observations must be \(5, 2\) like the observations, got \(5, 3\)",
        ),
    ],
)
def test_unequal_columns_are_refused_where_shapes_are_not_checked(
    changes: dict[str, Any], message: str, without_shape_checks: None
) -> None:
    with pytest.raises(ValueError, match=message):
        log(**changes)


def test_what_it_says_of_itself() -> None:
    whole = log()
    assert (len(whole), whole.n_episodes, whole.observation_size) == (5, 2, 2)
    assert whole.ends.tolist() == [False, True, False, False, True]
    assert whole.usable.tolist() == [True, True, True, True, False]
    assert log(has_next=flags(0)).usable.tolist() == [True, True, False, False, False]
    assert whole.starts.tolist() == [[0.0, 0.0], [2.0, 1.0]]
    assert whole.lengths.tolist() == [2, 3]
    assert repr(whole) == (
        "Log(5 rows, 2 episodes, 3 actions, observation size 2, propensities logged)"
    )
    assert repr(log(action_probabilities=None)).endswith("propensities not logged)")


def test_a_checked_log_is_not_read_again_but_measured() -> None:
    wrong = with_entry("rewards", 2, np.nan)
    assert np.isnan(log(rewards=wrong, checked=True).rewards[2])
    with pytest.raises(ValueError, match="reward is not finite"):
        replace(log(rewards=wrong, checked=True))  # what is made from it is checked
    for changes in (
        {"splits": columns()["splits"][:4]},
        {"episode_ids": np.array(["mon"])},
        {"episode_offsets": np.array([0, 2, 4])},
        {"episode_offsets": np.array([1, 2, 5])},
        {"episode_offsets": np.array([0, 0, 5])},
        {"episode_offsets": np.array([], np.int64)},
    ):
        with pytest.raises(ValueError):
            log(**changes, checked=True)


def test_offsets_of_many_episodes_are_looked_at_here_and_there() -> None:
    whole = many_episodes(20_000)
    offsets = whole.episode_offsets.copy()
    replace(whole, checked=True)
    offsets[9000:9100] = offsets[9000]
    with pytest.raises(ValueError, match="must rise from 0"):
        replace(whole, episode_offsets=offsets, checked=True)


def test_faults_are_counted_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = many_episodes(50)
    rewards = np.where(np.arange(len(whole)) % 10 == 7, np.nan, whole.rewards).astype(np.float32)
    for size in (1, 8, 1 << 16):
        monkeypatch.setattr(log_module, "blocks", partial(mapped.blocks, size=size))
        with pytest.raises(ValueError, match=r"row 7: reward is not finite \(10 such rows\)"):
            replace(whole, rewards=rewards)


def test_allowed_actions_outside_the_catalogue_are_refused() -> None:
    allowed = columns()["allowed"]
    for wrong in (-1, 3):
        indices = allowed.indices.copy()
        indices[2] = wrong
        # `holds` sees row 1, which allowed 1 and its own action 2.
        held = AllowedActions(allowed.offsets, np.where(indices == wrong, wrong, indices))
        with pytest.raises(ValueError, match="row 1: allowed_actions"):
            log(allowed=held)


def test_returns_by_hand() -> None:
    assert log().returns.tolist() == [3.0, 2.5]
    assert log().discounted_returns(0.5).tolist() == [1 + 1, 3 - 0.5 + 0.125]
    assert log().discounted_returns(0.0).tolist() == [1.0, 3.0]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 12))
def test_returns_do_not_depend_on_blocks(lengths: list[int], size: int) -> None:
    offsets = np.cumsum([0, *lengths])
    n = int(offsets[-1])
    ends = np.isin(np.arange(n), offsets[1:] - 1)
    made = Log(
        action_set=ActionSet.dense(2),
        observations=np.zeros((n, 1), np.float32),
        actions=np.zeros(n, np.int64),
        rewards=np.random.default_rng(n).standard_normal(n, np.float32),
        terminated=ends,
        truncated=np.zeros(n, bool),
        next_observations=np.zeros((n, 1), np.float32),
        has_next=~ends,
        episode_offsets=offsets,
        episode_ids=np.arange(len(lengths)),
    )
    step = np.arange(n) - np.repeat(offsets[:-1], lengths)
    whole = np.add.reduceat(made.rewards * 0.9**step, offsets[:-1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_module, "whole_blocks", lambda cuts: mapped.whole_blocks(cuts, size))
        assert np.array_equal(made.discounted_returns(0.9), whole)
        plain = np.add.reduceat(made.rewards.astype(np.float64), offsets[:-1])
        assert np.array_equal(made.returns, plain)


def test_take_episodes_reorders_and_repeats_every_column() -> None:
    taken = log().take_episodes(np.array([1, 0, 1]))
    rows = [2, 3, 4, 0, 1, 2, 3, 4]
    assert taken.episode_offsets.tolist() == [0, 3, 5, 8]
    assert taken.episode_ids.tolist() == ["tue", "mon", "tue"]
    for name, column in columns().items():
        if name in EMPTY:
            np.testing.assert_array_equal(getattr(taken, name), column[rows], err_msg=name)
    assert taken.allowed is not None
    np.testing.assert_array_equal(taken.allowed.mask(3), columns()["allowed"].mask(3)[rows])
    assert log().take_episodes(np.array([0, 1])).fingerprint == log().fingerprint


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one episode, none was named"):
        log().take_episodes(np.zeros(0, np.int64))


def many_episodes(count: int) -> Log:
    """Episode k has k % 3 + 1 rows, each with observation k."""
    lengths = np.arange(count) % 3 + 1
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    episode = np.repeat(np.arange(count), lengths)
    observations = episode[:, None].astype(np.float32)
    ends = np.isin(np.arange(len(episode)), offsets[1:] - 1)
    return Log(
        action_set=ActionSet.dense(1),
        observations=observations,
        actions=np.zeros(len(episode), np.int64),
        rewards=np.zeros(len(episode), np.float32),
        terminated=ends,
        truncated=np.zeros_like(ends),
        next_observations=observations,
        has_next=~ends,
        episode_offsets=offsets,
        episode_ids=np.arange(count),
    )


def test_split_keeps_episodes_whole_and_loses_none() -> None:
    whole = many_episodes(20)
    kept, held = whole.split(0.25, seed=3)
    assert (kept.n_episodes, held.n_episodes) == (15, 5)
    assert sorted([*kept.episode_ids, *held.episode_ids]) == list(range(20))
    for part in (kept, held):
        np.testing.assert_array_equal(part.lengths, part.episode_ids % 3 + 1)
        episode = np.repeat(part.episode_ids, part.lengths)
        np.testing.assert_array_equal(part.observations[:, 0], episode)


def test_split_is_random_and_the_seed_decides() -> None:
    whole = many_episodes(20)
    held = [whole.split(0.25, seed=seed)[1].episode_ids.tolist() for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.99, 1.0])
def test_a_split_with_an_empty_part_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="of 4 episodes leaves a part empty"):
        many_episodes(4).split(share, seed=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"observations": with_entry("observations", 3, 9.0)},
        {"actions": with_entry("actions", 2, 0)},
        {"rewards": with_entry("rewards", 0, 9.0)},
        {"terminated": flags(), "truncated": flags(1, 4)},
        {"next_observations": with_entry("next_observations", 0, 9.0)},
        {"has_next": flags(0, 1, 2)},
        {"action_probabilities": with_entry("action_probabilities", 4, 0.3)},
        {"action_probabilities": None},
        {"allowed": None},
        {"allowed": AllowedActions.of_mask(np.ones((N_ROWS, 3), bool))},
        {"timestamps": with_entry("timestamps", 0, 99)},
        {"timestamps": None},
        {"splits": with_entry("splits", 0, "test")},
        {"action_set": ActionSet(np.array([10, 20, 31]))},
        {"action_set": ActionSet(np.array([10, 20, 30, 40]))},
        {"action_set": ActionSet(np.array(["10", "20", "30"]))},
    ],
)
def test_the_fingerprint_changes_with_what_a_learner_sees(changes: dict[str, Any]) -> None:
    assert log(**changes).fingerprint != log().fingerprint


def test_the_fingerprint_changes_with_the_episodes_alone() -> None:
    ends = {"terminated": flags(1, 4), "truncated": flags()}
    assert log(**ends).fingerprint != log().fingerprint
    one = {"terminated": flags(4), "truncated": flags(), "has_next": flags(0, 1, 2, 3)}
    cut = one | {"episode_offsets": np.array([0, 5]), "episode_ids": np.array(["mon"])}
    assert len(log(**cut).fingerprint) == 64


def test_the_fingerprint_does_not_depend_on_how_the_columns_lie_in_memory() -> None:
    wide = columns()["splits"].astype("<U50")
    other = log(observations=np.asfortranarray(columns()["observations"]), splits=wide)
    assert other.fingerprint == log().fingerprint


def test_the_fingerprint_tells_catalogues_of_equal_letters_apart() -> None:
    first = {"actions": np.zeros(N_ROWS, np.int64), "allowed": None}
    one, two = ActionSet(np.array(["ab"])), ActionSet(np.array(["a", "b"]))
    assert log(**first, action_set=one).fingerprint != log(**first, action_set=two).fingerprint
