"""Points from which the logged action is told: the likelihood by hand, and what is learnt."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.representations.outcomes import FEW_ACTIONS, outcomes
from offline_actrep.representations.transition import (
    TransitionConfig,
    fit,
    fit_inference,
    log_likelihood,
    score,
)

MOVES = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
"""Actions 0 and 1 are the same; 2 is their opposite."""
SMALL = TransitionConfig(hidden=16, steps=200, batch_size=64)


def drawn(n_actions: int = 7, n: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inferred points, points of the actions, and actions."""
    draws = torch.Generator().manual_seed(3)
    inferred = torch.randn((n, 2), generator=draws)
    return inferred, torch.randn((n_actions, 2), generator=draws), torch.arange(n) % n_actions


def test_the_likelihood_by_hand() -> None:
    """Squared distances 1, 5, 4: ln f of the first is -1 - ln(e^-1 + e^-5 + e^-4)."""
    points = torch.tensor([[1.0, 0.0], [-1.0, 2.0], [0.0, -2.0]])
    found = log_likelihood(torch.zeros(1, 2), points, torch.tensor([0]), torch.arange(3))
    assert float(found[0]) == pytest.approx(-1 - np.log(np.exp([-1.0, -5.0, -4.0]).sum()))


def test_scores_are_squared_distances_but_for_one_number_a_row() -> None:
    inferred, points, _ = drawn()
    left_out = score(inferred, points) + torch.cdist(inferred, points) ** 2
    assert_close(left_out, (inferred**2).sum(dim=1, keepdim=True).expand(-1, 7))


def test_over_all_actions_the_probabilities_sum_to_one() -> None:
    inferred, points, _ = drawn()
    everyone = torch.arange(7)
    found = [log_likelihood(inferred, points, torch.full((5,), a), everyone) for a in range(7)]
    assert_close(torch.stack(found).exp().sum(dim=0), torch.ones(5))


def test_the_best_score_is_the_nearest_point() -> None:
    inferred, points, _ = drawn()
    everyone = torch.arange(7)
    found = [log_likelihood(inferred, points, torch.full((5,), a), everyone) for a in range(7)]
    nearest = torch.cdist(inferred, points).argmin(dim=1)
    assert torch.equal(torch.stack(found).argmax(dim=0), nearest)


def test_some_candidates_estimate_the_sum_over_all_without_bias() -> None:
    """1 / f - 1 is linear in the others' sum, so its mean over all draws of 3 is exact."""
    inferred, points, actions = drawn()
    exact = log_likelihood(inferred, points, actions, torch.arange(7))
    others = [[b for b in range(7) if b != a] for a in actions.tolist()]
    for row, (action, rest) in enumerate(zip(actions.tolist(), others, strict=True)):
        one = inferred[row : row + 1], points, torch.tensor([action])
        odds = [
            float(log_likelihood(*one, torch.tensor([*chosen, *extra])).neg().exp() - 1)
            for chosen in torch.combinations(torch.tensor(rest), 3).tolist()
            for extra in ([], [action])
        ]
        assert np.mean(odds) == pytest.approx(float(exact[row].neg().exp() - 1), rel=1e-4)


def test_a_lone_action_is_no_surprise_and_gives_finite_gradients() -> None:
    points = torch.zeros((1, 2), requires_grad=True)
    found = log_likelihood(
        torch.ones(3, 2), points, torch.zeros(3, dtype=torch.int64), points.new_zeros(1).long()
    )
    assert_close(found.detach(), torch.zeros(3))
    found.sum().backward()
    assert points.grad is not None and points.grad.isfinite().all()


@pytest.fixture
def moves_log(hand_log: Callable[..., Log]) -> Log:
    """600 single moves from random places."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((600, 2)), draws.integers(5, size=600)
    return hand_log(places, actions, places + 0.2 * MOVES[actions], n_actions=5)


@pytest.mark.parametrize("candidates", [4096, 3])
def test_twins_come_together_and_others_part(moves_log: Log, candidates: int) -> None:
    config = replace(SMALL, candidates=candidates)
    points = fit(moves_log, config=config, features=FeatureConfig(), seed=0).points
    apart = torch.cdist(points, points, p=1.0)
    different = [apart[i, j] for i in range(5) for j in range(i) if (i, j) != (1, 0)]
    assert apart[1, 0] < 0.3 * min(different)


def test_candidates_among_very_many_actions_are_drawn_with_repeats(
    hand_log: Callable[..., Log],
) -> None:
    draws = np.random.default_rng(0)
    places, actions = draws.random((600, 2)), draws.integers(5, size=600)
    log = hand_log(places, actions, places + 0.2 * MOVES[actions], n_actions=FEW_ACTIONS + 1)
    config = replace(SMALL, candidates=FEW_ACTIONS)
    points = fit_inference(log, config=config, features=FeatureConfig(), seed=0).points
    apart = torch.cdist(points[:1], points[1:5])[0]
    assert apart.argmin() == 0 and apart[0] < 0.5 * apart[1:].mean()


def test_the_action_is_told_from_what_it_did(moves_log: Log) -> None:
    """Only the twins are left to guess: half of them, and nothing else, comes out wrong."""
    model = fit_inference(moves_log, config=SMALL, features=FeatureConfig(), seed=0)
    features = ObservationFeatures.of(moves_log.observations, FeatureConfig())
    data = outcomes(moves_log, features)
    told = score(model(data.features, data.changes), model.points).argmax(dim=1)
    assert torch.equal(torch.where(told == 1, 0, told), data.actions.where(data.actions != 1, 0))


def test_every_action_decodes_from_its_own_point(moves_log: Log) -> None:
    made = fit(moves_log, config=SMALL, features=FeatureConfig(), seed=0)
    states = torch.zeros(5, 2)
    found = made.decode(states, made.embed(states, torch.arange(5)))
    assert torch.equal(made.points[found], made.points)
    assert torch.equal(found[2:], torch.arange(2, 5))


def test_rows_without_a_next_state_teach_nothing(hand_log: Callable[..., Log]) -> None:
    """Action 3 is only logged without its outcome: whatever stands there changes no point."""
    draws = np.random.default_rng(0)
    places, known = draws.random((200, 2)), np.arange(200) >= 50
    actions = np.where(known, draws.integers(3, size=200), 3)
    following = places + 0.2 * MOVES[actions]
    made = [
        fit(
            hand_log(places, actions, hidden, n_actions=4, has_next=known),
            config=replace(SMALL, steps=30),
            features=FeatureConfig(),
            seed=0,
        ).points
        for hidden in (following, np.where(known[:, None], following, 9.0))
    ]
    assert torch.equal(made[0], made[1])


def test_a_log_without_a_next_state_is_refused(hand_log: Callable[..., Log]) -> None:
    places = np.random.default_rng(0).random((10, 2))
    log = hand_log(places, np.arange(10) % 4, places, n_actions=4, has_next=np.zeros(10, bool))
    with pytest.raises(ValueError, match="no row of the log has a next observation"):
        fit(log, config=SMALL, features=FeatureConfig(), seed=0)
