"""The one door to rliable: interquartile means, performance profiles, probability of improvement.

Agarwal et al. (2021): few seeds, so intervals instead of points; the interquartile mean instead of
the mean, which one lucky seed moves; the bootstrap draws seeds anew within each task (stratified).
Scores are `[R, T]`: R seeds of T tasks (logs), normalised where tasks are taken together.

rliable 1.2.0 takes a random state and then draws from numpy's global generator; it is seeded here
and put back.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float64
from rliable import library

from offline_actrep.core.estimate import Estimate
from offline_actrep.nets.seeding import seeded

RESAMPLES = 2000

Scores = Float64[np.ndarray, "R T"]
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Profile:
    """Share of runs (seeds of all tasks) that earn more than each threshold, with 95 % bounds."""

    thresholds: Float64[np.ndarray, " K"]
    share: Float64[np.ndarray, " K"]
    low: Float64[np.ndarray, " K"]
    high: Float64[np.ndarray, " K"]


def iqms(scores: Mapping[Name, np.ndarray], *, seed: int = 0) -> dict[Name, Estimate]:
    """Interquartile mean over all runs of each; one seed has an interval without ends.

    Each has the same draws, whatever else is there, so that a method more moves no other's ends.
    """
    return {name: _interval([matrix], _middle, seed) for name, matrix in scores.items()}


def improvements(
    pairs: Mapping[Name, tuple[np.ndarray, np.ndarray]], *, seed: int = 0
) -> dict[Name, Estimate]:
    """Probability that a run of the first beats one of the second, a mean over tasks; ties half."""
    return {name: _interval(list(pair), _beats, seed) for name, pair in pairs.items()}


def decline(scores: Scores, places: Float64[np.ndarray, " T"], *, seed: int = 0) -> Estimate:
    """What the mean over seeds loses a unit of the place, by least squares."""
    return _interval([scores], lambda x: _losses(x, places), seed)


def decline_gap(
    falling: Scores,
    steady: Float64[np.ndarray, "Q T"],
    places: Float64[np.ndarray, " T"],
    *,
    seed: int = 0,
) -> Estimate:
    """How much more the first loses than the second, a unit of the place."""
    return _interval([falling, steady], lambda x, y: _losses(x, places) - _losses(y, places), seed)


def profiles(
    scores: Mapping[str, np.ndarray], thresholds: Float64[np.ndarray, " K"], *, seed: int = 0
) -> dict[str, Profile]:
    """A profile a method."""
    with seeded(seed):
        shares, bounds = library.create_performance_profile(
            dict(scores), thresholds, custom_profile_func=_shares, reps=RESAMPLES
        )
    return {
        name: Profile(thresholds, shares[name], bounds[name][0], bounds[name][1]) for name in scores
    }


def _shares(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """rliable's `score_distributions`, all thresholds at once."""
    ranked = np.sort(scores, axis=None)
    return 1.0 - np.searchsorted(ranked, thresholds, side="right") / ranked.size


def _middle(scores: Scores) -> Float64[np.ndarray, " 1"]:
    """rliable's `aggregate_iqm`, without what scipy's `trim_mean` costs 2,000 times."""
    ranked, cut = np.sort(scores, axis=None), scores.size // 4
    return np.array([ranked[cut : ranked.size - cut].mean()])


def _beats(better: Scores, worse: Float64[np.ndarray, "Q T"]) -> Float64[np.ndarray, " 1"]:
    """rliable's `probability_of_improvement`."""
    gap = better[:, None] - worse[None]
    return np.array([((gap > 0) + 0.5 * (gap == 0)).mean()])


def _losses(scores: np.ndarray, places: np.ndarray) -> Float64[np.ndarray, " 1"]:
    centred = places - places.mean()
    return np.array([-(centred @ scores.mean(axis=0)) / (centred @ centred)])


def _interval(
    scores: list[np.ndarray], statistic: Callable[..., np.ndarray], seed: int
) -> Estimate:
    """The statistic of one matrix or two, with 95 % stratified bootstrap bounds."""
    value, runs = float(statistic(*scores)[0]), min(map(len, scores))
    if runs == 1:
        return Estimate(value, -np.inf, np.inf, 1)
    given: Any = scores if len(scores) > 1 else scores[0]
    with seeded(seed):
        _, bounds = library.get_interval_estimates({"one": given}, statistic, reps=RESAMPLES)
    low, high = np.asarray(bounds["one"], np.float64)[:, 0]
    return Estimate(value, float(low), float(high), runs)
