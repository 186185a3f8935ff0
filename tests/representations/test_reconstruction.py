"""Points from which a decoder tells outcomes: the error by hand, and what is learnt."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.learning import decoding_error
from offline_actrep.representations.outcomes import Outcomes, outcomes
from offline_actrep.representations.reconstruction import (
    Reconstruction,
    ReconstructionConfig,
    fit,
    fit_reconstruction,
    loss,
)

MOVES = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
"""Actions 0 and 1 are the same; 2 is their opposite."""
PAY = np.array([0.0, 0.0, 1.0, -3.0])
SMALL = ReconstructionConfig(hidden=16, steps=200, batch_size=64, learning_rate=1e-2)


@pytest.fixture
def moves_log(hand_log: Callable[..., Log]) -> Log:
    """400 paid moves from random places."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(4, size=400)
    following = places + 0.2 * MOVES[actions]
    return hand_log(places, actions, following, n_actions=4, rewards=PAY[actions])


def data_of(log: Log) -> Outcomes:
    return outcomes(log, ObservationFeatures.of(log.observations, FeatureConfig()))


def unfitted(data: Outcomes) -> Reconstruction:
    with seeded(0):
        n_features, size = data.features.shape[1], data.changes.shape[1]
        return Reconstruction(data.n_actions, n_features, size, SMALL)


def error(model: Reconstruction, data: Outcomes) -> dict[str, float]:
    """Over all rows."""
    parts = loss(model, data, torch.arange(len(data.actions)))
    return {name: float(part.detach()) for name, part in parts.items()}


def constant_error(data: Outcomes) -> dict[str, float]:
    """Of the decoder that always says the mean."""
    change = data.changes[data.has_next]
    return {
        "transition": float(change.var(dim=0, correction=0).sum()),
        "reward": float(data.rewards.var(correction=0)),
    }


def test_outcomes_are_predicted_far_better_than_by_a_constant(moves_log: Log) -> None:
    data = data_of(moves_log)
    found = error(fit_reconstruction(data, config=SMALL, seed=0), data)
    wanted = constant_error(data)
    assert found["reward"] < 0.1 * wanted["reward"]
    assert found["transition"] < 0.1 * wanted["transition"]


def test_twins_come_together_and_others_part(moves_log: Log) -> None:
    points = fit(moves_log, config=SMALL, features=FeatureConfig(), seed=0).points
    apart = torch.cdist(points, points, p=1.0)
    assert apart[0, 1] < 0.3 * min(apart[0, 2], apart[0, 3], apart[2, 3])


def test_rewards_alone_part_actions(hand_log: Callable[..., Log]) -> None:
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(3, size=400)
    pay = np.array([-5.0, -5.0, 5.0])[actions]
    following = places + draws.normal(0, 0.01, places.shape)
    log = hand_log(places, actions, following, n_actions=3, rewards=pay)
    points = fit(log, config=SMALL, features=FeatureConfig(), seed=0).points
    apart = torch.cdist(points, points, p=1.0)
    assert apart[0, 1] < 0.5 * apart[0, 2]


def test_the_error_by_hand(moves_log: Log) -> None:
    data, model = data_of(moves_log), unfitted(data_of(moves_log))
    rows = torch.arange(8)
    parts = decoding_error(model.decoder, data, rows, torch.ones(8, 2))
    mean, _ = model.decoder.transition(data.features[rows], torch.ones(8, 2))
    pay = model.decoder.reward(data.features[rows], torch.ones(8, 2))
    squares = (mean - data.changes[rows]).detach().numpy() ** 2
    assert float(parts["transition"].detach()) == pytest.approx(squares.sum() / 8, rel=1e-5)
    wanted = ((pay - data.rewards[rows]).detach().numpy() ** 2).mean()
    assert float(parts["reward"].detach()) == pytest.approx(wanted, rel=1e-5)


def test_both_parts_move_points_and_their_own_half_of_the_decoder(moves_log: Log) -> None:
    data = data_of(moves_log)
    for part, other in (("transition", "reward"), ("reward", "transition")):
        model = unfitted(data)
        loss(model, data, torch.arange(32))[part].backward()
        assert model.points.grad is not None and model.points.grad.abs().sum() > 0
        own = list(getattr(model.decoder, part).parameters())
        assert all(weight.grad is not None for weight in own)
        foreign = list(getattr(model.decoder, other).parameters())
        assert all(weight.grad is None for weight in foreign)


def test_rows_without_a_next_state_teach_rewards_alone(hand_log: Callable[..., Log]) -> None:
    draws = np.random.default_rng(0)
    places, known = draws.random((64, 2)), np.arange(64) >= 32
    log = hand_log(places, np.arange(64) % 4, places + 1.0, n_actions=4, has_next=known)
    data = data_of(log)
    parts = loss(unfitted(data), data, torch.arange(32))
    assert float(parts["transition"].detach()) == 0.0
    assert float(parts["reward"].detach()) > 0.0
