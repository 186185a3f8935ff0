"""Discrete BCQ: double DQN whose choice is limited to ids that the log's author might have chosen.

Idea: an imitator learns which ids are likely in a state; the maximum over Q, in targets and in
acting, is taken over ids whose probability is above a share of the likeliest one's.

Formula (Fujimoto et al. 2019, "Benchmarking Batch Deep Reinforcement Learning Algorithms"):
`huber(Q(s, a) - y) - log G(a | s) + beta mean_b (log G(b | s))^2`, with
`y = r + gamma Q'(s', argmax {Q(s', b) : G(b | s') > tau max_c G(c | s')})`. Q and G share the
hidden layers. In the masked form G is a distribution over the ids that the state allows.

The weights after an update are d3rlpy's DiscreteBCQ's, at less cost: the hidden layers are
computed once a state, Q in the logged states for the logged ids alone, and the target network for
the chosen ids alone.
"""

import math
from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from offline_actrep.nets.computing import CPU
from offline_actrep.offline.double_dqn import DoubleQ
from offline_actrep.offline.heads import (
    Choices,
    adam,
    among,
    at,
    at_place,
    best,
    mean_square,
    only,
    places,
)
from offline_actrep.offline.learner import AbstractIdLearner, Batch, LearnerConfig


@final
class DiscreteBcq(AbstractIdLearner):
    """Q and an imitator on the same hidden layers; masked where its batches say what was allowed.

    Args:
        name: what it is called.
        config: `action_flexibility` (the threshold tau), `beta`, `gamma`, `critic_learning_rate`,
            `target_update_interval`, `hidden`.
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
        self.imitator = nn.Linear(self.q.head.in_features, n_actions).to(device)
        weights = [*self.q.trained(), *self.imitator.parameters()]
        self.optimiser = adam(weights, config.critic_learning_rate)

    def update(self, batch: Batch) -> Mapping[str, float]:
        batch = batch.to(self.device)
        wanted = self.q.target(batch, self._best_next(batch), self.config.gamma)
        hidden = self.q.body(batch.features)
        td = functional.huber_loss(at(self.q.head, hidden, batch.actions), wanted)
        choices = Choices.of(batch.allowed, self.device)
        likely = among(self.imitator(hidden), choices).log_softmax(dim=1)
        logged = at_place(likely, places(batch.actions, choices))
        imitation = self.config.beta * mean_square(likely, choices) - logged.mean()
        loss = td + imitation
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.q.updated(self.config.target_update_interval)
        parts = {"loss": loss, "td_loss": td, "imitator_loss": imitation}
        return {name: part.item() for name, part in parts.items()}

    @torch.no_grad()
    def _best_next(self, batch: Batch) -> Int64[Tensor, " B"]:
        hidden = self.q.body(batch.next_features)
        choices = Choices.of(batch.next_allowed, self.device)
        values, logits = (among(head(hidden), choices) for head in (self.q.head, self.imitator))
        return best(supported(values, logits, self.config.action_flexibility), choices)

    def scores(
        self, features: Float32[np.ndarray, "B F"], mask: Bool[np.ndarray, "B A"] | None = None
    ) -> Float32[np.ndarray, "B A"]:
        with torch.no_grad():
            hidden = self.q.body(self.brought(features))
            logits = only(self.imitator(hidden), mask)
            share = self.config.action_flexibility
            return supported(self.q.head(hidden), logits, share).cpu().numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        with torch.no_grad():
            return self.q.value(self.brought(features), self.brought(actions)).cpu().numpy()

    def modules(self) -> dict[str, nn.Module]:
        return {"q": self.q, "imitator": self.imitator}


def supported(
    values: Float32[Tensor, "B K"], logits: Float32[Tensor, "B K"], share: float
) -> Float32[Tensor, "B K"]:
    """Values with -inf where the probability is at most `share` of the row's largest."""
    floor = logits.amax(dim=1, keepdim=True) + math.log(max(share, 1e-38))
    return values.masked_fill(logits <= floor, -torch.inf)
