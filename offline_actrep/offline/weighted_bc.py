"""Behaviour cloning over ids, weighted by how well the logged choice turned out.

Idea: raise the log-probability of what was logged, more where the return was better. Nothing is
ever asked about an id that was not logged, so there is nothing to be over-estimated.

Formula: minimise `-w log pi(a | s) + beta mean_b (log pi(b | s))^2`. Weighted by advantage
(MARWIL, Wang et al. 2018, "Exponentially Weighted Imitation Learning for Batched Historical
Data"), `w = min(exp(k (G - V(s)) / c), w_max)`: G is the logged discounted return from the row on
(that of an episode that was cut off counts what was seen), V a network that is regressed on it, c
the running root mean square of the advantage, so that k means the same on every log. The clip is
that of advantage-weighted regression (Peng et al. 2019). Weighted by return (reward-weighted
regression, Peters and Schaal 2007), the running mean of G stands for V(s). A batch's weights are
divided by their mean, so that k does not change how fast is learnt.
"""

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn

from offline_actrep.nets.computing import CPU
from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.heads import Choices, adam, among, at_place, mean_square, only, places
from offline_actrep.offline.learner import AbstractIdLearner, Batch, LearnerConfig

NEWEST = 0.01
"""Share of the newest batch in a running mean."""


@final
class WeightedBc(AbstractIdLearner):
    """An imitator and what it takes returns for; masked where its batches say what was allowed.

    Args:
        name: what it is called.
        config: `weighting`, `weight_temp` (k), `max_weight`, `beta`, `critic_learning_rate`,
            `hidden`.
        n_features: F.
        n_actions: A.
        device: where it learns.
    """

    def __init__(
        self,
        name: str,
        config: LearnerConfig,
        n_features: int,
        n_actions: int,
        device: torch.device = CPU,
    ) -> None:
        self.name, self.config, self.device = name, config, device
        self.imitator = mlp([n_features, *config.hidden, n_actions]).to(device)
        self.expected = mlp([n_features, *config.hidden, 1]).to(device)
        weights = [*self.imitator.parameters(), *self.expected.parameters()]
        self.optimiser = adam(weights, config.critic_learning_rate)
        self.usual_return, self.usual_square = Running(), Running()

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        above, regression = self._advantage(batch)
        spread = self.usual_square.take(above.square().mean().item()) ** 0.5
        weight = row_weights(above, spread, self.config.weight_temp, self.config.max_weight)
        choices = Choices.of(batch.allowed, self.device)
        likely = among(self.imitator(batch.features), choices).log_softmax(dim=1)
        imitation = -(weight * at_place(likely, places(batch.actions, choices))).mean()
        loss = imitation + regression + self.config.beta * mean_square(likely, choices)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        parts = {"loss": loss, "imitation_loss": imitation, "value_loss": regression}
        return {name: part.item() for name, part in parts.items()}

    def _advantage(self, batch: Batch) -> tuple[Float32[Tensor, " B"], Float32[Tensor, ""]]:
        """How far a return lies above what was expected, and the loss of that expectation."""
        if self.config.weighting == "return":
            mean = self.usual_return.take(batch.returns.mean().item())
            return batch.returns - mean, batch.returns.new_zeros(())
        above = batch.returns - self.expected(batch.features)[:, 0]
        return above.detach(), above.square().mean()

    def scores(
        self, features: Float32[np.ndarray, "B F"], mask: Bool[np.ndarray, "B A"] | None = None
    ) -> Float32[np.ndarray, "B A"]:
        with torch.no_grad():
            logits = only(self.imitator(self.brought(features)), mask)
            return logits.log_softmax(dim=1).cpu().numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        return np.full(len(actions), np.nan, np.float32)

    def modules(self) -> dict[str, nn.Module]:
        return {"imitator": self.imitator}


@final
class Running:
    """A running mean that starts at the first value."""

    def __init__(self) -> None:
        self.mean: float | None = None

    def take(self, value: float) -> float:
        """The mean with one value more."""
        old = value if self.mean is None else self.mean
        self.mean = old + NEWEST * (value - old)
        return self.mean


def row_weights(
    above: Float32[Tensor, " B"], spread: float, factor: float, largest: float
) -> Float32[Tensor, " B"]:
    """`min(exp(factor above / spread), largest)`, divided by the mean."""
    weight = (factor / max(spread, 1e-8) * above).exp().clamp(max=largest)
    return weight / weight.mean().clamp(min=1e-8)
