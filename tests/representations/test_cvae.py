"""The autoencoder of outcomes: its divergence by axioms and by hand, and what it learns."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.cvae import (
    Autoencoder,
    Cvae,
    CvaeConfig,
    divergence,
    fit,
    loss,
)
from offline_actrep.representations.outcomes import Outcomes, outcomes

MOVES = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
"""Actions 0 and 1 are the same; 2 is their opposite."""
SMALL = CvaeConfig(hidden=16, embedding=4, steps=200, batch_size=64, learning_rate=1e-2)
number = st.floats(-3, 3, width=32)


@given(st.lists(st.tuples(number, number), min_size=1, max_size=4))
@settings(deadline=None)
def test_the_divergence_is_that_of_the_two_distributions(
    entries: list[tuple[float, float]],
) -> None:
    mean, log_std = torch.tensor(entries).T[:, None]
    one = Independent(Normal(mean, log_std.exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    assert_close(divergence(mean, log_std), kl_divergence(one, prior), atol=1e-4, rtol=1e-4)


def test_the_divergence_by_hand() -> None:
    """Mean 3, deviation 1: 9 / 2. Deviation e around 0: (e^2 - 3) / 2."""
    found = divergence(torch.tensor([[3.0], [0.0]]), torch.tensor([[0.0], [1.0]]))
    assert found.tolist() == pytest.approx([4.5, (np.e**2 - 3) / 2])


@pytest.fixture
def moves_log(hand_log: Callable[..., Log]) -> Log:
    """400 single moves from random places."""
    draws = np.random.default_rng(0)
    places, actions = draws.random((400, 2)), draws.integers(4, size=400)
    return hand_log(places, actions, places + 0.2 * MOVES[actions], n_actions=4)


def unfitted(log: Log) -> tuple[Autoencoder, Outcomes]:
    """A model as it is before the first step, and its data."""
    features = ObservationFeatures.of(log.observations, FeatureConfig())
    data = outcomes(log, features)
    with seeded(0):
        encoder = Cvae(log.action_set, features, log.observation_size, SMALL).encoder
        return Autoencoder(encoder, data, SMALL), data


def test_the_decoder_sees_the_mean_and_its_noise(moves_log: Log) -> None:
    model, data = unfitted(moves_log)
    rows, noise = torch.arange(8), torch.randn((8, 2), generator=torch.Generator().manual_seed(0))
    parts = loss(model, data, rows, noise, beta=0.5)
    features, actions = data.features[rows], data.actions[rows]
    mean, log_std = model.mean(features, actions), model.log_std(features, actions)
    change, pay = model.decoder(features, mean + log_std.exp() * noise)
    wanted = {
        "transition": ((change - data.changes[rows]) ** 2).sum(dim=1).mean(),
        "reward": ((pay - data.rewards[rows]) ** 2).mean(),
        "divergence": 0.5 * divergence(mean, log_std).mean(),
    }
    assert_close(parts, wanted)


@pytest.mark.parametrize("beta", [0.0, 1e-3])
def test_twins_come_together_and_opposites_part(moves_log: Log, beta: float) -> None:
    model = fit(moves_log, config=replace(SMALL, beta=beta), features=FeatureConfig(), seed=0)
    table = model.table(torch.from_numpy(moves_log.observations[:50]))
    apart = [(table[:, 0] - table[:, k]).abs().sum(dim=1).mean() for k in (1, 2, 3)]
    assert apart[0] < 0.3 * min(apart[1:])


def test_an_actions_point_decodes_to_it_or_to_its_twin(moves_log: Log) -> None:
    model = fit(moves_log, config=SMALL, features=FeatureConfig(), seed=0)
    states = torch.from_numpy(moves_log.observations[:50])
    for action, wanted in ((0, {0, 1}), (1, {0, 1}), (2, {2}), (3, {3})):
        points = model.embed(states, torch.full((50,), action))
        assert set(model.decode(states, points).tolist()) <= wanted


def test_points_depend_on_the_state_where_outcomes_do(hand_log: Callable[..., Log]) -> None:
    """Left of the middle action 1 does what 2 does, right of it what 0 does."""
    draws = np.random.default_rng(0)
    places, actions = draws.uniform(-1, 1, (600, 2)), draws.integers(3, size=600)
    acting_as = np.where(actions == 1, np.where(places[:, 0] < 0, 2, 0), actions)
    following = places + 0.5 * np.array([-1.0, 0.0, 1.0])[acting_as][:, None]
    log = hand_log(places, actions, following, n_actions=3)
    model = fit(log, config=SMALL, features=FeatureConfig(), seed=0)
    table = model.table(torch.tensor([[-0.7, 0.0], [0.7, 0.0]]))
    to_first, to_last = ((table[:, 1] - table[:, k]).abs().sum(dim=1) for k in (0, 2))
    assert to_last[0] < 0.5 * to_first[0]
    assert to_first[1] < 0.5 * to_last[1]


def test_the_prior_alone_leaves_nothing_to_tell_apart(moves_log: Log) -> None:
    """At a great weight the means fall together, so that the decoder must say the mean."""
    tidy, free = (
        spread_of_raw_points(moves_log, replace(SMALL, beta=beta)) for beta in (100.0, 1e-3)
    )
    assert tidy < 0.05 * free


def spread_of_raw_points(log: Log, config: CvaeConfig) -> float:
    model = fit(log, config=config, features=FeatureConfig(), seed=0)
    table = model.table(torch.from_numpy(log.observations[:50]))
    return float(model.frame.to_metric(table).std(dim=1).mean())


def test_a_log_without_a_next_state_is_refused(hand_log: Callable[..., Log]) -> None:
    places = np.random.default_rng(0).random((10, 2))
    log = hand_log(places, np.arange(10) % 4, places, n_actions=4, has_next=np.zeros(10, bool))
    with pytest.raises(ValueError, match="no row of the log has a next observation"):
        fit(log, config=SMALL, features=FeatureConfig(), seed=0)
