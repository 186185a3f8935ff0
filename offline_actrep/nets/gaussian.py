"""Distances and likelihoods of Gaussians with diagonal covariance."""

import torch
from jaxtyping import Float
from torch import Tensor


def w2(
    mean_i: Float[Tensor, "B S"],
    std_i: Float[Tensor, "B S"],
    mean_j: Float[Tensor, "B S"],
    std_j: Float[Tensor, "B S"],
) -> Float[Tensor, " B"]:
    """2-Wasserstein distance: sqrt(|mean_i - mean_j|^2 + |std_i - std_j|^2) for diagonals."""
    squares = ((mean_i - mean_j) ** 2).sum(dim=1) + ((std_i - std_j) ** 2).sum(dim=1)
    return squares.clamp_min(1e-12).sqrt()


def negative_log_likelihood(
    mean: Float[Tensor, "B S"], log_std: Float[Tensor, "B S"], value: Float[Tensor, "B S"]
) -> Float[Tensor, "B S"]:
    """In nats, a coordinate each, without the constant 0.5 log(2 pi)."""
    return 0.5 * ((value - mean) / log_std.exp()) ** 2 + log_std


def soft_clip(value: Tensor, low: float, high: float) -> Tensor:
    """Into (low, high), smooth at both ends, so that a log-deviation never runs away."""
    value = high - torch.nn.functional.softplus(high - value)
    return low + torch.nn.functional.softplus(value - low)
