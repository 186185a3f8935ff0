"""d3rlpy's learners of points as we feed and read them, held against d3rlpy itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy import load_learnable
from d3rlpy.algos import TD3PlusBCConfig
from d3rlpy.logging import NoopAdapterFactory

from offline_actrep.files.exchange.d3rlpy import mdp_dataset
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.bridge import replay_buffer
from offline_actrep.offline.columns import learning_columns
from offline_actrep.offline.d3rlpy_learner import (
    CONFIGS,
    D3rlpyLearner,
    FusedAdam,
    TransitionMiniBatch,
    mini_batch,
)
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.relabel import Relabelled


def learner(name: str, config: LearnerConfig) -> D3rlpyLearner:
    with seeded(0):
        return D3rlpyLearner(name, config, 3, 2)


def groups(made: D3rlpyLearner) -> list[dict[str, Any]]:
    """What its optimisers move, with their settings."""
    parts = vars(made.algo.impl.modules).values()  # type: ignore[union-attr]
    return [group for part in parts if hasattr(part, "optim") for group in part.optim.param_groups]


def test_batches_are_those_of_d3rlpys_own_transitions(points: Relabelled) -> None:
    """Next actions aside, which no learner here uses, and the next state after a terminal one,
    which d3rlpy blanks and no target reads.
    """
    log = points.log
    ends = log.ends.copy()
    ends[log.episode_offsets[1::2] - 1] = False
    some = replace(log, terminated=log.ends & ~ends, truncated=ends)
    data = Relabelled(some, points.representation, points.points)
    columns = learning_columns(data, ObservationFeatures(3, FeatureConfig()), 1.0, 0.9)
    dataset = mdp_dataset(some, points.points)
    theirs = TransitionMiniBatch.from_transitions(
        [
            dataset.transition_picker(episode, i)
            for episode in dataset.episodes
            for i in range(episode.transition_count)
        ]
    )
    ours = mini_batch(columns.batch(np.arange(len(columns))))
    for field in ("observations", "actions", "rewards", "terminals", "intervals"):
        left, right = getattr(ours, field), getattr(theirs, field)
        assert left.dtype == right.dtype == np.float32
        assert np.array_equal(left, right), field
    goes_on = theirs.terminals[:, 0] == 0
    assert goes_on.any() and not goes_on.all()
    assert np.array_equal(ours.next_observations[goes_on], theirs.next_observations[goes_on])


@pytest.mark.parametrize("name", CONFIGS)
def test_adam_in_one_call_moves_weights_as_d3rlpys_own(name: str, points: Relabelled) -> None:
    """Up to rounding, and with it every weight that d3rlpy's own optimiser moves."""
    config = LearnerConfig(hidden=(8, 8), batch_size=16, warmup=0.0, steps=10)
    ours, theirs = learner(name, config), learner(name, config)
    fused = [group for made in (ours, theirs) for group in groups(made) if group["fused"]]
    assert len(fused) >= 4
    for group in groups(theirs):
        group["fused"] = False
    columns = learning_columns(points, ObservationFeatures(3, FeatureConfig()), 1.0, 0.9)
    batch = columns.batch(np.arange(16))
    before = ours.tensors()
    for made in (ours, theirs):
        with seeded(0):
            made.update(batch)
    after, other = ours.tensors(), theirs.tensors()
    for key, tensor in after.items():
        assert (tensor - other[key]).abs().max() < 1e-6, key
    assert any(not torch.equal(before[key], tensor) for key, tensor in after.items())


def test_d3rlpy_trains_with_it_saves_it_and_loads_it(points: Relabelled, tmp_path: Path) -> None:
    """Its own algorithms take the optimiser as they take theirs."""
    with seeded(0):
        algo = TD3PlusBCConfig(
            batch_size=16, actor_optim_factory=FusedAdam(), critic_optim_factory=FusedAdam()
        ).create(device="cpu:0")
        algo.fit(
            replay_buffer(points, seed=0),
            n_steps=2,
            n_steps_per_epoch=2,
            show_progress=False,
            logger_adapter=NoopAdapterFactory(),
        )
    algo.save(tmp_path / "algo.d3")
    loaded = load_learnable(tmp_path / "algo.d3", device="cpu:0")
    assert isinstance(loaded.config.actor_optim_factory, FusedAdam)
    assert loaded.impl.modules.actor_optim.optim.param_groups[0]["fused"]
    seen = points.log.observations[:5]
    assert np.array_equal(loaded.predict(seen), algo.predict(seen))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_state_alone_goes_where_it_goes_in_company(name: str, points: Relabelled) -> None:
    """BCQ draws; d3rlpy's own draws anew for every place of a batch."""
    config = LearnerConfig(hidden=(8, 8), batch_size=16, n_action_samples=5, action_flexibility=0.5)
    made, seen = learner(name, config), points.log.observations[:40].copy()
    columns = learning_columns(points, ObservationFeatures(3, FeatureConfig()), 1.0, 0.9)
    with seeded(0):
        for _ in range(20):
            made.update(columns.batch(np.arange(16)))
    whole = made.points(seen, seen)
    assert whole.dtype == np.float32 and whole.std(axis=0).max() > 1e-3
    turned = made.points(seen[::-1].copy(), seen[::-1].copy())[::-1]
    alone = np.concatenate([made.points(row[None], row[None]) for row in seen])
    assert np.abs(turned - whole).max() < 1e-5 and np.abs(alone - whole).max() < 1e-5
    assert made.points(seen[:0], seen[:0]).shape == (0, 2)


def test_bcq_goes_to_the_best_of_what_its_imitator_draws(
    points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As d3rlpy's does, if it draws for every state what ours draws once for all."""
    config = LearnerConfig(hidden=(8, 8), n_action_samples=5, action_flexibility=0.5)
    made, seen = learner("bcq", config), points.log.observations[:40]
    ours = made.points(seen, seen)
    once = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(torch, "randn", lambda *size, **_: once.repeat(size[0] // 5, 1))
    assert np.abs(made.algo.predict(seen) - ours).max() < 1e-6


def test_plas_learns_its_points_before_it_learns_where_to_go(points: Relabelled) -> None:
    made = learner("plas", LearnerConfig(hidden=(8,), batch_size=16, steps=10, warmup=0.35))
    columns = learning_columns(points, ObservationFeatures(3, FeatureConfig()), 1.0, 0.9)
    told = [list(made.update(columns.batch(np.arange(16)))) for _ in range(5)]
    assert told == 3 * [["vae_loss"]] + 2 * [["critic_loss", "actor_loss"]]


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
    steps=70,
    warmup=0.3,
    expectile=0.83,
    weight_temp=2.7,
    max_weight=37.0,
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
    "plas": {
        "gamma": 0.91,
        "actor_learning_rate": 0.011,
        "critic_learning_rate": 0.012,
        "imitator_learning_rate": 0.012,
        "warmup_steps": 21,
        "lam": 0.61,
        "beta": 0.23,
        "tau": 0.027,
    },
    "iql": {
        "gamma": 0.91,
        "actor_learning_rate": 0.011,
        "critic_learning_rate": 0.012,
        "tau": 0.027,
        "expectile": 0.83,
        "weight_temp": 2.7,
        "max_weight": 37.0,
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_reach_d3rlpy(name: str) -> None:
    made = learner(name, ODD)
    config = made.algo.config
    assert config.batch_size == 17
    for setting, wanted in REACHES[name].items():
        assert getattr(config, setting) == wanted, setting
    widths = {tuple(tensor.shape) for tensor in made.tensors().values()}
    assert (7, 9) in widths
