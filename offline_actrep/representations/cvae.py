"""Points in a state from which a decoder can tell the outcome: MERLION without its distance.

Idea: a conditional variational autoencoder of outcomes. The encoder sees the state and the action,
the decoder the state and a noisy point; noise and prior keep the points together, and nothing is
asked of the distances between two actions.

Formula (the ablation CVAE of Gu et al., ICML 2022, Fig. 3; Sohn et al., NeurIPS 2015):
q(e | s, a) = N(phi(a; s), diag sigma(a; s)^2), and with (s, a, R, s') logged and e drawn from q

    J = |P(s, e) - s'|^2 + (R(s, e) - R)^2 + beta KL(q(. | s, a) || N(0, I))

The point of an action is the mean phi(a; s). Gu et al. only remove MERLION's distance and call
what is left similar to a CVAE, so they may have had neither noise nor prior: `beta = 0`, with
which sigma is free to vanish.
"""

from dataclasses import asdict
from typing import Annotated, Any, final

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import STRICT
from offline_actrep.decoding import exact
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.learning import OutcomeDecoder, decoding_error, descend
from offline_actrep.representations.outcomes import Outcomes, outcomes


@dataclass(frozen=True, config=STRICT)
class CvaeConfig:
    """What can be set; what learning shares with MERLION has MERLION's defaults."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""
    beta: Annotated[float, Field(ge=0)] = 1e-3
    """Weight of the divergence from the prior, in nats, beside squared errors."""
    steps: Annotated[int, Field(ge=1)] = 4000
    """Gradient steps."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """At the start; decays to 0 as a cosine."""
    embedding: Annotated[int, Field(ge=1)] = 8
    """Length of an action's learnt vector inside the encoder."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Width of every hidden layer."""
    depth: Annotated[int, Field(ge=1)] = 1
    """Hidden layers of the encoder."""


@final
class Cvae(nn.Module, AbstractRepresentation):
    """The encoder's means, in the cube."""

    def __init__(
        self,
        action_set: ActionSet,
        features: ObservationFeatures,
        size: int,
        config: CvaeConfig,
    ) -> None:
        super().__init__()
        self.action_set = action_set
        self.dim = config.dim
        self.observation_size = size
        self.settings = config
        self.features = features
        self.encoder = _encoder(len(action_set), features.size, config)
        self.frame = Frame(config.dim)

    @torch.no_grad()
    def embed(
        self, observations: Float[Tensor, "B S"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        return self.frame.to_cube(self.encoder(self.features(observations), actions))

    @torch.no_grad()
    def table(self, observations: Float[Tensor, "B S"]) -> Float[Tensor, "B A E"]:
        features, shared = self.features(observations), self.encoder.per_action()
        return self.frame.to_cube(self.encoder.all_actions(features, shared))

    @torch.no_grad()
    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        table, chunk, mask = self._searched(observations, allowed)
        return exact.nearest(points, table, chunk, mask)

    @torch.no_grad()
    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
        table, chunk, mask = self._searched(observations, allowed)
        return exact.neighbours(points, table, chunk, count, mask)

    def _searched(
        self, observations: Float[Tensor, "B S"], allowed: AllowedActions | None
    ) -> tuple[exact.Table, int, Bool[Tensor, "B A"] | None]:
        """What the exact search takes: tables of points by rows, rows at once, and the mask."""
        features, shared = self.features(observations), self.encoder.per_action()
        n_actions = len(self.action_set)
        return (
            lambda rows: self.frame.to_cube(self.encoder.all_actions(features[rows], shared)),
            exact.states_at_once(n_actions, self.settings.hidden),
            None if allowed is None else torch.from_numpy(allowed.mask(n_actions)),
        )

    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> None:
        del observations, left, right

    def disagreement(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> None:
        del observations, left, right

    def unsupported(self, observations: Float[Tensor, "B S"]) -> None:
        del observations

    def config(self) -> dict[str, object]:
        return {
            "method": "cvae",
            "settings": asdict(self.settings),
            "observation_size": self.observation_size,
            "features": asdict(self.features.config),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return dict(self.state_dict())


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> Cvae:
    """From what `config` and `tensors` gave."""
    size = config["observation_size"]
    features = ObservationFeatures(size, FeatureConfig(**config["features"]))
    model = Cvae(action_set, features, size, CvaeConfig(**config["settings"]))
    model.load_state_dict(tensors)
    return model.requires_grad_(False)


def divergence(mean: Float[Tensor, "B E"], log_std: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
    """KL(N(mean, diag std^2) || N(0, I)), in nats."""
    return 0.5 * (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(dim=1)


@final
class Autoencoder(nn.Module):
    """The encoder's two halves, phi and ln sigma, and the decoder; only phi outlives learning."""

    def __init__(self, encoder: ActionStateEncoder, data: Outcomes, config: CvaeConfig) -> None:
        super().__init__()
        n_features, size = data.features.shape[1], data.changes.shape[1]
        self.mean = encoder
        self.log_std = _encoder(data.n_actions, n_features, config)
        self.decoder = OutcomeDecoder(n_features, config.dim, size, config.hidden)


def loss(
    model: Autoencoder,
    data: Outcomes,
    rows: Int64[Tensor, " B"],
    noise: Float[Tensor, "B E"],
    *,
    beta: float,
) -> dict[str, Float[Tensor, ""]]:
    """`transition` and `reward`, as MERLION weighs them, and the weighed `divergence`."""
    features, actions = data.features[rows], data.actions[rows]
    mean = model.mean(features, actions)
    log_std = model.log_std(features, actions)
    points = mean + log_std.exp() * noise
    parts = decoding_error(model.decoder, data, rows, points)
    return parts | {"divergence": beta * divergence(mean, log_std).mean()}


def fit(
    log: Log,
    *,
    config: CvaeConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> Cvae:
    """Fits encoder and decoder together, then the frame.

    Same log, config and seed: same points, bit for bit, on one machine with one torch thread.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    seen = ObservationFeatures.of(log.observations, features)
    data = outcomes(log, seen, device)
    with seeded(seed):
        model = Cvae(log.action_set, seen, log.observation_size, config)
        learning = Autoencoder(model.encoder, data, config).to(device)
    model.to(device)

    def of_batch(rows: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.randn((len(rows), config.dim), generator=generator).to(device)
        return loss(learning, data, rows, noise, beta=config.beta)

    descend(
        learning.parameters(),
        of_batch,
        rows=len(data.actions),
        steps=config.steps,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=seed,
        on_step=on_step,
        device=device,
    )
    _fit_frame(model, data, seed=seed)
    return model.to(CPU).requires_grad_(False)


def _encoder(n_actions: int, n_features: int, config: CvaeConfig) -> ActionStateEncoder:
    hidden = [config.hidden] * config.depth
    return ActionStateEncoder(n_actions, n_features, config.dim, config.embedding, hidden)


@torch.no_grad()
def _fit_frame(model: Cvae, data: Outcomes, *, seed: int, states: int = 256) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(data.actions), (states,), generator=generator)
    rows = rows.to(data.features.device)
    shared = model.encoder.per_action()
    raw = [
        model.encoder.all_actions(data.features[part], shared).flatten(0, 1)
        for part in rows.split(exact.states_at_once(data.n_actions, model.settings.hidden))
    ]
    model.frame.fit(torch.cat(raw))
