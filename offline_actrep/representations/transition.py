"""Points from which the logged action can be told by what it did: the same in every state.

Idea: a point is inferred from a state and the one that followed, and the action must be told
from that point. Actions that do the same cannot be told apart and share a place.

Formula (after Chandak et al., ICML 2019), with e = g(s, s') and e_a a learnt point an action:

    f(a | e) = exp(-|e - e_a|_2^2) / sum_b exp(-|e - e_b|_2^2)
    J(g, e_1..e_A) = -E[ln f(a | g(s, s'))],  with (s, a, s') logged

The point of a is e_a, and a point decodes to the action of the best score f. The squared distance
is the score of the authors' published code (lifelong_changing_actions, 2020), with a scalar
product as its alternative; under a distance the best score is the nearest point and every e_a
decodes to a, which a scalar product does not promise. In the cube `nearest` goes by l1, as for
every representation here, so that methods differ in their points alone: it may leave the best
score for another where a point lies about as near to both.

Otherwise than that code: there a tanh bounds the points while they are learnt, here they are
free to find the scale at which actions are told apart, and the frame brings them into the cube;
g sees s' as the whitened change of state, which other methods predict. Above `candidates` actions
the sum is estimated from actions drawn anew a step.

Measured on the maze with 2^12 actions: points that start at chance places all over the cube
hardly leave them (the inferred points follow the noise), so they start close together; and the
rate is higher than MERLION's, at which they were not done after 1000 steps. With 128 candidates
the points are as good as with 1,024 in a sixth of the CPU time (16 s against 99): nearest points'
effects differ by 0.24 of random ones' in the mean of four seeds, against 0.24 of two, and the R2
of effects is 0.78 against 0.74; with 64 they are worse (0.34 and 0.68).
"""

from dataclasses import asdict
from typing import Annotated, final

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.mlp import mlp
from offline_actrep.nets.sampled_softmax import NEVER
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.learning import descend
from offline_actrep.representations.outcomes import FEW_ACTIONS, Outcomes, outcomes
from offline_actrep.representations.point_table import PointTable


@dataclass(frozen=True, config=STRICT)
class TransitionConfig:
    """What can be set; all but the rate that MERLION has too has MERLION's defaults."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""
    steps: Annotated[int, Field(ge=1)] = 4000
    """Gradient steps."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 1e-2
    """At the start; decays to 0 as a cosine."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Width of the hidden layer of g."""
    candidates: Annotated[int, Field(ge=1)] = 128
    """Actions the logged one is told from in a step; all of them where there are no more."""


@final
class Inference(nn.Module):
    """g(s, s') and the actions' own points, both unbounded."""

    def __init__(
        self, n_actions: int, n_features: int, size: int, config: TransitionConfig
    ) -> None:
        super().__init__()
        self.points = nn.Parameter(0.05 * torch.randn(n_actions, config.dim))
        self.between = mlp([n_features + size, config.hidden, config.dim])

    def forward(
        self, features: Float[Tensor, "B F"], changes: Float[Tensor, "B S"]
    ) -> Float[Tensor, "B E"]:
        """The point of whatever led from each state to the next."""
        return self.between(torch.cat([features, changes], dim=1))


def score(inferred: Float[Tensor, "B E"], points: Float[Tensor, "K E"]) -> Float[Tensor, "B K"]:
    """-|e - e_a|^2 but for -|e|^2, which is the same for all actions."""
    return 2 * inferred @ points.T - (points**2).sum(dim=1)


def log_likelihood(
    inferred: Float[Tensor, "B E"],
    points: Float[Tensor, "A E"],
    actions: Int64[Tensor, " B"],
    candidates: Int64[Tensor, " K"],
) -> Float[Tensor, " B"]:
    """ln f(a | e) in nats; exact if the candidates are all actions.

    Else the sum over the actions that are not a is (A - 1) times its mean over those candidates.
    """
    mine = points[actions]
    own = (2 * inferred * mine - mine**2).sum(dim=1)
    itself = candidates == actions[:, None]
    drawn = (~itself).sum(dim=1).clamp_min(1)
    others = score(inferred, points[candidates]).masked_fill(itself, NEVER).logsumexp(dim=1)
    others = others + (max(len(points) - 1, 1) / drawn).log()
    return own - torch.logaddexp(own, others)


def loss(
    model: Inference,
    data: Outcomes,
    rows: Int64[Tensor, " B"],
    candidates: Int64[Tensor, " K"],
) -> dict[str, Float[Tensor, ""]]:
    """`inference`: how many nats the logged actions come as a surprise."""
    inferred = model(data.features[rows], data.changes[rows])
    surprise = -log_likelihood(inferred, model.points, data.actions[rows], candidates)
    return {"inference": surprise.mean()}


def fit(
    log: Log,
    *,
    config: TransitionConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> PointTable:
    """Fits g and the points on the rows whose next state is known, then the frame.

    Same log, config and seed: same points, bit for bit, on one machine with one torch thread.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    model = fit_inference(
        log, config=config, features=features, seed=seed, device=device, on_step=on_step
    )
    raw = model.points.detach()
    frame = Frame(config.dim)
    frame.fit(raw)
    points = frame.to_cube(raw)
    return PointTable("transition", asdict(config), log.action_set, log.observation_size, points)


def fit_inference(
    log: Log,
    *,
    config: TransitionConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> Inference:
    """g and the points, not yet in the cube.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    seen = ObservationFeatures.of(log.observations, features)
    data = outcomes(log, seen, device)
    known = data.has_next.nonzero()[:, 0]
    everyone = torch.arange(data.n_actions, device=device)
    with seeded(seed):
        model = Inference(data.n_actions, seen.size, log.observation_size, config).to(device)

    def of_batch(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        candidates = everyone
        if data.n_actions > FEW_ACTIONS:
            size = (config.candidates,)
            candidates = torch.randint(data.n_actions, size, generator=generator)
        elif data.n_actions > config.candidates:
            candidates = torch.randperm(data.n_actions, generator=generator)[: config.candidates]
        return loss(model, data, known[batch], candidates.to(device))

    descend(
        model.parameters(),
        of_batch,
        rows=len(known),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        on_step=on_step,
        device=device,
    )
    return model.to(CPU).requires_grad_(False)
