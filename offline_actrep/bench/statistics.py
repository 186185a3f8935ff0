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
from scipy import stats

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

    Matrices of one shape are resampled together, each entry on its own all the same.
    """
    return _together({name: (matrix,) for name, matrix in scores.items()}, _middles, seed)


def improvements(
    pairs: Mapping[Name, tuple[np.ndarray, np.ndarray]], *, seed: int = 0
) -> dict[Name, Estimate]:
    """Probability that a run of the first beats one of the second, a mean over tasks; ties half."""
    return _together(pairs, _beats, seed)


def decline(scores: Scores, places: Float64[np.ndarray, " T"], *, seed: int = 0) -> Estimate:
    """What the mean over seeds loses a unit of the place, by least squares."""
    value = float(_losses(scores, places)[0])
    if len(scores) == 1:
        return Estimate(value, -np.inf, np.inf, 1)
    return _interval(scores, lambda x: _losses(x, places), value, seed)


def decline_gap(
    falling: Scores,
    steady: Float64[np.ndarray, "Q T"],
    places: Float64[np.ndarray, " T"],
    *,
    seed: int = 0,
) -> Estimate:
    """How much more the first loses than the second, a unit of the place."""

    def gap(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _losses(x, places) - _losses(y, places)

    value = float(gap(falling, steady)[0])
    if min(len(falling), len(steady)) == 1:
        return Estimate(value, -np.inf, np.inf, 1)
    return _interval([falling, steady], gap, value, seed)


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


def _middles(scores: Float64[np.ndarray, "R M T"]) -> Float64[np.ndarray, " M"]:
    """rliable's `aggregate_iqm` of M matrices at once."""
    runs = np.moveaxis(scores, 1, 0).reshape(scores.shape[1], -1)
    return stats.trim_mean(runs, 0.25, axis=1)


def _beats(
    better: Float64[np.ndarray, "R M T"], worse: Float64[np.ndarray, "Q M T"]
) -> Float64[np.ndarray, " M"]:
    """rliable's `probability_of_improvement` of M pairs at once."""
    gap = better[:, None] - worse[None]
    return ((gap > 0) + 0.5 * (gap == 0)).mean(axis=(0, 1, 3))


def _losses(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    centred = places - places.mean()
    return np.array([-(centred @ scores.mean(axis=0)) / (centred @ centred)])


def _together(
    parts: Mapping[Name, tuple[np.ndarray, ...]],
    statistic: Callable[..., np.ndarray],
    seed: int,
) -> dict[Name, Estimate]:
    """The statistic of each, those of one shape in one bootstrap."""
    alike: dict[tuple[tuple[int, ...], ...], list[Name]] = {}
    for name, matrices in parts.items():
        alike.setdefault(tuple(matrix.shape for matrix in matrices), []).append(name)
    found: dict[Name, Estimate] = {}
    for shapes, names in alike.items():
        stacked = [np.stack([parts[name][k] for name in names], axis=1) for k in range(len(shapes))]
        values, runs = statistic(*stacked), min(shape[0] for shape in shapes)
        ends = np.full((2, len(names)), np.inf) * [[-1.0], [1.0]]
        if runs > 1:
            with seeded(seed):
                given: Any = stacked if len(stacked) > 1 else stacked[0]
                _, bounds = library.get_interval_estimates(
                    {"all": given}, statistic, reps=RESAMPLES
                )
            ends = np.asarray(bounds["all"], np.float64)
        for k, name in enumerate(names):
            low, high = float(ends[0, k]), float(ends[1, k])
            found[name] = Estimate(float(values[k]), low, high, runs)
    return {name: found[name] for name in parts}


def _interval(
    scores: Any, statistic: Callable[..., np.ndarray], value: float, seed: int
) -> Estimate:
    with seeded(seed):
        _, bounds = library.get_interval_estimates({"one": scores}, statistic, reps=RESAMPLES)
    low, high = np.asarray(bounds["one"], np.float64)[:, 0]
    first = scores[0] if isinstance(scores, list) else scores
    return Estimate(value, float(low), float(high), len(first))
