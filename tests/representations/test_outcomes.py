"""Outcomes in the units of learning, and the model of who wrote the log."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.outcomes import (
    FEW_ACTIONS,
    BehaviourModel,
    Draws,
    Outcomes,
    Support,
    fit_behaviour,
    largest_logits,
    near_largest_logits,
    outcomes,
    relative_probability,
    relative_probability_of,
)

Make = Callable[..., Log]


def in_units(log: Log) -> Outcomes:
    return outcomes(log, ObservationFeatures.of(log.observations, FeatureConfig()))


@pytest.fixture
def flagged(hand_log: Make) -> Log:
    """A position that moves, a rare flag, a column that never moves; half the next states known."""
    draws = np.random.default_rng(0)
    here = np.column_stack(
        [draws.normal(3, 2, 200), draws.random(200) < 0.05, np.arange(200) + 0.5]
    )
    move = np.column_stack([draws.normal(1.0, 0.02, 200), (here[:, 1] == 0) & (here[:, 0] > 6)])
    known = np.arange(200) % 2 == 0
    following = here + known[:, None] * np.column_stack([move, np.zeros(200)])
    rewards = draws.uniform(-7, 3, 200)
    rewards[17] = -8.0
    actions = draws.integers(4, size=200)
    return hand_log(here, actions, following, n_actions=4, rewards=rewards, has_next=known)


def test_rewards_are_in_units_of_the_largest(flagged: Log) -> None:
    data = in_units(flagged)
    assert data.reward_scale == 8.0
    assert float(data.rewards.abs().max()) == 1.0
    np.testing.assert_allclose(data.rewards.numpy() * 8, flagged.rewards, rtol=1e-6)


def test_rewards_that_are_all_zero_keep_their_unit(hand_log: Make) -> None:
    here = np.random.default_rng(0).random((5, 2))
    data = in_units(hand_log(here, np.zeros(5), here, n_actions=2))
    assert data.reward_scale == 1.0
    assert not data.rewards.any()


def test_known_changes_are_whitened_and_unknown_ones_are_zero(flagged: Log) -> None:
    data = in_units(flagged)
    known = data.changes[data.has_next]
    assert float(known[:, 0].std(correction=0)) == pytest.approx(1.0, abs=1e-4)
    assert not data.changes[~data.has_next].any()
    moved = known.numpy() * data.change_scale + data.change_shift
    change = (flagged.next_observations - flagged.observations)[flagged.has_next]
    np.testing.assert_allclose(moved, change, atol=1e-6)


def test_a_column_that_moves_on_by_more_than_it_varies_loses_its_mean(flagged: Log) -> None:
    data = in_units(flagged)
    assert data.change_shift[0] == pytest.approx(1.0, abs=0.01)
    assert data.changes[data.has_next][:, 0].mean() == pytest.approx(0.0, abs=1e-4)
    assert not data.change_shift[1:].any(), "a flag, and a column that never moves"


@pytest.mark.parametrize(("step", "shift"), [(1000.0, 1000.0), (0.5, 0.0)])
def test_a_steady_clock(step: float, shift: float, hand_log: Make) -> None:
    here = np.column_stack([np.arange(8) * step, np.random.default_rng(0).random(8)])
    following = here + np.array([step, 0.0])
    data = in_units(hand_log(here, np.zeros(8), following, n_actions=2))
    assert data.change_shift.tolist() == [shift, 0.0]
    assert data.changes[:, 0].tolist() == pytest.approx([step - shift] * 8)


def test_flags_and_constant_columns_keep_their_unit(flagged: Log) -> None:
    data = in_units(flagged)
    assert data.change_scale[1] == data.change_scale[2] == 1.0
    assert set(data.changes[:, 1].tolist()) == {0.0, 1.0}


def test_a_log_without_a_next_state_is_refused(hand_log: Make) -> None:
    here = np.random.default_rng(0).random((5, 2))
    log = hand_log(here, np.zeros(5), here, n_actions=2, has_next=np.zeros(5, bool))
    with pytest.raises(ValueError, match="give the log a next_observation column"):
        in_units(log)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.8])
def test_support_is_the_share_of_the_largest_probability(threshold: float) -> None:
    generator = torch.Generator().manual_seed(0)
    model = BehaviourModel(3, 12, 8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    features = torch.randn((40, 3), generator=generator)
    probability = torch.softmax(model(features), dim=1)
    brute = probability / probability.max(dim=1, keepdim=True).values <= threshold
    support = Support(model, features, torch.arange(40) % 12, threshold)
    rows, actions = torch.arange(40).repeat_interleave(12), torch.arange(12).repeat(40)
    assert torch.equal(support.lacks(rows, actions), brute.flatten())
    assert 0 < brute.float().mean() < 1


def wild_behaviour(n_actions: int, n: int) -> tuple[BehaviourModel, torch.Tensor, torch.Tensor]:
    """G that depends on the state, not fitted to anything; states, and the actions it chose."""
    with seeded(0):
        model = BehaviourModel(3, n_actions, 16).requires_grad_(False)
        model.head.weight.normal_(std=0.8)
        model.head.bias.normal_(std=1.5)
        features = torch.randn(n, 3)
        actions = torch.multinomial(torch.softmax(model(features), dim=1), 1)[:, 0]
    return model, features, actions


def test_the_largest_logit_is_bounded_closely_with_4096_actions() -> None:
    """As exact as it is cheap: hardly any answer about support changes."""
    model, features, actions = wild_behaviour(4096, 3000)
    hidden = model.body(features)
    exact = largest_logits(model.head, hidden)
    near = near_largest_logits(model.head, hidden, actions)
    assert torch.equal(exact, model(features).amax(dim=1))
    assert (near <= exact + 1e-5).all()
    assert (near >= exact - 1e-5).float().mean() > 0.99
    assert len(actions.unique()) > 200  # or one action would do for all rows
    others = torch.randint(4096, (3000,), generator=torch.Generator().manual_seed(1))
    for asked in (others, actions):
        own = model(features).gather(1, asked[:, None])[:, 0]
        same = ((own - exact).exp() <= 0.3) == ((own - near).exp() <= 0.3)
        assert same.float().mean() > 0.998


def test_support_among_many_actions_is_the_share_of_the_largest_too() -> None:
    model, features, actions = wild_behaviour(FEW_ACTIONS + 1, 300)
    support = Support(model, features, actions, 0.3)
    rows = torch.arange(300)
    brute = relative_probability(model(features)).gather(1, actions[:, None])[:, 0] <= 0.3
    assert (support.lacks(rows, actions) == brute).float().mean() > 0.99
    assert support.lacks(rows, (actions + 1) % FEW_ACTIONS).float().mean() > 0.9


@pytest.mark.parametrize("n_actions", [50, FEW_ACTIONS + 1])
def test_one_actions_share_is_that_of_all_looked_up(n_actions: int) -> None:
    model, features, actions = wild_behaviour(n_actions, 20)
    twice, others = features.repeat(2, 1), torch.cat([actions, actions.roll(3)])
    wanted = relative_probability(model(twice)).gather(1, others[:, None])[:, 0]
    torch.testing.assert_close(relative_probability_of(model, twice, others), wanted)


@pytest.fixture
def skewed(hand_log: Make) -> Log:
    """Left of the middle always action 2, right of it always 5; six others never."""
    here = np.random.default_rng(0).uniform(-1, 1, (300, 1))
    return hand_log(here, np.where(here[:, 0] < 0, 2, 5), here + 0.1, n_actions=8)


def behaviour_of(data: Outcomes, steps: int) -> BehaviourModel:
    return fit_behaviour(data, hidden=16, steps=steps, batch_size=64, learning_rate=0.02, seed=0)


def cross_entropy(model: BehaviourModel, data: Outcomes) -> float:
    return float(torch.nn.functional.cross_entropy(model(data.features), data.actions))


def test_before_the_first_step_the_behaviour_is_near_the_frequencies(skewed: Log) -> None:
    data = in_units(skewed)
    model = behaviour_of(data, 0)
    assert cross_entropy(model, data) < 0.6 * np.log(8)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_behaviour_learns_what_depends_on_the_state(skewed: Log) -> None:
    """The frequencies alone cost log 2 = 0.69 nats; uniform guessing log 8 = 2.08."""
    data = in_units(skewed)
    assert cross_entropy(behaviour_of(data, 150), data) < 0.2


def test_the_behaviour_fits_the_same_bits_from_the_same_generators(skewed: Log) -> None:
    data = in_units(skewed)
    fits = []
    for _ in range(2):
        torch.manual_seed(3)
        fits.append(behaviour_of(data, 5)(data.features))
    assert torch.equal(*fits)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_behaviour_is_learnt_from_drawn_actions_as_well(skewed: Log, sparse: bool) -> None:
    data = in_units(skewed)
    drawn = fit_behaviour(
        data,
        hidden=16,
        steps=150,
        batch_size=64,
        learning_rate=0.02,
        seed=0,
        draws=Draws("frequency", 4),
        sparse=sparse,
    )
    assert cross_entropy(drawn, data) < 0.25
