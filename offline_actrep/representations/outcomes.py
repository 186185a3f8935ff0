"""What a log says about the outcomes of actions, and models of it.

`Outcomes` holds a log's columns as tensors in the units in which representations learn:
rewards divided by their largest magnitude (the theory asks |R| <= 1), next states as differences
from the state, whitened a coordinate. A rare binary flag has a tiny deviation; dividing by it
would let the flag drown the motion, so flags keep their own unit. A column that moves on by more
than it varies, as a clock does, loses its mean change, or its one large constant would drown all
else; the distance between two next states knows no shift.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.nets.batches import batches
from offline_actrep.nets.computing import CPU, Precision, products_in
from offline_actrep.nets.descent import Descent
from offline_actrep.nets.features import ObservationFeatures, is_binary
from offline_actrep.nets.full_softmax import FullSoftmax
from offline_actrep.nets.mlp import mlp
from offline_actrep.nets.sampled_softmax import Kind, Proposal, SampledSoftmax

FEW_ACTIONS = 8192
"""Up to here every action is looked at in every row; above, some of them or some rows."""
MOST_LOGITS = 4_000_000
"""Logits held in memory at once."""
ANCHORS = 512
"""Rows in which all actions are looked at to bound the largest logit of all other rows."""
CANDIDATES = 256
"""Actions that an anchor passes on to the rows near it."""


@dataclass(frozen=True)
class Outcomes:
    """A log as tensors.

    Attributes:
        features: `[N, F]` of the observation.
        actions: `[N]` dense.
        rewards: `[N]` in units of `reward_scale`.
        changes: `[N, S]` next state minus state, less `change_shift`, in units of `change_scale`;
            0 where unknown.
        has_next: `[N]` whether the change is known.
        reward_scale: largest magnitude of a reward (1 if all are 0).
        change_shift: `[S]`; 0 but for columns whose mean change is larger than their scale.
        change_scale: `[S]`.
        n_actions: A.
    """

    features: Float[Tensor, "N F"]
    actions: Int64[Tensor, " N"]
    rewards: Float[Tensor, " N"]
    changes: Float[Tensor, "N S"]
    has_next: Bool[Tensor, " N"]
    reward_scale: float
    change_shift: np.ndarray
    change_scale: np.ndarray
    n_actions: int


def outcomes(log: Log, features: ObservationFeatures, device: torch.device = CPU) -> Outcomes:
    """A log's columns in the units of learning, on a device; copies, as torch wants them.

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
    mean = known.mean(axis=0, dtype=np.float64)
    shift = np.where(np.abs(mean) > scale, mean, 0.0)
    changes = ((change - shift) / scale).astype(np.float32)
    changes[~log.has_next] = 0.0
    reward_scale = float(np.abs(log.rewards).max()) or 1.0
    return Outcomes(
        features=features(torch.from_numpy(np.array(log.observations))).detach().to(device),
        actions=torch.from_numpy(np.array(log.actions)).to(device),
        rewards=torch.from_numpy(log.rewards / np.float32(reward_scale)).to(device),
        changes=torch.from_numpy(changes).to(device),
        has_next=torch.from_numpy(np.array(log.has_next)).to(device),
        reward_scale=reward_scale,
        change_shift=shift,
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
        mean, log_std = self.net(torch.cat([features, points], dim=1)).float().chunk(2, dim=1)
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
        return self.net(torch.cat([features, points], dim=1)).float()[:, 0]


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


@dataclass(frozen=True)
class Draws:
    """How many actions a step's softmax looks at beside the logged ones, and how they are drawn."""

    kind: Kind
    negatives: int


def relative_probability(logits: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
    """G(a | s) / max_b G(b | s): an action is out of distribution where this is <= tau."""
    return (logits - logits.max(dim=1, keepdim=True).values).exp()


@torch.no_grad()
def relative_probability_of(
    model: BehaviourModel, features: Float[Tensor, "B F"], actions: Int64[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """The same for one action a row; states that come more than once are looked at once."""
    if model.head.out_features <= FEW_ACTIONS:
        return relative_probability(model(features)).gather(1, actions[:, None])[:, 0]
    distinct, place = torch.unique(features, dim=0, return_inverse=True)
    largest = largest_logits(model.head, model.body(distinct))[place]
    return (_logits_of(model.head, model.body(features), actions) - largest).exp()


def _logits_of(
    head: nn.Linear, hidden: Float[Tensor, "B H"], actions: Int64[Tensor, " B"]
) -> Float[Tensor, " B"]:
    """One action a row."""
    logits = (hidden * head.weight.index_select(0, actions)).sum(dim=1)
    return logits + head.bias.index_select(0, actions)


def largest_logits(head: nn.Linear, hidden: Float[Tensor, "N H"]) -> Float[Tensor, " N"]:
    """Over all actions, in chunks of rows and in one piece of memory."""
    chunk = max(1, MOST_LOGITS // head.out_features)
    logits = hidden.new_empty(min(chunk, len(hidden)), head.out_features)
    largest = hidden.new_empty(len(hidden))
    for start in range(0, len(hidden), chunk):
        rows = slice(start, start + chunk)
        part = logits[: len(hidden[rows])]
        torch.addmm(head.bias, hidden[rows], head.weight.T, out=part)
        torch.amax(part, dim=1, out=largest[rows])
    return largest


def near_largest_logits(
    head: nn.Linear, hidden: Float[Tensor, "N H"], actions: Int64[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """A close lower bound of `largest_logits` that does not look at every action in every row.

    All actions are looked at in `ANCHORS` rows, spread evenly over the log; each other row looks
    at those that were largest in the anchor nearest to it (by hidden units) and at its own logged
    action. On 100,000 rows and 4,096 actions, where all can be looked at, the bound was tight in
    every row of the maze and of a random G over 4-dimensional states, in 94 % of the rows of one
    over 16 normal dimensions; whether an action is supported came out alike for all pairs, all,
    and 99.6 % (tau = 0.3, half the actions logged in their row, half drawn at random).
    """
    anchors = hidden[torch.linspace(0, len(hidden) - 1, min(ANCHORS, len(hidden))).long()]
    best = _most_likely(head, anchors, min(CANDIDATES, head.out_features))
    largest = _logits_of(head, hidden, actions)
    nearest = torch.cat([torch.cdist(h, anchors).argmin(dim=1) for h in hidden.split(65_536)])
    order = nearest.argsort(stable=True)
    ends = torch.bincount(nearest, minlength=len(anchors)).cumsum(0).tolist()
    for anchor, (first, last) in enumerate(pairwise([0, *ends])):
        rows, known = order[first:last], best[anchor]
        logits = torch.addmm(head.bias[known], hidden[rows], head.weight[known].T)
        largest[rows] = torch.maximum(largest[rows], logits.amax(dim=1))
    return largest


def _most_likely(head: nn.Linear, hidden: Float[Tensor, "B H"], k: int) -> Int64[Tensor, "B {k}"]:
    """The k actions of largest logit in each row, in chunks of rows."""
    chunk = max(1, 10 * MOST_LOGITS // head.out_features)
    parts = [head(h).topk(k, dim=1, sorted=False).indices for h in hidden.split(chunk)]
    return torch.cat(parts)


@final
class Support:
    """Which actions a log supports in its own states, by G/max G > tau.

    The largest logit of every row is found once; asking about one action a row is then one row of
    the head, not all A. Above `FEW_ACTIONS` actions it is bounded from below
    (`near_largest_logits`), so that an action may be held for supported that is just not.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: BehaviourModel,
        features: Float[Tensor, "N F"],
        actions: Int64[Tensor, " N"],
        threshold: float,
    ) -> None:
        self.head, self.threshold = model.head, threshold
        self.hidden = model.body(features)
        if model.head.out_features <= FEW_ACTIONS:
            self.largest = largest_logits(model.head, self.hidden)
        else:
            self.largest = near_largest_logits(model.head, self.hidden, actions)

    @torch.no_grad()
    def lacks(self, rows: Int64[Tensor, " B"], actions: Int64[Tensor, " B"]) -> Bool[Tensor, " B"]:
        """I(a | s) of Eq. 7: whether the action is out of distribution in the row's state."""
        logits = _logits_of(self.head, self.hidden.index_select(0, rows), actions)
        return (logits - self.largest.index_select(0, rows)).exp() <= self.threshold


def fit_behaviour(
    data: Outcomes,
    *,
    hidden: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    draws: Draws | None = None,
    sparse: bool = False,
    precision: Precision = "float32",
    on_step: OnStep | None = None,
) -> BehaviourModel:
    """Cross-entropy on the logged actions; the biases start from the actions' frequencies.

    Args:
        data: what was logged.
        hidden: width of the hidden layer.
        steps: gradient steps.
        batch_size: rows a step, drawn with replacement.
        learning_rate: at the start; decays to 0 as a cosine.
        seed: of batches and draws.
        draws: how the softmax is estimated from some of the actions; None for all of them.
        sparse: whether a step moves only the rows of the head that it drew; needs `draws`.
        precision: of the products; those of a full softmax stay in float32.
        on_step: is told where the fit stands.
    """
    device = data.features.device
    model = BehaviourModel(data.features.shape[1], data.n_actions, hidden).to(device)
    counts = torch.bincount(data.actions, minlength=data.n_actions).float()
    with torch.no_grad():
        model.head.bias.copy_((counts + 0.5).log() - (counts + 0.5).log().mean())
    generator = torch.Generator().manual_seed(seed)
    surprise: FullSoftmax | SampledSoftmax = FullSoftmax(model.head)
    if draws is not None:
        proposal = Proposal.of(draws.kind, data.actions, data.n_actions)
        surprise = SampledSoftmax(
            model.head, proposal, negatives=draws.negatives, sparse=sparse, generator=generator
        )
    tables = list(model.head.parameters()) if sparse and draws is not None else []
    descent = Descent(
        model.body.parameters() if tables else model.parameters(),
        tables=tables,
        learning_rate=learning_rate,
        steps=steps,
    )
    rows_of_steps = batches(len(data.actions), batch_size, steps, generator, device)
    for step, rows in enumerate(rows_of_steps, 1):
        features = data.features.index_select(0, rows)
        with products_in(precision, device):
            hidden_units = model.body(features).float()
            loss = surprise(hidden_units, data.actions.index_select(0, rows))
        descent.step({"behaviour": loss})
        tell(on_step, step, steps, {"behaviour": loss.item()})
    return model.requires_grad_(False)
