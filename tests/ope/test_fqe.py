"""Fitted Q evaluation against worlds whose value is known in closed form."""

from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from always import Always
from jaxtyping import Float32, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.estimate import Estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.files.store import open_store, write_store
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.ope.fqe import FqeConfig, fqe
from offline_actrep.representations.point_table import PointTable

SMALL = FqeConfig(
    steps=250, refits=2, batch_size=64, hidden=(16,), learning_rate=0.01, target_update_interval=10
)
STAY, GO = 0, 1


def chain_log(episodes: int = 60, horizon: int = 6) -> Log:
    """States 0 and 1. Staying pays 2 in state 0 and nothing in 1; going leads from 0 to 1 for
    nothing and ends the episode from 1 with 10. Actions are uniform; episodes are cut off after
    `horizon` rows.
    """
    draws = np.random.default_rng(0)
    rows: list[tuple[float, int, float, float, bool, bool]] = []
    offsets = [0]
    for _ in range(episodes):
        state, left = 0, horizon
        while left:
            action = int(draws.integers(2))
            end = state == 1 and action == GO
            reward = 10.0 if end else 2.0 * (state == 0 and action == STAY)
            left = 0 if end else left - 1
            after = max(state, action)
            rows.append((state, action, reward, after, end, not end and not left))
            state = after
        offsets.append(len(rows))
    states, actions, rewards, following, ended, cut = map(np.array, zip(*rows, strict=True))
    return Log(
        action_set=ActionSet.dense(2),
        observations=states[:, None].astype(np.float32),
        actions=actions.astype(np.int64),
        rewards=rewards.astype(np.float32),
        terminated=ended,
        truncated=cut,
        next_observations=following[:, None].astype(np.float32),
        has_next=np.ones(len(rows), bool),
        episode_offsets=np.array(offsets),
        episode_ids=np.arange(episodes),
    )


def judge(
    log: Log,
    action: int | AbstractPolicy,
    *,
    gamma: float = 0.5,
    config: FqeConfig = SMALL,
    representation: AbstractRepresentation | None = None,
    seed: int = 0,
) -> Estimate:
    return fqe(
        log,
        Always(log.action_set, action) if isinstance(action, int) else action,
        features=ObservationFeatures.of(log.observations, FeatureConfig()),
        representation=representation,
        gamma=gamma,
        reward_scale=0.1,
        config=config,
        seed=seed,
    )


def points(log: Log) -> PointTable:
    return PointTable("random_table", {"dim": 1}, log.action_set, 1, torch.tensor([[-0.7], [0.4]]))


@pytest.mark.parametrize("on_points", [False, True])
@pytest.mark.parametrize(("action", "value"), [(GO, 0.5 * 10), (STAY, 2 / (1 - 0.5))])
def test_the_value_of_a_chain(action: int, value: float, on_points: bool) -> None:
    log = chain_log()
    found = judge(log, action, representation=points(log) if on_points else None)
    assert found.value == pytest.approx(value, abs=0.4)
    assert found.low < found.value < found.high
    assert found.low <= value <= found.high
    assert found.n == 60


def test_a_store_is_judged_as_the_log_it_was_made_from(tmp_path: Path) -> None:
    """Whose columns are read-only."""
    log = chain_log(6)
    write_store(log, tmp_path / "store")
    small = replace(SMALL, steps=5)
    one, other = (judge(part, GO, config=small) for part in (log, open_store(tmp_path / "store")))
    assert one == other


def test_a_reward_comes_back_a_decision_with_every_copy_of_the_target() -> None:
    length, episodes = 6, 20
    place = np.tile(np.arange(length), episodes)
    last = place == length - 1
    corridor = Log(
        action_set=ActionSet.dense(2),
        observations=place[:, None].astype(np.float32),
        actions=np.full(len(place), GO),
        rewards=np.where(last, 10.0, 0.0).astype(np.float32),
        terminated=last,
        truncated=np.zeros(len(place), bool),
        next_observations=np.minimum(place + 1, length - 1)[:, None].astype(np.float32),
        has_next=np.ones(len(place), bool),
        episode_offsets=np.arange(episodes + 1) * length,
        episode_ids=np.arange(episodes),
    )
    near = replace(SMALL, steps=600, target_update_interval=200)
    far = replace(SMALL, steps=600, target_update_interval=25)
    assert (near.decisions_ahead, far.decisions_ahead) == (3, 24)
    assert replace(SMALL, steps=601, target_update_interval=200).decisions_ahead == 4
    assert judge(corridor, GO, gamma=0.9, config=far).value == pytest.approx(10 * 0.9**5, abs=0.5)
    assert judge(corridor, GO, gamma=0.9, config=near).value < 2


def same_state(*, terminal: bool, has_next: bool) -> Log:
    """40 episodes of two rows in one state, each row paying 3."""
    last = np.arange(80) % 2 == 1
    return Log(
        action_set=ActionSet.dense(2),
        observations=np.ones((80, 1), np.float32),
        actions=np.zeros(80, np.int64),
        rewards=np.full(80, 3.0, np.float32),
        terminated=last & terminal,
        truncated=last & (not terminal),
        next_observations=np.ones((80, 1), np.float32),
        has_next=~last | has_next,
        episode_offsets=np.arange(0, 81, 2),
        episode_ids=np.arange(40),
    )


def test_a_cut_is_not_an_end() -> None:
    """3 / (1 - 0.5): the world goes on where the log does not."""
    log = same_state(terminal=False, has_next=True)
    assert judge(log, 0).value == pytest.approx(6, abs=0.3)


def test_a_cut_without_a_next_state_teaches_nothing() -> None:
    """State 0 pays 0 and leads to state 1, which pays 3 and leads back: 0.5 x 3 / (1 - 0.25) = 2.
    Half of the episodes go round once, half twice; where the last row led is not known. Held for
    an end, it would give 1.6; held for a stay in its own state, 2.6.
    """
    lengths = np.repeat([2, 4], 20)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n = int(offsets[-1])
    last = np.isin(np.arange(n), offsets[1:] - 1)
    state = (np.arange(n) % 2)[:, None].astype(np.float32)
    log = Log(
        action_set=ActionSet.dense(2),
        observations=state,
        actions=np.zeros(n, np.int64),
        rewards=3 * state[:, 0],
        terminated=np.zeros(n, bool),
        truncated=last,
        next_observations=np.where(last[:, None], state, 1 - state),
        has_next=~last,
        episode_offsets=offsets,
        episode_ids=np.arange(40),
    )
    assert judge(log, 0).value == pytest.approx(2, abs=0.2)


def test_an_end_is_an_end() -> None:
    """Q = 3 + 0.5 x 0.5 Q, since every second row ends."""
    assert judge(same_state(terminal=True, has_next=False), 0).value == pytest.approx(4, abs=0.3)


@final
class LastAllowed(AbstractPolicy):
    """The last action of each set."""

    def __init__(self, action_set: ActionSet) -> None:
        self.action_set = action_set

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        if allowed is None:
            return np.full(len(observations), len(self.action_set) - 1)
        return allowed.indices[allowed.offsets[1:] - 1]


def one_state(sets: list[int], rewards: list[float], *, terminal: bool = False) -> Log:
    """20 episodes in one state; row t allows only sets[t], which is chosen, and pays rewards[t].
    Where no episode terminates, each is cut off where the next observation is known."""
    length, n = len(sets), 20 * len(sets)
    last = np.arange(n) % length == length - 1
    actions = np.tile(np.array(sets, np.int64), 20)
    return Log(
        action_set=ActionSet.dense(2),
        observations=np.ones((n, 1), np.float32),
        actions=actions,
        rewards=np.tile(np.array(rewards, np.float32), 20),
        terminated=last & terminal,
        truncated=last & (not terminal),
        next_observations=np.ones((n, 1), np.float32),
        has_next=np.ones(n, bool),
        episode_offsets=np.arange(0, n + 1, length),
        episode_ids=np.arange(20),
        allowed=AllowedActions(np.arange(n + 1), actions),
    )


def test_the_policy_keeps_to_what_the_log_allowed() -> None:
    """1 / (1 - 0.5): of the action that the policy would rather take the log knows nothing."""
    log = one_state([0, 0, 0], [1, 1, 1])
    found = judge(log, LastAllowed(log.action_set), representation=points(log))
    assert found.value == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("on_points", [False, True])
def test_the_same_state_may_allow_another_action_in_the_next_row(on_points: bool) -> None:
    """Q(0) = 1 + Q(1) / 2 and Q(1) = Q(0) / 2, so that Q(0) = 4 / 3. The row that pays 30 is cut
    off, and what could be chosen after it is not logged."""
    log = one_state([0, 1, 0, 1], [1, 0, 1, 30])
    space = points(log) if on_points else None
    found = judge(log, LastAllowed(log.action_set), representation=space)
    assert found.value == pytest.approx(4 / 3, abs=0.1)


def test_after_an_end_nothing_need_be_allowed() -> None:
    """1 + 10 / 2: the last row has no next set, and needs none."""
    log = one_state([0, 1], [1, 10], terminal=True)
    assert judge(log, LastAllowed(log.action_set)).value == pytest.approx(6, abs=0.3)


def test_a_log_whose_next_sets_are_all_unknown_is_refused() -> None:
    log = one_state([0], [1])
    with pytest.raises(ValueError, match="a next observation and allowed actions there and none"):
        judge(log, LastAllowed(log.action_set))


def test_the_seed_fixes_the_estimate_and_disturbs_nobody() -> None:
    config = replace(SMALL, steps=5)
    torch.manual_seed(8)
    before = torch.get_rng_state()
    first = judge(chain_log(), GO, config=config)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == judge(chain_log(), GO, config=config)
    assert first != judge(chain_log(), GO, config=config, seed=1)


def test_few_rows_are_whole_episodes() -> None:
    log = chain_log()
    found = judge(log, GO, config=replace(SMALL, steps=5, rows=30))
    assert 30 / 6 <= found.n < 30
    assert judge(log, GO, config=replace(SMALL, steps=5, rows=0)).n == 60


def test_it_tells_where_it_stands() -> None:
    log = chain_log()
    told: list[tuple[int, int]] = []
    fqe(
        log,
        Always(log.action_set, GO),
        features=ObservationFeatures.of(log.observations, FeatureConfig()),
        representation=None,
        gamma=0.5,
        reward_scale=0.1,
        config=replace(SMALL, steps=50, refits=3),
        seed=0,
        on_step=lambda step, steps, _: told.append((step, steps)),
    )
    assert told == [(50, 150), (100, 150), (150, 150)]


@pytest.mark.parametrize(
    ("setting", "value", "bound"),
    [
        ("steps", 0, "greater than or equal to 1"),
        ("refits", 1, "greater than or equal to 2"),
        ("rows", -1, "greater than or equal to 0"),
        ("batch_size", 0, "greater than or equal to 1"),
        ("hidden", (0,), "greater than or equal to 1"),
        ("learning_rate", 0.0, "greater than 0"),
        ("target_update_interval", 0, "greater than or equal to 1"),
    ],
)
def test_settings_out_of_range_are_refused(setting: str, value: Any, bound: str) -> None:
    given = value[0] if isinstance(value, tuple) else value
    with pytest.raises(ValueError, match=rf"(?s){setting}.*{bound}.*input_value={given}"):
        FqeConfig(**{setting: value})


@pytest.mark.parametrize("gamma", [-0.1, 97.0, np.nan])
def test_a_discount_out_of_range_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=rf"gamma, .*, lies in \[0, 1\], got {gamma}"):
        judge(chain_log(), GO, gamma=gamma)


def test_a_log_without_a_usable_row_is_refused() -> None:
    log = replace(
        same_state(terminal=False, has_next=False),
        truncated=np.ones(80, bool),
        has_next=np.zeros(80, bool),
        episode_offsets=np.arange(81),
        episode_ids=np.arange(80),
    )
    with pytest.raises(ValueError, match="none has a next observation and none terminates"):
        judge(log, GO)


def test_a_mixture_of_usable_and_useless_episodes_can_be_judged() -> None:
    """A resample that holds the useless ones alone is drawn again."""
    log = same_state(terminal=False, has_next=False)
    mixed = Log(
        action_set=log.action_set,
        observations=log.observations[:3],
        actions=log.actions[:3],
        rewards=log.rewards[:3],
        terminated=np.array([False, False, True]),
        truncated=np.array([True, True, False]),
        next_observations=log.next_observations[:3],
        has_next=np.zeros(3, bool),
        episode_offsets=np.arange(4),
        episode_ids=np.arange(3),
    )
    for seed in range(8):
        found = judge(mixed, GO, config=replace(SMALL, steps=2), seed=seed)
        assert np.isfinite([found.value, found.low, found.high]).all()
