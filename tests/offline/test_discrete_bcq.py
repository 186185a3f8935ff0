"""Discrete BCQ: d3rlpy's own update, what is supported, and what a mask keeps out."""

from typing import Any

import numpy as np
import pytest
import torch
from d3rlpy.algos import DiscreteBCQConfig
from d3rlpy.models import VectorEncoderFactory

from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.discrete_bcq import DiscreteBcq, supported
from offline_actrep.offline.learner import LearnerConfig

CONFIG = LearnerConfig(
    hidden=(9, 7),
    batch_size=16,
    gamma=0.91,
    critic_learning_rate=0.012,
    action_flexibility=0.8,
    beta=0.23,
    target_update_interval=3,
)
A = 6


def ours(config: LearnerConfig = CONFIG) -> DiscreteBcq:
    with seeded(1):
        return DiscreteBcq("discrete_bcq", config, 3, A)


def theirs(made: DiscreteBcq) -> Any:
    """d3rlpy's, with the same settings and weights."""
    config = made.config
    algo = DiscreteBCQConfig(
        learning_rate=config.critic_learning_rate,
        encoder_factory=VectorEncoderFactory(hidden_units=list(config.hidden)),
        batch_size=config.batch_size,
        gamma=config.gamma,
        action_flexibility=config.action_flexibility,
        beta=config.beta,
        target_update_interval=config.target_update_interval,
    ).create(device="cpu:0")
    algo.create_impl((3,), A)
    modules: Any = algo.impl.modules  # type: ignore[union-attr]
    for q in (modules.q_funcs[0], modules.targ_q_funcs[0]):
        q.encoder._layers.load_state_dict(made.q.body.state_dict())
        q._fc.load_state_dict(made.q.head.state_dict())
    modules.imitator._fc.load_state_dict(made.imitator.state_dict())
    return algo


def pairs(made: DiscreteBcq, algo: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    modules = algo.impl.modules
    q, target = modules.q_funcs[0], modules.targ_q_funcs[0]
    ours = (made.q.body, made.q.head, made.q.frozen_body, made.q.frozen_head, made.imitator)
    d3rlpys = (q.encoder._layers, q._fc, target.encoder._layers, target._fc, modules.imitator._fc)
    return [
        pair
        for left, right in zip(ours, d3rlpys, strict=True)
        for pair in zip(left.parameters(), right.parameters(), strict=True)
    ]


def test_one_update_is_d3rlpys(make_batch: Any, as_theirs: Any) -> None:
    made = ours()
    algo = theirs(made)
    batch = make_batch(0, A)
    mine, other = made.update(batch), algo.update(as_theirs(batch))
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert value == pytest.approx(other[name], abs=1e-6), name
    for left, right in pairs(made, algo):
        assert (left - right).abs().max() < 1e-6


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


def test_scores_and_values_are_d3rlpys(make_batch: Any) -> None:
    made = ours()
    algo = theirs(made)
    for seed in range(8):
        made.update(make_batch(seed, A))
    for left, right in pairs(made, algo):
        right.data.copy_(left.data)
    seen = 5 * np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    actions = np.arange(200) % A
    scores = made.scores(seen)
    assert np.isneginf(scores).any() and len(np.unique(scores.argmax(axis=1))) > 1
    assert np.array_equal(scores.argmax(axis=1), algo.predict(seen))
    assert made.value(seen, actions) == pytest.approx(algo.predict_value(seen, actions), abs=1e-5)


def test_only_what_was_imitated_is_supported() -> None:
    likely = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    values = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    for share, kept in ((0.0, 4), (0.2, 3), (0.5, 2), (0.7, 1)):
        found = supported(values, likely, share)
        assert found[0, :kept].tolist() == values[0, :kept].tolist()
        assert torch.isneginf(found[0, kept:]).all()


def test_support_is_measured_among_the_allowed(make_batch: Any) -> None:
    """An allowed set of unlikely ids still has a likeliest one."""
    made = ours()
    with torch.no_grad():
        made.imitator.bias[:] = torch.tensor([9.0, 9.0, 0.0, 0.0, -9.0, -9.0])
        made.imitator.weight.zero_()
    seen = make_batch(0, A).features.numpy()
    mask = np.zeros((16, A), bool)
    mask[:, 2:] = True
    assert np.array_equal(
        np.isfinite(made.scores(seen, mask)).all(axis=0), [False, False, True, True, False, False]
    )
    assert np.array_equal(
        np.isfinite(made.scores(seen)).all(axis=0), [True, True, False, False, False, False]
    )


def test_a_masked_update_sees_the_allowed_alone(make_batch: Any) -> None:
    """Imitation is a distribution over the allowed; a forbidden id is not believed in targets."""
    mask = np.ones((16, A), bool)
    mask[:, 4:] = False
    mask[0] = np.arange(A) == make_batch(0, 4).actions[0].item()
    batch = make_batch(0, 4, mask, mask)
    made, wild = ours(), ours()
    with torch.no_grad():
        for head in (wild.q.head, wild.q.frozen_head, wild.imitator):
            head.bias[4:] = 100.0
    logits = made.imitator(made.q.body(batch.features)).detach()
    likely = logits.masked_fill(torch.from_numpy(~mask), -torch.inf).log_softmax(dim=1)
    logged = likely.gather(1, batch.actions[:, None]).mean()
    wanted = (0.23 * likely[torch.from_numpy(mask)].square().mean() - logged).item()
    calm = made.update(batch)
    assert calm["imitator_loss"] == pytest.approx(wanted, abs=1e-5)
    assert wild.update(batch) == calm
    assert (wild.imitator.bias[4:] == 100.0).all()


def test_a_mask_that_allows_everything_changes_nothing(make_batch: Any) -> None:
    everything = np.ones((16, A), bool)
    free, bound = ours(), ours()
    free.update(make_batch(0, A))
    bound.update(make_batch(0, A, everything, everything))
    for key, tensor in free.tensors().items():
        assert torch.allclose(tensor, bound.tensors()[key], atol=1e-6), key
