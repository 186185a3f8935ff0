"""Means and interquartile means with intervals that hold what they promise."""

import numpy as np
import pytest

from offline_actrep.core.estimate import Estimate, iqm_estimate, mean_estimate


def test_the_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    trials = [mean_estimate(generator.normal(3, 2, 50), seed=k) for k in range(150)]
    covered = np.mean([trial.low <= 3 <= trial.high for trial in trials])
    assert 0.88 <= covered <= 0.99


def test_the_interval_is_as_wide_as_the_normal_one() -> None:
    samples = np.random.default_rng(1).normal(0, 1, 400)
    estimate = mean_estimate(samples, seed=0)
    assert estimate.value == pytest.approx(samples.mean())
    assert estimate.n == 400
    reach = 1.96 * samples.std() / 20
    assert estimate.low == pytest.approx(samples.mean() - reach, abs=0.15 * reach)
    assert estimate.high == pytest.approx(samples.mean() + reach, abs=0.15 * reach)


def test_iqm_is_the_mean_of_the_middle_half() -> None:
    samples = np.array([1000.0, 0, 1, 2, 4, 6, 7, -500])
    estimate = iqm_estimate(samples, seed=0)
    assert estimate.value == (1 + 2 + 4 + 6) / 4
    assert estimate.low < estimate.value < estimate.high


def test_one_sample_tells_nothing_of_its_spread() -> None:
    assert mean_estimate(np.array([2.5]), seed=0) == Estimate(2.5, -np.inf, np.inf, 1)
    assert iqm_estimate(np.array([2.5]), seed=0) == Estimate(2.5, -np.inf, np.inf, 1)


def test_equal_samples_have_no_spread() -> None:
    assert mean_estimate(np.full(7, -4.0), seed=0) == Estimate(-4.0, -4.0, -4.0, 7)


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample, got none"):
        mean_estimate(np.zeros(0), seed=0)


def test_the_seed_alone_decides_the_resamples() -> None:
    samples = np.random.default_rng(2).exponential(size=20)
    assert mean_estimate(samples, seed=3) == mean_estimate(samples, seed=3)
    assert mean_estimate(samples, seed=3) != mean_estimate(samples, seed=4)


def test_it_can_be_read_and_stored() -> None:
    estimate = Estimate(1.23456, 0.5, 2.0, 9)
    assert str(estimate) == "1.235 [0.5, 2]"
    assert estimate.as_dict() == {"value": 1.23456, "low": 0.5, "high": 2.0, "n": 9}
