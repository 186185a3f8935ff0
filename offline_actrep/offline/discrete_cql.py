"""Discrete CQL: double DQN that is told to think little of ids the log did not choose.

Idea: where data are few, Q of an id that was never tried is whatever the network happens to say,
and a maximum finds the largest mistake; so the log-sum-exp of Q over all ids is pushed down and Q
of the logged id up.

Formula (Kumar et al. 2020, CQL(H)): `huber(Q(s, a) - y) + alpha (log sum_b exp Q(s, b) - Q(s, a))`
with `y = r + gamma Q'(s', argmax_b Q(s', b))`. The masked form takes the sum over the ids that s
allowed and the maximum over those that s' allows: an id that could not be chosen needs no pushing
down, and must not be believed in a target.

The weights after an update are d3rlpy's DiscreteCQL's, at less cost: Q(s, .) is computed once for
both terms, chosen ids are looked up instead of multiplied by one-hot rows, and the target network
is asked for the chosen id alone.
"""

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from offline_actrep.nets.computing import CPU
from offline_actrep.offline.double_dqn import DoubleQ
from offline_actrep.offline.heads import Choices, adam, among, at_place, best, only
from offline_actrep.offline.learner import AbstractIdLearner, Batch, LearnerConfig


@final
class DiscreteCql(AbstractIdLearner):
    """Q with one output an id; masked where its batches say what was allowed.

    Args:
        name: what it is called.
        config: `alpha`, `gamma`, `critic_learning_rate`, `target_update_interval`, `hidden`.
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
        self.q = DoubleQ([n_features, *config.hidden, n_actions]).to(device)
        self.optimiser = adam(self.q.trained(), config.critic_learning_rate)

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        wanted = self.q.target(batch, self._best_next(batch), self.config.gamma)
        choices = Choices.of(batch.allowed, self.device)
        td, conservative = losses(self.q(batch.features), batch.actions, wanted, choices)
        loss = td + self.config.alpha * conservative
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.q.updated(self.config.target_update_interval)
        parts = {"loss": loss, "td_loss": td, "conservative_loss": conservative}
        return {name: part.item() for name, part in parts.items()}

    @torch.no_grad()
    def _best_next(self, batch: Batch) -> Int64[Tensor, " B"]:
        choices = Choices.of(batch.next_allowed, self.device)
        return best(among(self.q(batch.next_features), choices), choices)

    def scores(
        self, features: Float32[np.ndarray, "B F"], mask: Bool[np.ndarray, "B A"] | None = None
    ) -> Float32[np.ndarray, "B A"]:
        with torch.no_grad():
            return only(self.q(self.brought(features)), mask).cpu().numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        with torch.no_grad():
            return self.q.value(self.brought(features), self.brought(actions)).cpu().numpy()

    def modules(self) -> dict[str, nn.Module]:
        return {"q": self.q}


def losses(
    values: Float32[Tensor, "B A"],
    actions: Int64[Tensor, " B"],
    wanted: Float32[Tensor, " B"],
    choices: Choices | None,
) -> tuple[Float32[Tensor, ""], Float32[Tensor, ""]]:
    """Huber's loss of the temporal difference, and the conservative term."""
    logged = at_place(values, actions)
    above = among(values, choices).logsumexp(dim=1) - logged
    return functional.huber_loss(logged, wanted), above.mean()
