"""Training: what is learnt, what is refused, and that a seed fixes every bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.evaluate import evaluate
from offline_actrep.offline.learner import (
    CONTINUOUS,
    DISCRETE,
    IMITATING,
    MASKED,
    LearnerConfig,
)
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.offline.train import (
    DEFAULTS,
    Policy,
    settings,
    train,
)
from offline_actrep.relabel import Relabelled, relabel
from offline_actrep.representations.point_table import PointTable
from offline_actrep.simulators.maze import Maze

LEARNERS = [*CONTINUOUS, *DISCRETE]
PLACES = np.random.default_rng(3).uniform(-1, 1, (16, 2)).astype(np.float32)
SMALL = {"steps": 6, "batch_size": 16, "hidden": (8,)}


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    inner = policy.actor if isinstance(policy, DecodedPolicy) else policy
    assert isinstance(inner, IdPolicy | PointActor)
    return inner.learner.tensors()


def equal(left: Policy, right: Policy) -> bool:
    mine, theirs = weights(left), weights(right)
    return all(torch.equal(mine[key], theirs[key]) for key in mine)


def decisions(
    places: np.ndarray, actions: np.ndarray, rewards: np.ndarray, action_set: ActionSet
) -> Log:
    """A log whose every row is an episode that terminates."""
    n = len(actions)
    return Log(
        action_set=action_set,
        observations=places.astype(np.float32),
        actions=actions.astype(np.int64),
        rewards=rewards.astype(np.float32),
        terminated=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        next_observations=places.astype(np.float32),
        has_next=np.zeros(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=np.arange(n),
    )


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_chooses_from_the_catalogue(name: str, points: Relabelled) -> None:
    holes = replace(points.log, action_set=ActionSet(np.arange(16) * 7 + 2))
    table = PointTable("random_table", {}, holes.action_set, 3, torch.from_numpy(PLACES))
    told: list[int] = []
    policy = train(
        relabel(holes, table), name, seed=0, on_step=lambda step, *_: told.append(step), **SMALL
    )
    assert told == [6]
    assert isinstance(policy, DecodedPolicy if name in CONTINUOUS else IdPolicy)
    assert np.isin(policy.act(holes.observations[:40]), holes.action_set.ids).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_a_seed_fixes_every_bit_and_disturbs_nobody(name: str, points: Relabelled) -> None:
    """Even if the evaluation in between draws from the global generators."""
    world = Maze(2, actuators=4)
    seen: list[int] = []

    def judge(step: int, policy: Policy) -> None:
        seen.append(step)
        torch.rand(step)
        np.random.random(step)
        evaluate(policy, world, episodes=2, seed=step)

    np.random.seed(4)
    torch.manual_seed(4)
    before = torch.get_rng_state(), np.random.get_state()[1:3]
    plain = train(points, name, seed=3, **SMALL)
    watched = train(points, name, seed=3, on_checkpoint=judge, checkpoint_every=4, **SMALL)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1][0])
    assert np.random.get_state()[2] == before[1][1]
    assert seen == [4, 6]
    assert equal(plain, watched)
    assert not equal(plain, train(points, name, seed=4, **SMALL))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_learner_of_points_refuses_a_plain_log(name: str, maze_log: Log) -> None:
    with pytest.raises(ValueError, match=f"{name} learns on points: re-label the log first"):
        train(maze_log, name, seed=0, **SMALL)


def test_a_learner_of_ids_takes_the_log_of_a_relabelled_one(points: Relabelled) -> None:
    one = train(points, "discrete_cql", seed=0, **SMALL)
    assert equal(one, train(points.log, "discrete_cql", seed=0, **SMALL))


def test_unknown_names_are_refused_with_those_there_are(maze_log: Log) -> None:
    with pytest.raises(ValueError, match="unknown learner 'sac'; there are cql, bcq"):
        train(maze_log, "sac", seed=0)
    with pytest.raises(ValueError, match="discrete_bc has no setting 'gama'; near it: gamma"):
        train(maze_log, "discrete_bc", seed=0, gama=0.9)


def test_changes_are_made_to_the_learners_own_defaults() -> None:
    assert settings("bcq", {"steps": 3}) == replace(DEFAULTS["bcq"], steps=3)
    assert settings("bcq", {}) != settings("td3_plus_bc", {}) != LearnerConfig()


def test_a_log_without_a_usable_row_is_refused(maze_log: Log) -> None:
    log = decisions(np.zeros((4, 1)), np.zeros(4), np.zeros(4), ActionSet.dense(2))
    blind = replace(log, terminated=np.zeros(4, bool), truncated=np.ones(4, bool))
    with pytest.raises(ValueError, match="none has a next observation and none terminates"):
        train(blind, "discrete_cql", seed=0, **SMALL)


@pytest.mark.parametrize("name", sorted(IMITATING))
def test_who_only_imitates_needs_no_next_state(name: str) -> None:
    """Rows that each are an episode cut off at once: the second is chosen in every state."""
    chosen = np.array([1, 1, 1, 1])
    log = decisions(np.zeros((4, 1)), chosen, np.ones(4), ActionSet.dense(2))
    either = AllowedActions.of_mask(np.ones((4, 2), bool))
    blind = replace(
        log,
        terminated=np.zeros(4, bool),
        truncated=np.ones(4, bool),
        has_next=np.zeros(4, bool),
        allowed=either if name in MASKED else None,
    )
    policy = train(blind, name, seed=0, steps=50, hidden=(8,), critic_learning_rate=0.05)
    assert policy.choose(np.zeros((1, 1), np.float32)).tolist() == [1]


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_learner_refuses_a_log_without_sets(name: str, maze_log: Log) -> None:
    plain = name.removeprefix("masked_")
    with pytest.raises(ValueError, match=f"{name} needs the allowed actions .* take {plain}"):
        train(maze_log, name, seed=0, **SMALL)


def test_masked_learners_differ_from_the_plain(points: Relabelled) -> None:
    for name in MASKED:
        masked = train(points, name, seed=0, **SMALL)
        assert not equal(masked, train(points, name.removeprefix("masked_"), seed=0, **SMALL))


def test_decoding_learners_need_no_sets_but_take_them(points: Relabelled) -> None:
    free = Relabelled(replace(points.log, allowed=None), points.representation, points.points)
    bound = train(points, "td3_decoded", seed=0, **SMALL)
    assert not equal(bound, train(free, "td3_decoded", seed=0, **SMALL))


def test_behaviour_cloning_imitates() -> None:
    """Which of four actions is taken depends on the quadrant."""
    places = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    taken = 2 * (places[:, 0] > 0) + (places[:, 1] > 0)
    names = ActionSet(np.array(["left down", "left up", "right down", "right up"]))
    log = decisions(places, taken, np.zeros(500), names)
    policy = train(
        log,
        "discrete_bc",
        seed=0,
        steps=300,
        batch_size=64,
        hidden=(16,),
        critic_learning_rate=0.01,
    )
    asked = np.random.default_rng(1).uniform(-1, 1, (200, 2))
    right = names.ids[2 * (asked[:, 0] > 0) + (asked[:, 1] > 0)]
    assert (policy.act(asked) == right).mean() > 0.93
    assert isinstance(policy, IdPolicy)
    assert np.isnan(policy.value(log.observations, log.actions)).all()


BEST = 0.5
"""Where on the line an action pays most."""


@pytest.fixture(scope="module")
def bandit() -> Relabelled:
    """21 actions on a line, drawn uniformly; reward falls with the distance from `BEST`."""
    line = np.linspace(-1, 1, 21)
    draws = np.random.default_rng(0)
    actions = draws.integers(21, size=600)
    rewards = 5.0 * (1 - np.abs(line[actions] - BEST))
    places = draws.uniform(-1, 1, (600, 1))
    log = decisions(places, actions, rewards, ActionSet.dense(21))
    table = PointTable(
        "random_table", {}, log.action_set, 1, torch.from_numpy(line[:, None].astype(np.float32))
    )
    return relabel(log, table)


@pytest.mark.parametrize(
    "name",
    [
        "cql",
        "bcq",
        "td3_plus_bc",
        "plas",
        "iql",
        "td3_decoded",
        "discrete_cql",
        "discrete_bcq",
        "weighted_bc",
    ],
)
def test_learners_find_what_pays(name: str, bandit: Relabelled) -> None:
    policy = train(
        bandit,
        name,
        seed=0,
        steps=300,
        batch_size=64,
        hidden=(32,),
        actor_learning_rate=0.005,
        critic_learning_rate=0.01,
    )
    asked = np.linspace(-0.9, 0.9, 30, dtype=np.float32)[:, None]
    chosen = np.linspace(-1, 1, 21)[policy.choose(asked)]
    assert np.abs(chosen - BEST).mean() < 0.3


def test_values_are_in_the_logs_own_unit(bandit: Relabelled) -> None:
    policy = train(
        bandit,
        "discrete_cql",
        seed=0,
        steps=300,
        batch_size=64,
        hidden=(32,),
        critic_learning_rate=0.01,
        alpha=0.0,
    )
    assert isinstance(policy, IdPolicy)
    best = np.full(10, 15)
    found = policy.value(np.zeros((10, 1), np.float32), best)
    assert found == pytest.approx(5.0, abs=1.0)


@pytest.mark.parametrize("name", ["cql", "discrete_bcq", "discrete_bc"])
def test_only_allowed_actions_are_chosen_and_their_logged_ids_come_back(
    name: str, points: Relabelled
) -> None:
    ids = np.array([f"action {k}" for k in range(16)])
    log = replace(points.log, action_set=ActionSet(ids))
    table = PointTable("random_table", {}, log.action_set, 3, torch.from_numpy(PLACES))
    policy = train(relabel(log, table), name, seed=0, **SMALL)
    seen = log.observations[:60]
    free = policy.choose(seen)
    mask = np.random.default_rng(0).random((60, 16)) < 0.2
    mask[np.arange(60), free] = False
    mask[np.arange(60), (free + 1) % 16] |= ~mask.any(axis=1)
    chosen = policy.choose(seen, AllowedActions.of_mask(mask))
    assert mask[np.arange(60), chosen].all()
    assert np.array_equal(policy.act(seen, AllowedActions.of_mask(mask)), ids[chosen])
    assert np.array_equal(policy.act(seen), ids[free])


@pytest.mark.parametrize("name", ["cql", "discrete_cql"])
def test_a_row_that_may_choose_nothing_is_refused(name: str, points: Relabelled) -> None:
    policy = train(points, name, seed=0, **SMALL)
    mask = np.ones((3, 16), bool)
    mask[1] = False
    with pytest.raises(ValueError, match="row 1 has an empty set of allowed actions"):
        policy.act(points.log.observations[:3], AllowedActions.of_mask(mask))


def test_observations_that_are_no_matrix_are_refused(points: Relabelled) -> None:
    policy = train(points, "discrete_bc", seed=0, **SMALL)
    with pytest.raises(ValueError, match=r"observations must be \[B, S\], got shape \(3,\)"):
        policy.act(points.log.observations[0])
