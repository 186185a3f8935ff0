"""TD3+BC whose Q is only ever asked about points of real actions.

Idea: a policy is served through `decode`, so the value of the point it names is that of the action
nearest to it; between the points Q is a guess. Targets and the actor's value are therefore taken
at the point of the decoded action.

Formula (TD3+BC, Fujimoto and Gu 2021, with `d(s, e) = phi(decode(s, e); s)`):
`y = r + gamma min_j Q'_j(s', d(s', pi'(s') + noise))`; the actor minimises
`-alpha Q_1(s, d(s, pi(s))) / mean |Q_1| + |pi(s) - e|^2`, and since d is constant between its
jumps, the gradient of Q at the decoded point is handed straight through to pi(s) (Bengio et al.
2013). Where the log says which actions were allowed, decoding keeps to them.

With `neighbours` k above 1 the policy goes to the point of the action that min_j Q_j likes best
among the k nearest to pi(s), after Dulac-Arnold et al. (2015, "Deep Reinforcement Learning in Large
Discrete Action Spaces"); what is learnt is the same. As Q is asked about real actions only, it can
be asked again when it acts.

With d the identity the weights after an update are those of d3rlpy's TD3PlusBC.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.heads import adam, parts
from offline_actrep.offline.learner import AbstractPointLearner, Batch, LearnerConfig
from offline_actrep.offline.twin_critics import follow, lower_values, regress, twins, values

ACTOR_EVERY = 2
"""Updates of the critics for one of the actor and of the targets."""


@final
class DecodedTd3(AbstractPointLearner):
    """An actor, two critics, and their targets.

    Args:
        name: what it is called.
        config: `alpha`, `neighbours`, `tau`, `target_noise`, `gamma`, both learning rates,
            `hidden`.
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
        dim = representation.dim
        self.actor = mlp([n_features, *config.hidden, dim]).to(device)
        self.critics = twins(n_features, dim, config.hidden).to(device)
        self.target_actor, self.target_critics = deepcopy(self.actor), deepcopy(self.critics)
        self.actor_optimiser = adam(self.actor.parameters(), config.actor_learning_rate)
        self.critic_optimiser = adam(self.critics.parameters(), config.critic_learning_rate)
        self.updates = 0

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        loss = regress(self.critics, self.critic_optimiser, batch, self._target(batch))
        losses = {"critic_loss": loss}
        if self.updates % ACTOR_EVERY == 0:
            losses |= self._update_actor(batch)
        self.updates += 1
        return losses

    def _update_actor(self, batch: Batch) -> dict[str, float]:
        points = self.actor(batch.features).tanh()
        real = self._decoded(batch.observations, points.detach(), batch.allowed)
        value = values(self.critics[:1], batch.features, real + points - points.detach())[0]
        imitation = functional.mse_loss(points, batch.actions)
        weight = self.config.alpha / value.detach().abs().mean()
        loss = imitation - weight * value.mean()
        self.actor_optimiser.zero_grad()
        loss.backward()
        self.actor_optimiser.step()
        for network, target in (
            (self.actor, self.target_actor),
            (self.critics, self.target_critics),
        ):
            follow(target, network, self.config.tau)
        return {"actor_loss": loss.item(), "bc_loss": imitation.item()}

    @torch.no_grad()
    def _target(self, batch: Batch) -> Float32[Tensor, " B"]:
        points = self.target_actor(batch.next_features).tanh()
        reach = 2.5 * self.config.target_noise
        noise = (self.config.target_noise * torch.randn_like(points)).clamp(-reach, reach)
        near = (points + noise).clamp(-1.0, 1.0)
        real = self._decoded(batch.next_observations, near, batch.next_allowed)
        ahead = torch.stack(values(self.target_critics, batch.next_features, real)).amin(dim=0)
        return batch.rewards + self.config.gamma * (1 - batch.terminals) * ahead

    def _decoded(
        self,
        observations: Float32[Tensor, "B S"] | None,
        points: Float32[Tensor, "B E"],
        allowed: AllowedActions | None,
    ) -> Float32[Tensor, "B E"]:
        assert observations is not None, "its batches carry observations"
        with torch.no_grad():
            states = observations.to(CPU)
            actions = self.representation.decode(states, points.to(CPU), allowed)
            return self.representation.embed(states, actions).to(self.device)

    def points(
        self,
        features: Float32[np.ndarray, "B F"],
        observations: Float32[np.ndarray, "B S"],
        allowed: AllowedActions | None = None,
    ) -> Float32[np.ndarray, "B E"]:
        with torch.no_grad():
            wanted = self.actor(self.brought(features)).tanh().cpu()
        count = min(self.config.neighbours, len(self.representation.action_set))
        if count == 1:
            return wanted.numpy()
        chosen = np.empty_like(wanted.numpy())
        for rows in parts(len(features), count * observations.shape[1]):
            sets = None if allowed is None else allowed.between(rows.start, rows.stop)
            near = self._near(torch.from_numpy(observations[rows]), wanted[rows], count, sets)
            chosen[rows] = self._best(features[rows], near)
        return chosen

    def _near(
        self,
        states: Float32[Tensor, "B S"],
        wanted: Float32[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None,
    ) -> Float32[Tensor, "B K E"]:
        """The points of the actions nearest to those wanted, nearest first.

        A row that allows fewer than K has its nearest again in place of those that it lacks.
        """
        actions, _ = self.representation.neighbours(states, wanted, count, allowed)
        actions = actions.where(actions >= 0, actions[:, :1])
        found = self.representation.embed(states.repeat_interleave(count, dim=0), actions.flatten())
        return found.unflatten(0, (len(states), count))

    @torch.no_grad()
    def _best(
        self, features: Float32[np.ndarray, "B F"], points: Float32[Tensor, "B K E"]
    ) -> Float32[np.ndarray, "B E"]:
        worst = lower_values(self.critics, self.brought(features), points.to(self.device))
        return points[torch.arange(len(points)), worst.argmax(dim=1).cpu()].numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        with torch.no_grad():
            found = values(self.critics, self.brought(features), self.brought(points))
            return torch.stack(found).mean(dim=0).cpu().numpy()

    def modules(self) -> dict[str, nn.Module]:
        return {
            "actor": self.actor,
            "critics": self.critics,
            "target_actor": self.target_actor,
            "target_critics": self.target_critics,
        }
