"""Small encoders in the form that the search takes."""

import numpy as np
import torch

from offline_actrep.decoding.decoder import Head
from offline_actrep.decoding.points import Codes, Heads

STATE = 3
"""S."""


def make(
    kind: str, n: int, *, dim: int = 3, width: int = 8, seed: int = 0, grid: bool = False
) -> tuple[Codes, Head]:
    """Codes and head of `n` actions; the observation is mixed linearly into the head.

    `kind` is mlp (one hidden layer), deep (two) or bilinear. With `grid` every number is a small
    multiple of 1/4, so that all sums are exact in single precision and many distances tie.
    """
    generator = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        if grid:
            return (generator.integers(-2, 3, shape) / 4).astype(np.float32)
        return (generator.normal(size=shape) / width**0.5).astype(np.float32)

    layers = int(kind == "deep")
    codes = Codes(
        numbers(n, width), kind != "bilinear", numbers(layers, width, width), numbers(layers, width)
    )
    mix, weight, bias = numbers(width, STATE), numbers(1, dim, width), numbers(1, dim)
    turn, move = numbers(dim * width, STATE), numbers(dim, STATE)

    def head(observations: torch.Tensor) -> Heads:
        states = observations.numpy()
        if kind != "bilinear":
            return Heads(states @ mix.T, weight, bias)
        own = weight + (states @ turn.T).reshape(-1, dim, width)
        return Heads(np.zeros((1, width), np.float32), own, bias + states @ move.T)

    return codes, head


def asked(n: int, dim: int, *, grid: bool = False, seed: int = 9) -> tuple[torch.Tensor, ...]:
    """Observations and points."""
    generator = torch.Generator().manual_seed(seed)
    if grid:
        states = torch.randint(-1, 2, (n, STATE), generator=generator).float()
        return states, torch.randint(-4, 5, (n, dim), generator=generator) / 4
    states = torch.randn(n, STATE, generator=generator)
    return states, torch.rand(n, dim, generator=generator) * 2 - 1
