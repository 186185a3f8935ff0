"""What a log says about the outcomes of actions, and models of it.

`Outcomes` holds a log's columns as tensors in the units in which representations learn:
rewards divided by their largest magnitude (the theory asks |R| <= 1), next states as differences
from the state, whitened a coordinate. A rare binary flag has a tiny deviation; dividing by it
would let the flag drown the motion, so flags keep their own unit.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.nets.batches import batches
from offline_actrep.nets.features import ObservationFeatures, is_binary
from offline_actrep.nets.mlp import mlp


@dataclass(frozen=True)
class Outcomes:
    """A log as tensors.

    Attributes:
        features: `[N, F]` of the observation.
        actions: `[N]` dense.
        rewards: `[N]` in units of `reward_scale`.
        changes: `[N, S]` next state minus state, in units of `change_scale`; 0 where unknown.
        has_next: `[N]` whether the change is known.
        reward_scale: largest magnitude of a reward (1 if all are 0).
        change_scale: `[S]`.
        n_actions: A.
    """

    features: Float[Tensor, "N F"]
    actions: Int64[Tensor, " N"]
    rewards: Float[Tensor, " N"]
    changes: Float[Tensor, "N S"]
    has_next: Bool[Tensor, " N"]
    reward_scale: float
    change_scale: np.ndarray
    n_actions: int


def outcomes(log: Log, features: ObservationFeatures) -> Outcomes:
    """A log's columns in the units of learning; copies, for torch takes no read-only arrays.

    Raises:
        ValueError: no row has a known next state.
    """
    if not log.has_next.any():
        raise ValueError(
            "no row of the log has a next observation: episodes of one row teach no transitions; "
            "give the log a next_observation column"
        )
    change = log.next_observations - log.observations
    known = change[log.has_next]
    deviation = known.std(axis=0, dtype=np.float64)
    scale = np.where(is_binary(log.observations) | (deviation < 1e-6), 1.0, deviation)
    reward_scale = float(np.abs(log.rewards).max()) or 1.0
    return Outcomes(
        features=features(torch.from_numpy(np.array(log.observations))).detach(),
        actions=torch.from_numpy(np.array(log.actions)),
        rewards=torch.from_numpy(log.rewards / np.float32(reward_scale)),
        changes=torch.from_numpy((change / scale).astype(np.float32)),
        has_next=torch.from_numpy(np.array(log.has_next)),
        reward_scale=reward_scale,
        change_scale=scale,
        n_actions=len(log.action_set),
    )


@final
class TransitionModel(nn.Module):
    """P(. | s, e): mean and log-deviation of the change of state, whitened."""

    def __init__(self, n_features: int, dim: int, size: int, hidden: int) -> None:
        super().__init__()
        self.net = mlp([n_features + dim, hidden, 2 * size])

    def forward(
        self, features: Float[Tensor, "B F"], points: Float[Tensor, "B E"]
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
        """Mean and log-deviation."""
        mean, log_std = self.net(torch.cat([features, points], dim=1)).chunk(2, dim=1)
        return mean, log_std


@final
class RewardModel(nn.Module):
    """R(s, e): expected reward, in units of the log's reward scale."""

    def __init__(self, n_features: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = mlp([n_features + dim, hidden, 1])

    def forward(
        self, features: Float[Tensor, "B F"], points: Float[Tensor, "B E"]
    ) -> Float[Tensor, " B"]:
        """Expected reward."""
        return self.net(torch.cat([features, points], dim=1))[:, 0]


@final
class BehaviourModel(nn.Module):
    """G(a | s), the policy that wrote the log, as a softmax over all actions."""

    def __init__(self, n_features: int, n_actions: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(mlp([n_features, hidden]), nn.ReLU())
        self.head = nn.Linear(hidden, n_actions)

    def forward(self, features: Float[Tensor, "B F"]) -> Float[Tensor, "B A"]:
        """Logits."""
        return self.head(self.body(features))


def relative_probability(logits: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
    """G(a | s) / max_b G(b | s): an action is out of distribution where this is <= tau."""
    return (logits - logits.max(dim=1, keepdim=True).values).exp()


@final
class Support:
    """Which actions a log supports in its own states, by G/max G > tau.

    The largest logit of every row is found once; asking about one action a row is then one row of
    the head, not all A.
    """

    @torch.no_grad()
    def __init__(
        self, model: BehaviourModel, features: Float[Tensor, "N F"], threshold: float
    ) -> None:
        self.head, self.threshold = model.head, threshold
        self.hidden = model.body(features)
        chunk = max(1, 4_000_000 // model.head.out_features)
        self.largest = torch.cat(
            [model.head(h).max(dim=1).values for h in self.hidden.split(chunk)]
        )

    @torch.no_grad()
    def lacks(self, rows: Int64[Tensor, " B"], actions: Int64[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """I(a | s) of Eq. 7: whether the action is out of distribution in the row's state."""
        logits = (self.hidden[rows] * self.head.weight[actions]).sum(dim=1)
        share = (logits + self.head.bias[actions] - self.largest[rows]).exp()
        return share <= self.threshold


def fit_behaviour(
    data: Outcomes,
    *,
    hidden: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    on_step: OnStep | None = None,
) -> BehaviourModel:
    """Cross-entropy on the logged actions; the biases start from the actions' frequencies."""
    model = BehaviourModel(data.features.shape[1], data.n_actions, hidden)
    counts = torch.bincount(data.actions, minlength=data.n_actions).float()
    with torch.no_grad():
        model.head.bias.copy_((counts + 0.5).log() - (counts + 0.5).log().mean())
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
    generator = torch.Generator().manual_seed(seed)
    for step, rows in enumerate(batches(len(data.actions), batch_size, steps, generator), 1):
        logits = model(data.features[rows])
        loss = nn.functional.cross_entropy(logits, data.actions[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        tell(on_step, step, steps, {"behaviour": loss.item()})
    return model.requires_grad_(False)
