"""The affine map of raw points into the cube, fitted once; what it clamps is not had back."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

TAIL = 0.01
"""Share of the points at each end of a coordinate that is clamped."""
MOST = 8_000_000
"""Most numbers to take quantiles of (torch refuses above 16 million)."""


@final
class Frame(nn.Module):
    """Each coordinate's middle 98 % over many states and actions becomes [-1, 1].

    What lies further out is clamped to the cube's face. Taking the whole range instead lets a few
    extreme states shrink all others' points to the middle of the cube, and a policy's tanh then
    finds corners where no action is.
    """

    centre: Tensor
    half_range: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("half_range", torch.ones(dim))

    def fit(self, raw: Float[Tensor, "N E"]) -> None:
        """Takes the range of these points; a coordinate that never varies keeps its unit."""
        thinned = raw
        if raw.numel() >= 2 * MOST:  # by chance, as rows come action by action
            draws = torch.Generator().manual_seed(0)
            rows = torch.randint(len(raw), (MOST // raw.shape[1],), generator=draws)
            thinned = raw[rows.to(raw.device)]
        tails = torch.tensor([TAIL, 1 - TAIL], device=raw.device)
        low, high = torch.quantile(thinned, tails, dim=0)
        half = (high - low) / 2
        self.centre.copy_((high + low) / 2)
        self.half_range.copy_(torch.where(half > 1e-6, half, torch.ones_like(half)))

    def to_cube(self, raw: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        """Raw points -> points in [-1, 1]^E."""
        return ((raw - self.centre) / self.half_range).clamp(-1.0, 1.0)

    def to_metric(self, points: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        """Points in the cube -> the pseudometric's own unit."""
        return points * self.half_range + self.centre
