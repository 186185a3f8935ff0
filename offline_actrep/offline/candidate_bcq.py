"""BCQ among the likeliest ids, with a Q that sees their points.

Idea: an imitator over ids says which actions a state's log supports, which no density over points
can where half of a log is noise; a critic over points generalises from one action to its
neighbours, which no Q with an output an id can. Q is only ever asked about real actions, a few a
state, so that the cost of a step does not grow with their number but for the imitator's outputs.

Formula (discrete BCQ, Fujimoto et al. 2019, with Q over `phi(a; s)`): G is fitted by
`-log G(a | s) + beta mean_b (log G(b | s))^2`; the candidates of a state are
`C(s) = {b among the K largest of G(. | s) : G(b | s) > tau max_c G(c | s)}`, Q by
`sum_j (Q_j(s, e) - y)^2` with `y = r + gamma max_{b in C(s')} min_j Q'_j(s', phi(b; s'))`, and the
policy goes to the point of `argmax_{b in C(s)} min_j Q_j(s, phi(b; s))`, which decodes to b; there
C(s) has up to 4 K. Where it is said which actions a state allows, C keeps to them, in targets as in
acting.

A variant of our own: Gu et al. (2022) learn on points with CQL and BCQ, whose policies name points
and not actions.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.discrete_bcq import supported
from offline_actrep.offline.heads import adam, at_place, mean_square, only, parts
from offline_actrep.offline.learner import AbstractPointLearner, Batch, LearnerConfig
from offline_actrep.offline.twin_critics import follow, lower_values, regress, twins, values

WIDER = 4
"""Candidates of a decision for one of a target: a decision is made once, a target in every row of
every step."""


@final
class CandidateBcq(AbstractPointLearner):
    """An imitator, two critics, and the critics' targets.

    Args:
        name: what it is called.
        config: `n_action_samples` (K, of a target), `action_flexibility` (the threshold tau),
            `beta`, `tau`, `gamma`, `critic_learning_rate`, `hidden`.
        n_features: F.
        representation: whose actions there are; it stays on the CPU.
        device: where it learns.
    """

    def __init__(
        self,
        name: str,
        config: LearnerConfig,
        n_features: int,
        representation: AbstractRepresentation,
        device: torch.device = CPU,
    ) -> None:
        self.name, self.config, self.device = name, config, device
        self.representation = representation
        sizes = [n_features, *config.hidden, len(representation.action_set)]
        self.imitator = mlp(sizes).to(device)
        self.critics = twins(n_features, representation.dim, config.hidden).to(device)
        self.target_critics = deepcopy(self.critics)
        self.imitator_optimiser = adam(self.imitator.parameters(), config.critic_learning_rate)
        self.critic_optimiser = adam(self.critics.parameters(), config.critic_learning_rate)

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        assert batch.ids is not None, "its batches carry ids"
        likely = self.imitator(batch.features).log_softmax(dim=1)
        logged = at_place(likely, batch.ids)
        imitation = self.config.beta * mean_square(likely, None) - logged.mean()
        self.imitator_optimiser.zero_grad()
        imitation.backward()
        self.imitator_optimiser.step()
        loss = regress(self.critics, self.critic_optimiser, batch, self._target(batch))
        follow(self.target_critics, self.critics, self.config.tau)
        return {"critic_loss": loss, "imitator_loss": imitation.item()}

    @torch.no_grad()
    def _target(self, batch: Batch) -> Float32[Tensor, " B"]:
        assert batch.next_observations is not None, "its batches carry observations"
        found, _ = self._candidates(
            self.target_critics,
            batch.next_features,
            batch.next_observations,
            self.config.n_action_samples,
            batch.next_allowed,
        )
        ahead = found.amax(dim=1)
        return batch.rewards + self.config.gamma * (1 - batch.terminals) * ahead

    def _candidates(
        self,
        critics: nn.ModuleList,
        features: Float32[Tensor, "B F"],
        observations: Float32[Tensor, "B S"],
        most: int,
        allowed: AllowedActions | None,
    ) -> tuple[Float32[Tensor, "B K"], Float32[Tensor, "B K E"]]:
        """Values, -inf below the threshold, and points."""
        mask = None if allowed is None else allowed.mask(len(self.representation.action_set))
        logits = only(self.imitator(features), mask)
        count = min(most, logits.shape[1])
        largest, ids = logits.topk(count, dim=1)
        states = observations.to(CPU).repeat_interleave(count, dim=0)
        flat = self.representation.embed(states, ids.flatten().to(CPU)).to(self.device)
        points = flat.view(*ids.shape, -1)
        worst = lower_values(critics, features, points)
        return supported(worst, largest, self.config.action_flexibility), points

    def points(
        self,
        features: Float32[np.ndarray, "B F"],
        observations: Float32[np.ndarray, "B S"],
        allowed: AllowedActions | None = None,
    ) -> Float32[np.ndarray, "B E"]:
        wanted = np.empty((len(features), self.representation.dim), np.float32)
        for rows in parts(len(features), len(self.representation.action_set)):
            sets = None if allowed is None else allowed.between(rows.start, rows.stop)
            wanted[rows] = self._best(features[rows], observations[rows], sets)
        return wanted

    @torch.no_grad()
    def _best(
        self,
        features: Float32[np.ndarray, "B F"],
        observations: Float32[np.ndarray, "B S"],
        allowed: AllowedActions | None,
    ) -> Float32[np.ndarray, "B E"]:
        found, points = self._candidates(
            self.critics,
            self.brought(features),
            self.brought(observations),
            WIDER * self.config.n_action_samples,
            allowed,
        )
        chosen = found.argmax(dim=1)[:, None, None].expand(-1, 1, points.shape[2])
        return points.gather(1, chosen)[:, 0].cpu().numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        with torch.no_grad():
            found = values(self.critics, self.brought(features), self.brought(points))
            return torch.stack(found).mean(dim=0).cpu().numpy()

    def modules(self) -> dict[str, nn.Module]:
        return {
            "imitator": self.imitator,
            "critics": self.critics,
            "target_critics": self.target_critics,
        }
