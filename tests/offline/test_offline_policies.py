"""Learners as policies: in parts as at once, within what is allowed, and for fitting rows alone."""

from typing import Any

import numpy as np
import pytest
import torch

from offline_actrep.core.actions import AllowedActions
from offline_actrep.offline import heads
from offline_actrep.offline.learner import DISCRETE
from offline_actrep.offline.policies import IdPolicy
from offline_actrep.offline.train import train
from offline_actrep.relabel import Relabelled

SMALL = {"steps": 6, "batch_size": 16, "hidden": (8,)}


def sets_of(n: int, share: float = 0.4) -> AllowedActions:
    mask = np.random.default_rng(2).random((n, 16)) < share
    mask[:, 5] = True
    return AllowedActions.of_mask(mask)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("masked", [False, True])
def test_ids_are_chosen_in_parts_as_at_once(
    name: str, masked: bool, points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, seen = train(points, name, seed=0, **SMALL), points.log.observations[:100]
    assert isinstance(policy, IdPolicy)
    allowed = sets_of(100) if masked else None
    whole, sizes, scores = policy.choose(seen, allowed), [], policy.learner.scores

    def watched(features: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        assert (mask is None) == (allowed is None)
        assert mask is None or mask.size == 16 * len(features)
        sizes.append(16 * len(features))
        return scores(features, mask)

    monkeypatch.setattr(policy.learner, "scores", watched)
    monkeypatch.setattr(heads, "AT_ONCE", 200)
    assert np.array_equal(policy.choose(seen, allowed), whole)
    assert max(sizes) <= 200 and sum(sizes) == 1600


def test_no_rows_are_no_choices(points: Relabelled) -> None:
    policy = train(points, "discrete_bc", seed=0, **SMALL)
    assert policy.choose(points.log.observations[:0]).shape == (0,)


def test_an_empty_set_is_refused_by_its_row(
    points: Relabelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, mask = train(points, "discrete_bc", seed=0, **SMALL), sets_of(100).mask(16)
    mask[77] = False
    monkeypatch.setattr(heads, "AT_ONCE", 200)
    with pytest.raises(ValueError, match="row 77 has an empty set of allowed actions"):
        policy.choose(points.log.observations[:100], AllowedActions.of_mask(mask))


@pytest.mark.parametrize("name", ["cql", "candidate_bcq", "discrete_cql"])
@pytest.mark.parametrize("n_sets", [1, 4, 6])
@pytest.mark.parametrize("verb", ["choose", "act"])
def test_sets_for_other_rows_are_refused(
    name: str, n_sets: int, verb: str, points: Relabelled
) -> None:
    """A set too many would pass unseen, a single one be spread over all rows."""
    policy = train(points, name, seed=0, **SMALL)
    with pytest.raises(ValueError, match=f"5 observations need as many sets .* got {n_sets}"):
        getattr(policy, verb)(points.log.observations[:5], sets_of(n_sets))


@pytest.mark.parametrize("name", ["cql", "candidate_bcq", "discrete_cql"])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_other_columns_are_refused(name: str, size: int, points: Relabelled) -> None:
    columns = points.log.observation_size
    assert size != columns
    policy = train(points, name, seed=0, **SMALL)
    with pytest.raises(ValueError, match=f"need the {columns} columns .* got {size}"):
        policy.act(np.zeros((5, size)))


def test_an_actor_that_looks_at_real_actions_is_told_what_is_allowed(points: Relabelled) -> None:
    policy: Any = train(points, "candidate_bcq", seed=0, **SMALL)
    seen, allowed = points.log.observations[:50], sets_of(50, share=0.1)
    wanted = policy.actor.points(seen, allowed)
    _, gap = policy.nearest(seen, allowed)
    assert allowed.holds(policy.choose(seen, allowed)).all()
    assert gap.max() < 1e-6, "its point is that of an allowed action"
    assert not np.allclose(wanted, policy.actor.points(seen))
    assert torch.from_numpy(wanted).isfinite().all()
