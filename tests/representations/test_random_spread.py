"""Random points that keep a distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from offline_actrep.core.log import Log
from offline_actrep.representations.catalog import fit
from offline_actrep.representations.point_table import PointTable
from offline_actrep.representations.random_spread import roomy_distance, spread_points


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_two_points_are_further_apart_than_asked(n: int, dim: int, seed: int) -> None:
    distance = roomy_distance(n, dim)
    points = spread_points(n, dim, distance, seed=seed)
    assert points.shape == (n, dim) and points.abs().max() <= 1.0
    assert n == 1 or pdist(points.double().numpy(), "cityblock").min() > distance


@pytest.mark.parametrize(("n", "dim", "wanted"), [(1, 1, 0.5), (4, 2, 0.5), (3, 3, 1.0)])
def test_the_roomy_distance_by_hand(n: int, dim: int, wanted: float) -> None:
    """(E! / (2 A))^(1 / E): 1/2; (2/8)^(1/2); (6/6)^(1/3)."""
    assert roomy_distance(n, dim) == pytest.approx(wanted)


def test_at_the_roomy_distance_the_points_take_at_most_half_of_the_cube() -> None:
    points = spread_points(300, 2, roomy_distance(300, 2), seed=0)
    anywhere = np.random.default_rng(1).uniform(-1.0, 1.0, (4000, 2))
    gap = np.abs(anywhere[:, None] - points[None].numpy()).sum(axis=2).min(axis=1)
    taken = (gap <= roomy_distance(300, 2)).mean()
    assert 0.3 < taken < 0.53


def test_the_points_fill_the_cube_evenly() -> None:
    points = spread_points(4000, 2, roomy_distance(4000, 2), seed=0)
    counts, _ = np.histogramdd(points.numpy(), bins=4, range=[(-1, 1), (-1, 1)])
    assert counts.min() > 200 and counts.max() < 300


def test_room_keeps_apart_what_mere_chance_throws_together() -> None:
    chance = np.random.default_rng(0).uniform(-1.0, 1.0, (1000, 2))
    spread = spread_points(1000, 2, roomy_distance(1000, 2), seed=0)
    assert pdist(spread, "cityblock").min() > 10 * pdist(chance, "cityblock").min()


def test_a_distance_that_leaves_no_room_is_refused_with_one_that_does() -> None:
    with pytest.raises(ValueError, match=r"20 points in 1 dimensions do not fit .* \(0.025 leaves"):
        spread_points(20, 1, 0.2, seed=0)


def test_the_distance_is_a_setting(maze_log: Log) -> None:
    made = fit("random_spread", maze_log, seed=0, dim=2, distance=0.4)
    assert isinstance(made, PointTable)
    assert pdist(made.points.numpy(), "cityblock").min() > 0.4
    assert made.config()["settings"] == {"dim": 2, "distance": 0.4}
