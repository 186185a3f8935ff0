"""Distances of Gaussians: axioms, and numbers by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Normal

from offline_actrep.nets.gaussian import negative_log_likelihood, soft_clip, w2
from offline_actrep.nets.seeding import seeded

MEANS = st.lists(st.floats(-10, 10), min_size=3, max_size=3)
STDS = st.lists(st.floats(0.01, 5), min_size=3, max_size=3)
GAUSSIANS = st.tuples(MEANS, STDS)
Gaussian = tuple[list[float], list[float]]


def distance(one: Gaussian, other: Gaussian) -> float:
    rows = [torch.tensor([row], dtype=torch.float64) for row in (*one, *other)]
    return w2(*rows).item()


def test_w2_by_hand() -> None:
    assert distance(([0, 0, 0], [1, 1, 1]), ([3, 0, 4], [1, 1, 1])) == 5.0
    assert distance(([1, 1, 1], [1, 2, 3]), ([1, 1, 1], [2, 4, 5])) == 3.0
    assert distance(([0, 0, 0], [1, 1, 1]), ([1, 2, 0], [3, 5, 1])) == 5.0


def test_w2_takes_each_row_for_itself() -> None:
    mean, std = torch.tensor([[0.0], [0.0]]), torch.ones(2, 1)
    other = torch.tensor([[2.0], [7.0]])
    assert w2(mean, std, other, std).tolist() == [2.0, 7.0]


@given(GAUSSIANS)
def test_w2_to_itself_is_zero(one: Gaussian) -> None:
    assert distance(one, one) == pytest.approx(0.0, abs=1e-6)


@given(GAUSSIANS, GAUSSIANS)
def test_w2_is_symmetric(one: Gaussian, other: Gaussian) -> None:
    assert distance(one, other) == distance(other, one)


@given(GAUSSIANS, GAUSSIANS, GAUSSIANS)
def test_w2_keeps_the_triangle(one: Gaussian, two: Gaussian, three: Gaussian) -> None:
    assert distance(one, three) <= distance(one, two) + distance(two, three) + 1e-6


@given(GAUSSIANS, GAUSSIANS)
def test_w2_is_the_distance_of_matched_quantiles(one: Gaussian, other: Gaussian) -> None:
    """In one dimension W2^2 is the mean square of the difference of the quantile functions."""
    levels = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    squares = 0.0
    for k in range(3):
        left, right = (Normal(mean[k], std[k]).icdf(levels) for mean, std in (one, other))
        squares += ((left - right) ** 2).mean().item()
    assert distance(one, other) == pytest.approx(math.sqrt(squares), rel=2e-3, abs=1e-3)


def test_w2_of_equals_has_a_finite_gradient() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    w2(mean, torch.ones(1, 2), torch.zeros(1, 2), torch.ones(1, 2)).sum().backward()
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()


def test_the_likelihood_is_that_of_the_normal_without_its_constant() -> None:
    with seeded(0):
        mean, log_std, value = torch.randn(3, 4, 2)
    expected = -Normal(mean, log_std.exp()).log_prob(value) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(negative_log_likelihood(mean, log_std, value), expected)


def test_soft_clip_stays_inside_and_leaves_the_middle_alone() -> None:
    values = torch.linspace(-50, 50, 401)
    clipped = soft_clip(values, -5.0, 5.0)
    assert (clipped >= -5).all()
    assert (clipped <= 5.01).all()
    assert (clipped.diff() >= 0).all()
    assert soft_clip(torch.tensor(0.0), -5.0, 5.0).item() == pytest.approx(0.0, abs=0.02)
