"""Minibatches: of columns that are already tensors, and of logs of any size."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from offline_actrep.core.log import Log
from offline_actrep.core.mapped import take
from offline_actrep.nets.computing import CPU


def batches(
    n: int,
    batch_size: int,
    steps: int,
    generator: torch.Generator,
    device: torch.device = CPU,
) -> Iterator[Int64[Tensor, " B"]]:
    """`steps` batches of row numbers below n, drawn with replacement and then brought to a device.

    The generator is one of the CPU's, so that every device sees the same rows.
    """
    for _ in range(steps):
        yield torch.randint(n, (batch_size,), generator=generator).to(device)


@dataclass(frozen=True, eq=False)
class Transitions:
    """Some rows of a log, copied: what a Bellman backup reads."""

    observations: Float32[Tensor, "B S"]
    actions: Int64[Tensor, " B"]
    rewards: Float32[Tensor, " B"]
    terminated: Bool[Tensor, " B"]
    next_observations: Float32[Tensor, "B S"]
    has_next: Bool[Tensor, " B"]


def minibatches(
    log: Log, batch_size: int, steps: int, generator: torch.Generator
) -> Iterator[Transitions]:
    """`steps` batches of rows of a log of any size, drawn with replacement.

    A mapped log is read at the drawn rows alone, and memory stays flat.
    """
    columns = [getattr(log, field.name) for field in fields(Transitions)]
    for rows in batches(len(log), batch_size, steps, generator):
        yield Transitions(*(torch.from_numpy(take(column, rows.numpy())) for column in columns))
