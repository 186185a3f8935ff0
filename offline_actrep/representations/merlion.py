"""MERLION: points whose l1 distances are a pseudometric of the actions' outcomes.

Idea: two actions are near in a state if they pay the same, lead to the same place, and are both
known to the log. Policies learnt on such points generalise over actions, and conservatism
towards logged points means what it should.

Formula (Gu et al., ICML 2022, Eq. 4-7, Alg. 2), e_i = phi(a_i; s), bar = stop-gradient:

    d(a_i, a_j | s) = |R_i - R(s, bar e_j)| + gamma W2(P(.|s, bar e_i), P(.|s, bar e_j))
                      + p [G(a_j|s) / max_a G(a|s) <= tau]
    J(phi) = (|e_i - e_j|_1 - d)^2,  with (s, a_i, R_i, s') logged and a_j uniform over all actions

while P and R are fitted to the logged s' and R_i through e_i, and G to the logged actions.

Beyond the paper: rewards and changes of state are scaled (see `outcomes`), G is fitted first,
and the learning rate decays; with the paper's batch of 128 and rate of 0.01 the points of a log
of 100,000 rows and 4,096 actions stay close to noise.
"""

from dataclasses import asdict
from typing import Any, Literal, final

import torch
from jaxtyping import Bool, Float, Int64
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.decoding import exact
from offline_actrep.decoding.decoder import Calibrated, Decoder, Method, choose, make_index
from offline_actrep.decoding.decoder import restore as restore_index
from offline_actrep.nets.batches import batches
from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.gaussian import negative_log_likelihood, soft_clip, w2
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.decodable import Encoder, Watch, codes_of, head_of
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.outcomes import (
    BehaviourModel,
    Outcomes,
    RewardModel,
    Support,
    TransitionModel,
    fit_behaviour,
    outcomes,
    relative_probability,
)


@dataclass(frozen=True, config={"extra": "forbid"})
class MerlionConfig:
    """What can be set; the defaults were measured on the maze with 2^12 actions."""

    dim: int = 2
    """E, coordinates of a point."""
    gamma: float = 0.99
    """Weight of the distance between next states."""
    penalty: float = 0.01
    """p, added between a logged action and one the log does not support in that state."""
    threshold: float = 0.3
    """tau: an action is unsupported if G is at most this share of the state's largest G."""
    transition: Literal["mean", "gaussian"] = "mean"
    """Whether P is a mean (W2 is the distance of means) or a Gaussian with its own deviations."""
    steps: int = 4000
    """Gradient steps of the encoder."""
    batch_size: int = 1024
    learning_rate: float = 3e-3
    """At the start; decays to 0 as a cosine."""
    embedding: int = 8
    """Length of an action's learnt vector inside the encoder; short ones fit less noise."""
    hidden: int = 128
    """Width of every hidden layer."""
    depth: int = 1
    """Hidden layers of the encoder."""
    encoder: Literal["mlp", "bilinear"] = "mlp"
    """The paper's MLP of state and action, or B(s) u_a + c(s), which decodes several times as fast
    (`embedding` is not used then)."""
    rank: int = 32
    """Length of u_a of a bilinear encoder."""
    behaviour_steps: int = 300
    """Gradient steps of G."""
    decode: Method = "auto"
    """How the nearest action is searched for; `auto` chooses by the number of actions."""
    recall: float = 1.0
    """Share of nearest actions that the search must find; below 1, and from 50,000 actions on, the
    fit makes an index for it."""


INDEX = "index."
"""What the names of an index's tensors begin with."""


@final
class Merlion(nn.Module, AbstractRepresentation):
    """A fitted MERLION encoder with its models of the log."""

    def __init__(
        self,
        action_set: ActionSet,
        features: ObservationFeatures,
        size: int,
        config: MerlionConfig,
    ) -> None:
        super().__init__()
        self.action_set = action_set
        self.dim = config.dim
        self.observation_size = size
        self.settings = config
        self.features = features
        n_features = features.size
        self.encoder = _new_encoder(len(action_set), n_features, config)
        self.transition = TransitionModel(n_features, config.dim, size, config.hidden)
        self.reward = RewardModel(n_features, config.dim, config.hidden)
        self.behaviour = BehaviourModel(n_features, len(action_set), config.hidden)
        self.frame = Frame(config.dim)
        self.reward_scale = 1.0
        self.indexed: Calibrated | None = None
        self._decoder: tuple[Watch, Decoder] | None = None

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
        return self.decoder().nearest(observations, points, allowed)

    def decoder(self) -> Decoder:
        """What searches for the nearest action; made anew when a weight has changed."""
        if self._decoder is None or not self._decoder[0].saw_nothing():
            made = Decoder(
                codes_of(self.encoder),
                head_of(self.encoder, self.features, self.frame),
                recall=self.settings.recall,
                method=self.settings.decode,
                indexed=self.indexed,
            )
            self._decoder = Watch(self.encoder, self.frame), made
        return self._decoder[1]

    @torch.no_grad()
    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Both rewards are the model's here, and `left` is held for supported."""
        features = self.features(observations)
        point_i, point_j = self.encoder(features, left), self.encoder(features, right)
        share = relative_probability(self.behaviour(features)).gather(1, right[:, None])[:, 0]
        wanted = target_distance(
            self,
            features,
            self.reward(features, point_i),
            point_i,
            point_j,
            share <= self.settings.threshold,
        )
        return l1(point_i, point_j), wanted

    @torch.no_grad()
    def unsupported(self, observations: Float[Tensor, "B S"]) -> Bool[Tensor, "B A"]:
        share = relative_probability(self.behaviour(self.features(observations)))
        return share <= self.settings.threshold

    def config(self) -> dict[str, object]:
        return {
            "method": "merlion",
            "settings": asdict(self.settings),
            "observation_size": self.observation_size,
            "features": asdict(self.features.config),
            "reward_scale": self.reward_scale,
            "index": None if self.indexed is None else self.indexed.config(),
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        index = {} if self.indexed is None else self.indexed.index.tensors()
        return {**self.state_dict(), **{INDEX + name: part for name, part in index.items()}}


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> Merlion:
    """From what `config` and `tensors` gave."""
    features = ObservationFeatures(config["observation_size"], FeatureConfig(**config["features"]))
    settings = MerlionConfig(**config["settings"])
    model = Merlion(action_set, features, config["observation_size"], settings)
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(INDEX)})
    model.reward_scale = config["reward_scale"]
    model.requires_grad_(False)
    if config.get("index") is not None:
        parts = {k.removeprefix(INDEX): v for k, v in tensors.items() if k.startswith(INDEX)}
        model.indexed = restore_index(model.decoder().codes, config["index"], parts)
        model._decoder = None
    return model


def _new_encoder(n_actions: int, n_features: int, config: MerlionConfig) -> Encoder:
    hidden = [config.hidden] * config.depth
    if config.encoder == "bilinear":
        return BilinearEncoder(n_actions, n_features, config.dim, config.rank, hidden)
    return ActionStateEncoder(n_actions, n_features, config.dim, config.embedding, hidden)


def pseudometric(
    *,
    reward_i: Float[Tensor, " B"],
    reward_j: Float[Tensor, " B"],
    transition_distance: Float[Tensor, " B"],
    unsupported: Bool[Tensor, " B"],
    gamma: float,
    penalty: float,
) -> Float[Tensor, " B"]:
    """d(a_i, a_j | s) of Eq. 7; rewards in units of the log's largest, distances whitened."""
    return (reward_i - reward_j).abs() + gamma * transition_distance + penalty * unsupported


def l1(left: Float[Tensor, "B E"], right: Float[Tensor, "B E"]) -> Float[Tensor, " B"]:
    """Sum of absolute differences."""
    return (left - right).abs().sum(dim=1)


def target_distance(
    model: Merlion,
    features: Float[Tensor, "B F"],
    rewards_i: Float[Tensor, " B"],
    point_i: Float[Tensor, "B E"],
    point_j: Float[Tensor, "B E"],
    unsupported: Bool[Tensor, " B"],
) -> Float[Tensor, " B"]:
    """The estimated pseudometric of logged actions i and others j; no gradient flows from it."""
    with torch.no_grad():
        mean_i, std_i = _outcome(model, features, point_i)
        mean_j, std_j = _outcome(model, features, point_j)
        return pseudometric(
            reward_i=rewards_i,
            reward_j=model.reward(features, point_j),
            transition_distance=w2(mean_i, std_i, mean_j, std_j),
            unsupported=unsupported,
            gamma=model.settings.gamma,
            penalty=model.settings.penalty,
        )


def _outcome(
    model: Merlion, features: Float[Tensor, "B F"], points: Float[Tensor, "B E"]
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    mean, log_std = model.transition(features, points)
    if model.settings.transition == "mean":
        return mean, torch.zeros_like(mean)
    return mean, soft_clip(log_std, -5.0, 2.0).exp()


def loss(
    model: Merlion,
    data: Outcomes,
    rows: Int64[Tensor, " B"],
    others: Int64[Tensor, " B"],
    unsupported: Bool[Tensor, " B"],
) -> dict[str, Float[Tensor, ""]]:
    """The parts of one step's loss: `distance`, `transition`, `reward` (Alg. 2)."""
    features, actions = data.features[rows], data.actions[rows]
    both = model.encoder(features.repeat(2, 1), torch.cat([actions, others]))
    point_i, point_j = both.chunk(2)
    target = target_distance(model, features, data.rewards[rows], point_i, point_j, unsupported)
    mean, log_std = model.transition(features, point_i)
    changes, known = data.changes[rows], data.has_next[rows].float()[:, None]
    if model.settings.transition == "mean":
        error = (mean - changes) ** 2
    else:
        error = negative_log_likelihood(mean, soft_clip(log_std, -5.0, 2.0), changes)
    return {
        "distance": ((l1(point_i, point_j) - target) ** 2).mean(),
        "transition": (error * known).sum() / known.sum().clamp_min(1.0),
        "reward": ((model.reward(features, point_i) - data.rewards[rows]) ** 2).mean(),
    }


def fit(
    log: Log,
    *,
    config: MerlionConfig,
    features: FeatureConfig,
    seed: int,
    on_step: OnStep | None = None,
) -> Merlion:
    """Fits G, then encoder, transition and reward models together, then the frame.

    Same log, config and seed: same points, bit for bit, on one machine with one torch thread.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    seen = ObservationFeatures.of(log.observations, features)
    data = outcomes(log, seen)
    with seeded(seed):
        model = Merlion(log.action_set, seen, log.observation_size, config)
        model.behaviour = fit_behaviour(
            data,
            hidden=config.hidden,
            steps=config.behaviour_steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=seed,
            on_step=on_step,
        )
    model.reward_scale = data.reward_scale
    _fit_encoder(model, data, seed=seed, on_step=on_step)
    _fit_frame(model, data, seed=seed)
    model.requires_grad_(False)
    _fit_index(model, log, seed=seed)
    return model


def _fit_encoder(model: Merlion, data: Outcomes, *, seed: int, on_step: OnStep | None) -> None:
    config = model.settings
    parts = nn.ModuleList([model.encoder, model.transition, model.reward])
    optimiser = torch.optim.Adam(parts.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(config.steps, 1))
    generator = torch.Generator().manual_seed(seed)
    support = Support(model.behaviour, data.features, config.threshold)
    steps = batches(len(data.actions), config.batch_size, config.steps, generator)
    for step, rows in enumerate(steps, 1):
        others = torch.randint(data.n_actions, (len(rows),), generator=generator)
        parts_of_loss = loss(model, data, rows, others, support.lacks(rows, others))
        optimiser.zero_grad()
        torch.stack(list(parts_of_loss.values())).sum().backward()
        optimiser.step()
        schedule.step()
        tell(on_step, step, config.steps, {k: v.item() for k, v in parts_of_loss.items()})


@torch.no_grad()
def _fit_frame(model: Merlion, data: Outcomes, *, seed: int, states: int = 256) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(data.actions), (states,), generator=generator)
    shared = model.encoder.per_action()
    raw = [
        model.encoder.all_actions(data.features[row], shared).flatten(0, 1)
        for row in rows.split(exact.states_at_once(data.n_actions, model.settings.hidden))
    ]
    model.frame.fit(torch.cat(raw))


def _fit_index(model: Merlion, log: Log, *, seed: int) -> None:
    """What the search needs if it need not be exact: nothing, or an index and its recall."""
    decoder = model.decoder()
    method = choose(decoder.codes, recall=model.settings.recall, method=model.settings.decode)
    if method in ("graph", "ivf") and model.settings.recall < 1.0:
        model.indexed = make_index(
            decoder.codes, decoder.head, log.observations, method=method, seed=seed
        )
        model._decoder = None
