"""A value and how far it can be trusted: what a rollout and every estimator return."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval.

    Attributes:
        value: the estimate, in the log's own unit of reward.
        low: lower end of the 95 % interval.
        high: upper end.
        n: the number of independent samples behind it (episodes, seeds).
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def as_dict(self) -> dict[str, float | int]:
        """For JSON."""
        return {"value": self.value, "low": self.low, "high": self.high, "n": self.n}


def mean_estimate(samples: Float[np.ndarray, " n"], *, seed: int) -> Estimate:
    """Mean of independent samples; percentile bootstrap interval (2,000 resamples).

    One sample gives an interval from minus to plus infinity: nothing is known of its spread.

    Raises:
        ValueError: no samples.
    """
    return _bootstrap(samples, np.mean, seed)


def iqm_estimate(samples: Float[np.ndarray, " n"], *, seed: int) -> Estimate:
    """Interquartile mean (Agarwal et al. 2021) of independent samples, with the same interval."""

    def interquartile_mean(x: np.ndarray, axis: int = -1) -> Any:
        return stats.trim_mean(x, 0.25, axis=axis)

    return _bootstrap(samples, interquartile_mean, seed)


def _bootstrap(samples: np.ndarray, statistic, seed: int) -> Estimate:
    samples = np.asarray(samples, np.float64)
    n = len(samples)
    if n == 0:
        raise ValueError("an estimate needs at least one sample, got none")
    value = float(statistic(samples, axis=-1))
    if n == 1:
        return Estimate(value, -np.inf, np.inf, 1)
    if np.ptp(samples) == 0:
        return Estimate(value, value, value, n)
    interval = stats.bootstrap(
        (samples,),
        statistic,
        n_resamples=2000,
        batch=200,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Estimate(value, float(interval.low), float(interval.high), n)
