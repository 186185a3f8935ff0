"""Minibatches of columns that are already tensors."""

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor


def batches(
    n: int, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " B"]]:
    """`steps` batches of row numbers below n, drawn with replacement."""
    for _ in range(steps):
        yield torch.randint(n, (batch_size,), generator=generator)
