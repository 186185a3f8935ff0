"""Behaviour cloning over ids: the log-probability of what was logged.

Formula: minimise `-log pi(a | s) + beta mean_b (log pi(b | s))^2`. The weights after an update are
those of d3rlpy's DiscreteBC.
"""

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import nn

from offline_actrep.nets.computing import CPU
from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.heads import adam, at_place, mean_square, only
from offline_actrep.offline.learner import AbstractIdLearner, Batch, LearnerConfig


@final
class DiscreteBc(AbstractIdLearner):
    """An imitator.

    Args:
        name: what it is called.
        config: `beta`, `critic_learning_rate`, `hidden`.
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
        self.optimiser = adam(self.imitator.parameters(), config.critic_learning_rate)

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        likely = self.imitator(batch.features).log_softmax(dim=1)
        imitation = -at_place(likely, batch.actions).mean()
        loss = imitation + self.config.beta * mean_square(likely, None)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), "imitation_loss": imitation.item()}

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
