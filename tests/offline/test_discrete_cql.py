"""Discrete CQL: d3rlpy's own update at every step, and what a mask keeps out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteCQLConfig
from d3rlpy.models import VectorEncoderFactory

from offline_actrep.core.actions import AllowedActions
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.columns import Batch
from offline_actrep.offline.discrete_cql import DiscreteCql
from offline_actrep.offline.learner import LearnerConfig

CONFIG = LearnerConfig(
    hidden=(9, 7),
    batch_size=16,
    gamma=0.91,
    critic_learning_rate=0.012,
    alpha=1.9,
    target_update_interval=3,
)
A = 6


def ours(config: LearnerConfig = CONFIG) -> DiscreteCql:
    with seeded(1):
        return DiscreteCql("discrete_cql", config, 3, A)


def theirs(made: DiscreteCql) -> Any:
    """d3rlpy's, with the same settings and weights."""
    config = made.config
    algo = DiscreteCQLConfig(
        learning_rate=config.critic_learning_rate,
        encoder_factory=VectorEncoderFactory(hidden_units=list(config.hidden)),
        batch_size=config.batch_size,
        gamma=config.gamma,
        alpha=config.alpha,
        target_update_interval=config.target_update_interval,
    ).create(device="cpu:0")
    algo.create_impl((3,), A)
    modules: Any = algo.impl.modules  # type: ignore[union-attr]
    for q in (modules.q_funcs[0], modules.targ_q_funcs[0]):
        q.encoder._layers.load_state_dict(made.q.body.state_dict())
        q._fc.load_state_dict(made.q.head.state_dict())
    return algo


def pairs(made: DiscreteCql, algo: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    q, target = algo.impl.modules.q_funcs[0], algo.impl.modules.targ_q_funcs[0]
    ours = (made.q.body, made.q.head, made.q.frozen_body, made.q.frozen_head)
    d3rlpys = (q.encoder._layers, q._fc, target.encoder._layers, target._fc)
    return [
        pair
        for left, right in zip(ours, d3rlpys, strict=True)
        for pair in zip(left.parameters(), right.parameters(), strict=True)
    ]


def test_one_update_is_d3rlpys(make_batch: Any, as_theirs: Any) -> None:
    made = ours()
    algo = theirs(made)
    before = made.tensors()
    batch = make_batch(0, A)
    mine, other = made.update(batch), algo.update(as_theirs(batch))
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert value == pytest.approx(other[name], abs=1e-6), name
    for left, right in pairs(made, algo):
        assert (left - right).abs().max() < 1e-6
    assert any(not torch.equal(before[key], tensor) for key, tensor in made.tensors().items())


def test_eight_updates_are_d3rlpys_with_the_copies_of_the_target(
    make_batch: Any, as_theirs: Any
) -> None:
    made = ours()
    algo = theirs(made)
    for seed in range(8):
        batch = make_batch(seed, A)
        mine, other = made.update(batch), algo.update(as_theirs(batch))
        assert mine["loss"] == pytest.approx(other["loss"], abs=1e-4)
    for left, right in pairs(made, algo):
        assert (left - right).abs().max() < 1e-4
    assert not torch.equal(made.q.head.weight, made.q.frozen_head.weight)


def test_scores_and_values_are_d3rlpys(make_batch: Any) -> None:
    made = ours()
    algo = theirs(made)
    seen = make_batch(3, A).features.numpy()
    actions = np.arange(16) % A
    assert np.array_equal(made.scores(seen).argmax(axis=1), algo.predict(seen))
    assert made.value(seen, actions) == pytest.approx(algo.predict_value(seen, actions), abs=1e-6)
    mask = np.random.default_rng(0).random((16, A)) < 0.5
    assert np.array_equal(made.scores(seen, mask)[mask], made.scores(seen)[mask])
    assert np.isneginf(made.scores(seen, mask)[~mask]).all()


@pytest.fixture
def masked(make_batch: Callable[..., Batch]) -> Batch:
    """Some ids are allowed: the logged one always, some other in the next state."""
    draws = np.random.default_rng(2)
    mask, next_mask = draws.random((16, A)) < 0.4, draws.random((16, A)) < 0.4
    free = make_batch(7, A)
    mask[np.arange(16), free.actions.numpy()] = True
    next_mask[np.arange(16), draws.integers(A, size=16)] = True
    return make_batch(7, A, mask, next_mask)


def test_masked_losses_are_those_of_a_loop_over_the_allowed(masked: Batch) -> None:
    made = ours()
    assert masked.allowed is not None and masked.next_allowed is not None
    values, ahead = made.q(masked.features).detach(), made.q(masked.next_features).detach()
    td, above = 0.0, 0.0
    for n, action in enumerate(masked.actions.tolist()):
        left, right = masked.allowed.row(n), masked.next_allowed.row(n)
        best = ahead[n, right].max().item() * (1 - masked.terminals[n].item())
        gap = abs(masked.rewards[n].item() + 0.91 * best - values[n, action].item())
        td += (0.5 * gap**2 if gap < 1 else gap - 0.5) / 16
        above += (values[n, left].exp().sum().log() - values[n, action]).item() / 16
    found = made.update(masked)
    assert found["td_loss"] == pytest.approx(td, abs=1e-5)
    assert found["conservative_loss"] == pytest.approx(above, abs=1e-5)
    assert found["loss"] == pytest.approx(td + 1.9 * above, abs=1e-5)


def test_a_mask_that_allows_everything_changes_nothing(make_batch: Any) -> None:
    everything = np.ones((16, A), bool)
    free, bound = ours(), ours()
    free.update(make_batch(0, A))
    bound.update(make_batch(0, A, everything, everything))
    for key, tensor in free.tensors().items():
        assert torch.equal(tensor, bound.tensors()[key]), key


def test_what_is_never_allowed_is_neither_pushed_nor_believed(make_batch: Any) -> None:
    mask = np.ones((16, A), bool)
    mask[:, 4] = False
    batch = make_batch(0, A - 2)
    sets = AllowedActions.of_mask(mask)
    bound = replace(batch, allowed=sets, next_allowed=sets)
    made, wild, free = ours(), ours(), ours()
    for learner in (wild, free):
        with torch.no_grad():
            learner.q.head.bias[4] = learner.q.frozen_head.bias[4] = 100.0
    calm = made.update(bound)
    assert wild.update(bound) == calm
    assert wild.q.head.bias[4] == 100.0
    assert free.update(batch)["loss"] > calm["loss"] + 50
