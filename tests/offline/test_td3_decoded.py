"""TD3+BC on decoded points: d3rlpy's update where decoding changes nothing, and what Q sees."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import AllowedActions
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.columns import Batch
from offline_actrep.offline.d3rlpy_learner import D3rlpyLearner
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.offline.td3_decoded import DecodedTd3
from offline_actrep.offline.twin_critics import values
from offline_actrep.relabel import Relabelled

CONFIG = LearnerConfig(
    hidden=(9, 7),
    batch_size=16,
    gamma=0.91,
    actor_learning_rate=0.011,
    critic_learning_rate=0.012,
    alpha=1.9,
    tau=0.027,
    target_noise=0.32,
)


def on_points(make_batch: Any, points: Relabelled, seed: int, masked: bool = False) -> Batch:
    mask = np.random.default_rng(seed).random((16, 16)) < 0.3
    mask[:, 3] = True
    allowed = AllowedActions.of_mask(mask) if masked else None
    logged = torch.from_numpy(points.points[:16])
    batch = replace(make_batch(seed, 4), actions=logged, allowed=allowed)
    return replace(
        batch,
        observations=torch.from_numpy(points.log.observations[:16]),
        next_observations=torch.from_numpy(points.log.next_observations[:16]),
        next_allowed=None if allowed is None else allowed.take(np.arange(16)[::-1].copy()),
    )


def ours(points: Relabelled) -> DecodedTd3:
    with seeded(1):
        return DecodedTd3("td3_decoded", CONFIG, 3, points.representation)


def theirs(made: DecodedTd3) -> D3rlpyLearner:
    """d3rlpy's TD3+BC, with the same settings and weights."""
    learner = D3rlpyLearner("td3_plus_bc", CONFIG, 3, 2)
    for right, left in pairs(learner, made):
        right.data.copy_(left.data)
    return learner


def pairs(left: Any, right: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    def weights(learner: Any, *names: str) -> list[torch.Tensor]:
        return [w for name in names for w in learner.modules()[name].parameters()]

    d3rlpys = weights(left, "policy", "q_funcs", "targ_policy", "targ_q_funcs")
    mine = weights(right, "actor", "critics", "target_actor", "target_critics")
    return list(zip(d3rlpys, mine, strict=True))


def test_without_decoding_the_updates_are_d3rlpys(
    make_batch: Any, points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecodedTd3, "_decoded", lambda self, seen, wanted, allowed: wanted)
    made = ours(points)
    learner = theirs(made)
    for seed in range(4):
        batch = on_points(make_batch, points, seed)
        with seeded(seed):
            mine = made.update(batch)
        with seeded(seed):
            other = learner.update(batch)
        assert mine == pytest.approx(other, abs=1e-5)
        for left, right in pairs(learner, made):
            assert (left - right).abs().max() < (1e-6 if seed == 0 else 1e-4)
    seen = batch.features.numpy()
    assert made.points(seen, seen) == pytest.approx(learner.points(seen, seen), abs=1e-4)
    assert made.value(seen, points.points[:16]) == pytest.approx(
        learner.value(seen, points.points[:16]), abs=1e-4
    )


@pytest.mark.parametrize("masked", [False, True])
def test_q_is_only_asked_about_allowed_actions(
    make_batch: Any, points: Relabelled, masked: bool
) -> None:
    made = ours(points)
    asked: dict[str, list[torch.Tensor]] = {"now": [], "next": []}
    for when, critics in (("now", made.critics), ("next", made.target_critics)):
        critics[0].register_forward_pre_hook(
            lambda module, given, when=when: asked[when].append(given[0][:, 3:].detach())
        )
    batch = on_points(make_batch, points, seed=0, masked=masked)
    made.update(batch)
    assert [len(asked["now"]), len(asked["next"])] == [2, 1]
    table = made.representation.table(batch.observations)  # type: ignore[arg-type]
    for given, allowed in (
        (asked["now"][1], batch.allowed),
        (asked["next"][0], batch.next_allowed),
    ):
        gap = (table - given[:, None]).abs().sum(dim=2)
        if allowed is not None:
            gap = gap.masked_fill(~torch.from_numpy(allowed.mask(16)), torch.inf)
        assert gap.amin(dim=1).max() < 1e-6
    assert torch.equal(asked["now"][0], batch.actions)


def test_the_gradient_of_q_at_the_decoded_point_reaches_the_actor(
    make_batch: Any, points: Relabelled
) -> None:
    """What the actor's weights get is by hand, and another thing than imitation alone gives."""
    made = ours(points)
    batch = on_points(make_batch, points, seed=0)
    wanted = made.actor(batch.features).tanh()
    real = made._decoded(batch.observations, wanted.detach(), None).requires_grad_()
    assert (real - wanted).abs().max() > 0.1
    value = values(made.critics[:1], batch.features, real)[0]
    (slope,) = torch.autograd.grad(value.mean(), real)
    assert (slope != 0).any(dim=1).all()
    pull = 2 * (wanted - batch.actions).detach() / wanted.numel()
    push = CONFIG.alpha / value.detach().abs().mean() * slope
    weights = list(made.actor.parameters())
    by_hand = torch.autograd.grad(wanted, weights, pull - push, retain_graph=True)
    imitation = torch.autograd.grad(wanted, weights, pull)
    made._update_actor(batch)
    for weight, with_q, without in zip(weights, by_hand, imitation, strict=True):
        torch.testing.assert_close(weight.grad, with_q)
        assert not torch.allclose(with_q, without, rtol=0.1)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("neighbours", [1, 3, 99])
def test_q_chooses_among_the_nearest_when_it_acts(
    make_batch: Any, points: Relabelled, neighbours: int, masked: bool
) -> None:
    """By hand, row by row; where fewer are allowed, among all of those."""
    with seeded(1):
        config = replace(CONFIG, neighbours=neighbours)
        made = DecodedTd3("td3_decoded", config, 3, points.representation)
    batch = on_points(make_batch, points, seed=0, masked=masked)
    features, states = batch.features, batch.observations
    assert states is not None
    chosen = made.points(features.numpy(), states.numpy(), batch.allowed)
    wanted, table = made.actor(features).tanh().detach(), made.representation.table(states)
    if neighbours == 1:
        assert np.array_equal(chosen, wanted.numpy()), "decoding does the rest"
        return
    moved = 0
    for n in range(16):
        may = np.arange(16) if batch.allowed is None else batch.allowed.row(n)
        away = (table[n, may] - wanted[n]).abs().sum(dim=1)
        near = table[n, may][away.argsort()[:neighbours]]
        seen = features[n].expand(len(near), -1)
        best = near[torch.stack(values(made.critics, seen, near)).amin(dim=0).argmax()]
        np.testing.assert_allclose(chosen[n], best.detach().numpy(), atol=1e-6)
        moved += not torch.equal(best, near[0])
    assert moved, "Q disagrees with the actor somewhere"
