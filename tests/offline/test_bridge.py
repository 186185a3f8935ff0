"""d3rlpy's learners as we feed and read them, held against d3rlpy itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from offline_actrep.core.log import Log
from offline_actrep.files.exchange.d3rlpy import mdp_dataset
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline.bridge import (
    CONFIGS,
    CONTINUOUS,
    DISCRETE,
    Columns,
    Learner,
    LearnerConfig,
    TransitionMiniBatch,
)
from offline_actrep.offline.train import learning_columns
from offline_actrep.relabel import Relabelled

SMALL = LearnerConfig(hidden=(8, 8), batch_size=16)


def columns_of(data: Log | Relabelled) -> Columns:
    """As a learner gets them, observations and rewards as they are."""
    return learning_columns(data, ObservationFeatures(3, FeatureConfig()), 1.0)


def learner(name: str, config: LearnerConfig = SMALL, seed: int = 0) -> Learner:
    size = 2 if name in CONTINUOUS else 16
    return Learner(name, config, n_features=3, action_size=size, seed=seed)


def trained(name: str, points: Relabelled, steps: int = 5) -> Learner:
    """A few steps away from its initial weights."""
    made = learner(name)
    columns = columns_of(points if name in CONTINUOUS else points.log)
    draws = np.random.default_rng(0)
    for _ in range(steps):
        made.update(columns.batch(draws.integers(len(columns.rewards), size=16)))
    return made


@pytest.mark.parametrize("ids", [True, False])
def test_batches_are_those_of_d3rlpys_own_transitions(points: Relabelled, ids: bool) -> None:
    """Next actions aside, which no learner here uses, and the next state after a terminal one,
    which d3rlpy blanks and no target reads.
    """
    log = points.log
    ends = log.ends.copy()
    ends[log.episode_offsets[1::2] - 1] = False
    some = replace(log, terminated=log.ends & ~ends, truncated=ends)
    data = some if ids else Relabelled(some, points.representation, points.points)
    columns = columns_of(data)
    dataset = mdp_dataset(some, None if ids else points.points)
    theirs = TransitionMiniBatch.from_transitions(
        [
            dataset.transition_picker(episode, i)
            for episode in dataset.episodes
            for i in range(episode.transition_count)
        ]
    )
    ours = columns.batch(np.arange(len(columns.rewards)))
    for field in ("observations", "actions", "rewards", "terminals", "intervals"):
        left, right = getattr(ours, field), getattr(theirs, field)
        assert left.dtype == right.dtype == np.float32
        assert np.array_equal(left, right), field
    goes_on = theirs.terminals[:, 0] == 0
    assert goes_on.any() and not goes_on.all()
    assert np.array_equal(ours.next_observations[goes_on], theirs.next_observations[goes_on])


@pytest.mark.parametrize("name", DISCRETE)
def test_the_largest_score_is_what_d3rlpy_predicts(name: str, points: Relabelled) -> None:
    made = trained(name, points, steps=30)
    seen = np.random.default_rng(1).normal(0, 20, size=(200, 3)).astype(np.float32)
    scores = made.scores(seen)
    assert scores.shape == (200, 16)
    chosen = scores.argmax(axis=1)
    assert np.array_equal(chosen, made.algo.predict(seen))
    assert len(np.unique(chosen)) > 1


def test_discrete_bcq_scores_only_what_was_imitated(points: Relabelled) -> None:
    made = trained("discrete_bcq", points, steps=30)
    seen = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    logits = made.algo.impl.modules.imitator(torch.from_numpy(seen)).logits  # type: ignore[union-attr]
    share = torch.softmax(logits, dim=1)
    share = share / share.max(dim=1, keepdim=True).values
    assert np.array_equal(np.isneginf(made.scores(seen)), (share <= 0.3).numpy())


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_weights_leave_and_return(name: str, points: Relabelled) -> None:
    made = trained(name, points)
    other = learner(name, seed=7)
    seen = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    before = other.act(seen)
    other.load(made.tensors())
    assert np.array_equal(other.act(seen), made.act(seen))
    assert not np.array_equal(before, made.act(seen))
    assert all(torch.equal(tensor, made.tensors()[key]) for key, tensor in other.tensors().items())


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_weights_that_left_do_not_change_with_training(name: str, points: Relabelled) -> None:
    made = learner(name)
    kept = made.tensors()
    copies = {key: tensor.clone() for key, tensor in kept.items()}
    columns = columns_of(points if name in CONTINUOUS else points.log)
    made.update(columns.batch(np.arange(16)))
    assert all(torch.equal(tensor, copies[key]) for key, tensor in kept.items())
    assert not all(torch.equal(tensor, kept[key]) for key, tensor in made.tensors().items())


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_the_seed_fixes_the_weights_and_the_callers_generator_stays(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, three = learner(name, seed=1), learner(name, seed=1), learner(name, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    mine, same, other = one.tensors(), two.tensors(), three.tensors()
    assert all(torch.equal(mine[key], same[key]) for key in mine)
    assert any(not torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("name", ["bcq", "cql"])
def test_acting_twice_gives_the_same_points(name: str, points: Relabelled) -> None:
    """BCQ draws candidates; the draws are fixed."""
    made = trained(name, points)
    seen = points.log.observations[:20]
    torch.manual_seed(0)
    first = made.act(seen)
    torch.rand(3)
    assert np.array_equal(made.act(seen), first)


def test_an_unknown_learner_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="unknown learner 'sac'; there are cql, bcq, td3_plus_bc"):
        Learner("sac", SMALL, n_features=3, action_size=2, seed=0)
    assert set(CONFIGS) == {*CONTINUOUS, *DISCRETE}


ODD = LearnerConfig(
    batch_size=17,
    hidden=(9, 7),
    gamma=0.91,
    actor_learning_rate=0.011,
    critic_learning_rate=0.012,
    conservative_weight=0.13,
    n_action_samples=6,
    initial_temperature=0.17,
    alpha=1.9,
    tau=0.027,
    target_noise=0.32,
    action_flexibility=0.21,
    lam=0.61,
    beta=0.23,
    target_update_interval=31,
)
REACHES: dict[str, dict[str, object]] = {
    "cql": {
        "gamma": 0.91,
        "actor_learning_rate": 0.011,
        "critic_learning_rate": 0.012,
        "conservative_weight": 0.13,
        "n_action_samples": 6,
        "initial_temperature": 0.17,
        "alpha_learning_rate": 0.0,
        "initial_alpha": 1.0,
        "tau": 0.027,
    },
    "bcq": {
        "gamma": 0.91,
        "actor_learning_rate": 0.011,
        "critic_learning_rate": 0.012,
        "n_action_samples": 6,
        "action_flexibility": 0.21,
        "lam": 0.61,
        "beta": 0.23,
        "tau": 0.027,
    },
    "td3_plus_bc": {
        "gamma": 0.91,
        "actor_learning_rate": 0.011,
        "critic_learning_rate": 0.012,
        "alpha": 1.9,
        "tau": 0.027,
        "target_smoothing_sigma": 0.32,
        "target_smoothing_clip": 0.8,
    },
    "discrete_cql": {
        "gamma": 0.91,
        "learning_rate": 0.012,
        "alpha": 1.9,
        "target_update_interval": 31,
    },
    "discrete_bcq": {
        "gamma": 0.91,
        "learning_rate": 0.012,
        "action_flexibility": 0.21,
        "beta": 0.23,
        "target_update_interval": 31,
    },
    "discrete_bc": {"learning_rate": 0.012, "beta": 0.23},
}


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_settings_reach_d3rlpy(name: str) -> None:
    made = learner(name, ODD)
    config = made.algo.config
    assert config.batch_size == 17
    for setting, wanted in REACHES[name].items():
        assert getattr(config, setting) == wanted, setting
    widths = {tuple(tensor.shape) for tensor in made.tensors().values()}
    assert (7, 9) in widths
