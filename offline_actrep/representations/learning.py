"""What methods that learn from outcomes by gradient share: the descent, and the decoder.

MERLION's rivals differ in what they ask of a point, never in how long, how fast or from what
rows they learn, so that a comparison compares ideas.
"""

from collections.abc import Callable, Iterable
from typing import final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from offline_actrep.core.progress import OnStep, tell
from offline_actrep.nets.batches import batches
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.descent import Descent
from offline_actrep.representations.outcomes import Outcomes, RewardModel, TransitionModel

Loss = Callable[[Tensor, torch.Generator], dict[str, Tensor]]
"""(row numbers [B], the CPU's generator of what the step draws) -> the parts of its loss."""


def descend(
    parameters: Iterable[nn.Parameter],
    loss: Loss,
    *,
    rows: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_step: OnStep | None,
    device: torch.device = CPU,
) -> None:
    """Adam on the sum of a loss's parts; the rate decays to 0 as a cosine.

    Args:
        parameters: what moves.
        loss: of one batch.
        rows: batches hold numbers below this.
        steps: gradient steps.
        batch_size: rows a step, drawn with replacement.
        learning_rate: at the start.
        seed: of the batches and of the loss's own draws.
        on_step: is told where the descent stands.
        device: where the parameters are, and where row numbers are wanted.
    """
    descent = Descent(parameters, learning_rate=learning_rate, steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for step, batch in enumerate(batches(rows, batch_size, steps, generator, device), 1):
        parts = loss(batch, generator)
        descent.step(parts)
        tell(on_step, step, steps, {name: part.item() for name, part in parts.items()})


@final
class OutcomeDecoder(nn.Module):
    """What a point e does in a state: P(s' | s, e), the mean of the change, and R(s, e)."""

    def __init__(self, n_features: int, dim: int, size: int, hidden: int) -> None:
        super().__init__()
        self.transition = TransitionModel(n_features, dim, size, hidden)
        self.reward = RewardModel(n_features, dim, hidden)

    def forward(
        self, features: Float[Tensor, "B F"], points: Float[Tensor, "B E"]
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, " B"]]:
        """Mean change of state and expected reward, in the units of `Outcomes`."""
        mean, _ = self.transition(features, points)
        return mean, self.reward(features, points)


def decoding_error(
    decoder: OutcomeDecoder,
    data: Outcomes,
    rows: Int64[Tensor, " B"],
    points: Float[Tensor, "B E"],
) -> dict[str, Float[Tensor, ""]]:
    """Squared errors of logged outcomes, `transition` (where the next state is known), `reward`."""
    change, reward = decoder(data.features[rows], points)
    known = data.has_next[rows].float()
    error = ((change - data.changes[rows]) ** 2).sum(dim=1)
    return {
        "transition": (error * known).sum() / known.sum().clamp_min(1.0),
        "reward": ((reward - data.rewards[rows]) ** 2).mean(),
    }
