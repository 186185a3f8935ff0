"""One step down: Adam whose rate decays to 0 as a cosine, on all weights or on touched rows."""

from collections.abc import Iterable, Mapping
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from offline_actrep.nets.row_adam import RowAdam


@final
class Descent:
    """Moves weights against the gradient of a loss.

    Args:
        weights: moved by torch's fused Adam, all of each at every step.
        learning_rate: at the start.
        steps: after which the rate is 0.
        tables: moved by `RowAdam`, only where the step touched them.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        *,
        learning_rate: float,
        steps: int,
        tables: Iterable[Tensor] = (),
    ) -> None:
        rows = list(tables)
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(weights, lr=learning_rate, fused=True)
        ]
        if rows:
            self.optimisers.append(RowAdam(rows, lr=learning_rate))
        self.schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
            for optimiser in self.optimisers
        ]

    def step(self, parts: Mapping[str, Float[Tensor, ""]]) -> None:
        """One step on the sum of a loss's parts."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        for optimiser in self.optimisers:
            optimiser.step()
        for schedule in self.schedules:
            schedule.step()
