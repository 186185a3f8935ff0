"""Propensities from a log alone: right where the truth is known, honest where it is not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.ope.propensities import PropensityConfig, estimate_propensities

QUICK = PropensityConfig(hidden=(16,), steps=400, batch_size=128)


def softmax_log(n: int, *, seed: int, allowed: bool = False) -> tuple[Log, np.ndarray]:
    """One-step episodes whose actions were drawn from a known softmax; and its probabilities."""
    draws = np.random.default_rng(seed)
    observations = draws.normal(size=(n, 2)).astype(np.float32)
    weights = np.array([[2.0, -2.0, 0.0, 0.5], [0.0, 1.0, -1.0, 0.0]])
    logits = observations @ weights
    sets = None
    if allowed:
        mask = np.ones((n, 4), bool)
        mask[np.arange(n), np.arange(n) % 3] = False
        logits[~mask] = -np.inf
        sets = AllowedActions.of_mask(mask)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    actions = np.array([draws.choice(4, p=row) for row in p], np.int64)
    rows = np.arange(n)
    log = Log(
        action_set=ActionSet(np.arange(4)),
        observations=observations,
        actions=actions,
        rewards=np.zeros(n, np.float32),
        terminated=np.ones(n, bool),
        truncated=np.zeros(n, bool),
        next_observations=observations,
        has_next=np.zeros(n, bool),
        episode_offsets=np.arange(n + 1),
        episode_ids=rows,
        action_probabilities=p[rows, actions],
        allowed=sets,
    )
    return log, p


@pytest.mark.parametrize("allowed", [False, True])
def test_a_known_policy_is_found_again(allowed: bool) -> None:
    log, _ = softmax_log(6000, seed=0, allowed=allowed)
    made = estimate_propensities(log, seed=0, config=QUICK)
    true = log.action_probabilities
    assert true is not None and made.agreement is not None
    assert made.agreement.rank_correlation > 0.97
    assert made.agreement.median_ratio == pytest.approx(1.0, abs=0.05)
    assert made.agreement.mean_weight == pytest.approx(1.0, abs=0.08)
    assert made.calibration_error < 0.05
    entropy = float(-np.log(true).mean())
    assert entropy - 0.01 < made.log_loss < entropy + 0.03
    assert made.log_loss < made.log_loss_frequency - 0.1


def test_an_overfitted_model_is_cooled_down() -> None:
    log, _ = softmax_log(300, seed=1)
    wild = PropensityConfig(hidden=(128,), steps=1500, batch_size=64, learning_rate=1e-2)
    made = estimate_propensities(log, seed=0, config=wild)
    assert all(t > 1.0 for t in made.temperatures)
    assert made.log_loss < made.log_loss_uncalibrated - 0.1


def test_where_the_state_says_nothing_the_frequencies_remain() -> None:
    log, _ = softmax_log(1500, seed=7)
    draws = np.random.default_rng(1)
    often = draws.choice(4, len(log), p=[0.7, 0.2, 0.09, 0.01])
    blind = replace(log, actions=often, action_probabilities=None)
    greedy = PropensityConfig(hidden=(64,), steps=800, batch_size=64, learning_rate=1e-2)
    made = estimate_propensities(blind, seed=0, config=greedy)
    assert made.log_loss < made.log_loss_frequency + 0.02
    assert made.log_loss < made.log_loss_uncalibrated
    assert made.probabilities.min() > 0.003, "no weight of thousands"


def test_probabilities_of_the_curve_are_where_they_should_be() -> None:
    log, p = softmax_log(3000, seed=2)
    made = estimate_propensities(log, seed=0, config=QUICK)
    assert sum(each.pairs for each in made.curve) == p.size
    for each in made.curve:
        assert each.low <= each.observed <= each.high
    expected = sum(each.predicted * each.pairs for each in made.curve)
    assert expected == pytest.approx(len(log), rel=1e-6)
    assert made.probabilities.min() > 0 and made.probabilities.max() <= 1


def test_no_row_is_judged_by_a_model_that_saw_it() -> None:
    """Labels drawn without regard to the state: memory would show as a likelihood above chance."""
    log, _ = softmax_log(400, seed=3)
    actions = np.random.default_rng(0).integers(4, size=len(log))
    blind = replace(log, actions=actions, action_probabilities=None)
    greedy = PropensityConfig(hidden=(64,), steps=800, batch_size=64, learning_rate=1e-2)
    made = estimate_propensities(blind, seed=0, config=greedy)
    assert made.log_loss > np.log(4) - 0.02
    assert made.agreement is None


def test_same_seed_same_bits_and_the_log_takes_them() -> None:
    log, _ = softmax_log(300, seed=4)
    short = replace(QUICK, steps=20)
    one = estimate_propensities(log, seed=5, config=short)
    two = estimate_propensities(log, seed=5, config=short, features=FeatureConfig())
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    np.testing.assert_array_equal(one.on(log).action_probabilities, one.probabilities)


def test_what_is_not_allowed_gets_nothing() -> None:
    log, _ = softmax_log(300, seed=6, allowed=True)
    single = np.arange(len(log))
    only = AllowedActions(np.arange(len(log) + 1), log.actions[single])
    made = estimate_propensities(replace(log, allowed=only), seed=0, config=replace(QUICK, steps=5))
    np.testing.assert_allclose(made.probabilities, 1.0)


def test_the_frequencies_are_judged_on_rows_that_they_were_not_counted_on() -> None:
    """12 episodes with an action each: of the 7 that a fold counts none is the one held out, whose
    smoothed share is 0.5 / (7 + 0.5 * 12)."""
    log, _ = softmax_log(12, seed=8)
    each = replace(
        log, action_set=ActionSet(np.arange(12)), actions=np.arange(12), action_probabilities=None
    )
    made = estimate_propensities(each, seed=0, config=replace(QUICK, steps=2))
    assert made.log_loss_frequency == pytest.approx(-np.log(0.5 / 13), rel=1e-6)


def test_the_frequencies_keep_to_what_is_allowed() -> None:
    """Of one allowed action each row leaves no doubt."""
    log, _ = softmax_log(60, seed=6)
    only = AllowedActions(np.arange(len(log) + 1), log.actions)
    made = estimate_propensities(replace(log, allowed=only), seed=0, config=replace(QUICK, steps=2))
    assert made.log_loss_frequency == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("hidden", (0,)), ("steps", -1), ("batch_size", 0), ("learning_rate", 0.0), ("folds", 1),
        ("calibration_share", 1.0), ("calibration_share", -0.1),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(setting: str, value: Any) -> None:
    given = value[0] if isinstance(value, tuple) else value
    with pytest.raises(ValueError, match=rf"(?s){setting}.*Input should be.*input_value={given}"):
        PropensityConfig(**{setting: value})


def test_something_is_left_to_learn_from() -> None:
    """Nine tenths of 4 episodes, rounded, are all of them."""
    log, _ = softmax_log(6, seed=0)
    made = estimate_propensities(
        log, seed=0, config=PropensityConfig(hidden=(4,), steps=2, calibration_share=0.9)
    )
    assert np.isfinite(made.log_loss)


def test_too_few_episodes_are_refused() -> None:
    log, _ = softmax_log(5, seed=0)
    with pytest.raises(ValueError, match="the log has 5 episodes"):
        estimate_propensities(log, seed=0, config=QUICK)
