"""Points from which a decoder can tell an action's outcome: the same in every state.

Idea: an encoder gives each action a point, a decoder sees the state and the point and must
predict the next state and the reward. Nothing is asked of distances between points.

Formula (the reconstruction scheme of Gu et al., ICML 2022, section 5.1, after RODE, Wang et al.,
ICLR 2021), e_a the learnt point of a, with (s, a, R, s') logged:

    J(e_1..e_A, P, R) = |P(s, e_a) - s'|^2 + (R(s, e_a) - R)^2

Gu et al. say what the decoder sees, not whether the encoder sees the state; here it does not, as
in RODE, and the encoder of an id that sees nothing else is a table. With the state it would be
`cvae`.
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
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.learning import OutcomeDecoder, decoding_error, descend
from offline_actrep.representations.outcomes import Outcomes, outcomes
from offline_actrep.representations.point_table import PointTable


@dataclass(frozen=True, config=STRICT)
class ReconstructionConfig:
    """What can be set; what learning shares with MERLION has MERLION's defaults."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""
    steps: Annotated[int, Field(ge=1)] = 4000
    """Gradient steps."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """At the start; decays to 0 as a cosine."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Width of the hidden layer of each half of the decoder."""


@final
class Reconstruction(nn.Module):
    """The actions' points, unbounded, and the decoder of their outcomes."""

    def __init__(
        self, n_actions: int, n_features: int, size: int, config: ReconstructionConfig
    ) -> None:
        super().__init__()
        self.points = nn.Parameter(0.05 * torch.randn(n_actions, config.dim))
        self.decoder = OutcomeDecoder(n_features, config.dim, size, config.hidden)


def loss(
    model: Reconstruction, data: Outcomes, rows: Int64[Tensor, " B"]
) -> dict[str, Float[Tensor, ""]]:
    """`transition` and `reward`, as MERLION weighs them."""
    return decoding_error(model.decoder, data, rows, model.points[data.actions[rows]])


def fit(
    log: Log,
    *,
    config: ReconstructionConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> PointTable:
    """Fits points and decoder together, then the frame.

    Same log, config and seed: same points, bit for bit, on one machine with one torch thread.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    seen = ObservationFeatures.of(log.observations, features)
    data = outcomes(log, seen, device)
    model = fit_reconstruction(data, config=config, seed=seed, on_step=on_step)
    raw = model.points.detach()
    frame = Frame(config.dim)
    frame.fit(raw)
    points = frame.to_cube(raw)
    settings = asdict(config)
    return PointTable("reconstruction", settings, log.action_set, log.observation_size, points)


def fit_reconstruction(
    data: Outcomes, *, config: ReconstructionConfig, seed: int, on_step: OnStep | None = None
) -> Reconstruction:
    """Points, not yet in the cube, and their decoder."""
    n_features, size, device = data.features.shape[1], data.changes.shape[1], data.features.device
    with seeded(seed):
        model = Reconstruction(data.n_actions, n_features, size, config).to(device)
    descend(
        model.parameters(),
        lambda rows, _: loss(model, data, rows),
        rows=len(data.actions),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        on_step=on_step,
        device=device,
    )
    return model.to(CPU).requires_grad_(False)
