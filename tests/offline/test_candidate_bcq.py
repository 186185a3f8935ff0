"""BCQ among likely ids: its target by hand, whom Q is asked about, where the policy goes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import AllowedActions
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline import heads
from offline_actrep.offline.candidate_bcq import WIDER, CandidateBcq
from offline_actrep.offline.columns import Batch
from offline_actrep.offline.learner import LearnerConfig
from offline_actrep.offline.twin_critics import values
from offline_actrep.relabel import Relabelled

CONFIG = LearnerConfig(
    hidden=(9, 7), gamma=0.9, tau=0.25, n_action_samples=3, action_flexibility=0.2, beta=0.1
)


def on_points(make_batch: Any, points: Relabelled, allowed: AllowedActions | None = None) -> Batch:
    batch = make_batch(0, 4)
    return replace(
        batch,
        actions=torch.from_numpy(points.points[:16]),
        ids=torch.from_numpy(points.log.actions[:16].copy()),
        observations=torch.from_numpy(points.log.observations[:16].copy()),
        next_observations=torch.from_numpy(points.log.next_observations[:16].copy()),
        next_allowed=allowed,
    )


def made(points: Relabelled, **changes: Any) -> CandidateBcq:
    with seeded(1):
        return CandidateBcq("candidate_bcq", replace(CONFIG, **changes), 3, points.representation)


def likely(learner: CandidateBcq, features: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return learner.imitator(features).softmax(dim=1)


@pytest.mark.parametrize("masked", [False, True])
def test_the_target_is_the_best_of_the_likely_allowed_candidates(
    make_batch: Any, points: Relabelled, masked: bool
) -> None:
    """Each row's candidates, one by one."""
    mask = np.random.default_rng(0).random((16, 16)) < 0.4
    mask[:, 5] = True
    batch = on_points(make_batch, points, AllowedActions.of_mask(mask) if masked else None)
    learner = made(points, action_flexibility=0.97)
    chances, counts = likely(learner, batch.next_features), []
    for row, found in enumerate(learner._target(batch)):
        ids = [k for k in range(16) if mask[row, k] or not masked]
        ids = sorted(ids, key=lambda k: -chances[row, k])[:3]
        ids = [k for k in ids if chances[row, k] > 0.97 * chances[row, ids[0]]]
        seen = batch.next_observations[row : row + 1].expand(len(ids), -1)  # type: ignore[index]
        there = learner.representation.embed(seen, torch.tensor(ids))
        features = batch.next_features[row : row + 1].expand(len(ids), -1)
        with torch.no_grad():
            worst = torch.stack(values(learner.target_critics, features, there)).amin(dim=0)
        ahead = 0.9 * (1 - batch.terminals[row]) * worst.max()
        assert found.item() == pytest.approx((batch.rewards[row] + ahead).item(), abs=1e-5)
        counts.append(len(ids))
    assert len(set(counts)) > 1


def test_the_policy_goes_to_the_point_of_the_best_candidate(
    make_batch: Any, points: Relabelled
) -> None:
    batch = on_points(make_batch, points)
    learner = made(points)
    seen = batch.observations
    assert seen is not None
    wanted = torch.from_numpy(learner.points(batch.features.numpy(), seen.numpy()))
    chosen = learner.representation.decode(seen, wanted)
    gap = (learner.representation.embed(seen, chosen) - wanted).abs().sum(dim=1)
    assert gap.max() < 1e-6
    chances = likely(learner, batch.features)
    last = chances.topk(WIDER * 3, dim=1).values[:, -1]
    picked = chances[torch.arange(16), chosen]
    assert (picked >= last).all() and (picked > 0.2 * chances.amax(dim=1)).all()
    found = learner.value(batch.features.numpy(), wanted.numpy())
    assert found.shape == (16,) and np.isfinite(found).all()


def test_the_policy_chooses_among_the_allowed_candidates(
    make_batch: Any, points: Relabelled
) -> None:
    """As the targets assume: each row's candidates, one by one. The set decides which actions are
    candidates, and is not only what the best of all is moved to."""
    batch, learner = on_points(make_batch, points), made(points, n_action_samples=1)
    mask = np.random.default_rng(3).random((16, 16)) < 0.4
    mask[:, 5] = True
    allowed = AllowedActions.of_mask(mask)
    seen = batch.observations
    assert seen is not None
    wanted = learner.points(batch.features.numpy(), seen.numpy(), allowed)
    chances = likely(learner, batch.features)
    for row in range(16):
        ids = sorted(np.flatnonzero(mask[row]).tolist(), key=lambda k: -chances[row, k])[:WIDER]
        ids = [k for k in ids if chances[row, k] > 0.2 * chances[row, ids[0]]]
        there = learner.representation.embed(seen[row].expand(len(ids), -1), torch.tensor(ids))
        with torch.no_grad():
            features = batch.features[row].expand(len(ids), -1)
            worst = torch.stack(values(learner.critics, features, there)).amin(dim=0)
        assert wanted[row] == pytest.approx(there[worst.argmax()].numpy(), abs=1e-6)
    free = learner.points(batch.features.numpy(), seen.numpy())
    chosen, moved = (
        learner.representation.decode(seen, torch.from_numpy(each), allowed)
        for each in (wanted, free)
    )
    assert not torch.equal(chosen, moved)


def test_points_are_found_in_parts_as_at_once(
    make_batch: Any, points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, learner = on_points(make_batch, points), made(points)
    assert batch.observations is not None
    asked = batch.features.numpy(), batch.observations.numpy()
    mask = np.random.default_rng(3).random((16, 16)) < 0.4
    mask[:, 5] = True
    sets = (None, AllowedActions.of_mask(mask))
    whole = [learner.points(*asked, allowed) for allowed in sets]
    sizes: list[int] = []
    learner.imitator.register_forward_hook(lambda *given: sizes.append(given[2].numel()))
    monkeypatch.setattr(heads, "AT_ONCE", 90)
    for before, allowed in zip(whole, sets, strict=True):
        np.testing.assert_allclose(learner.points(*asked, allowed), before, atol=1e-6)
    assert max(sizes) <= 90 and len(sizes) == 8


def test_above_the_highest_threshold_is_imitation(make_batch: Any, points: Relabelled) -> None:
    batch = on_points(make_batch, points)
    learner = made(points, action_flexibility=0.9999)
    seen = batch.observations
    assert seen is not None
    wanted = torch.from_numpy(learner.points(batch.features.numpy(), seen.numpy()))
    copied = learner.representation.embed(seen, likely(learner, batch.features).argmax(dim=1))
    assert torch.equal(wanted, copied)


def test_an_update_imitates_the_ids_and_moves_the_targets_by_their_share(
    make_batch: Any, points: Relabelled
) -> None:
    batch = on_points(make_batch, points)
    learner = made(points)
    assert batch.ids is not None
    before = [weight.clone() for weight in learner.target_critics.parameters()]
    at_first = likely(learner, batch.features)[torch.arange(16), batch.ids].log().mean()
    losses = [learner.update(batch) for _ in range(50)]
    assert losses[-1]["critic_loss"] < losses[0]["critic_loss"]
    later = likely(learner, batch.features)[torch.arange(16), batch.ids].log().mean()
    assert later > at_first
    learner = made(points)
    learner.update(batch)
    pairs = zip(
        before, learner.critics.parameters(), learner.target_critics.parameters(), strict=True
    )
    for old, network, target in pairs:
        torch.testing.assert_close(target, 0.75 * old + 0.25 * network)
