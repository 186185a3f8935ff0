"""MERLION: points whose l1 distances are a pseudometric of the actions' outcomes.

Idea: two actions are near in a state if they pay the same, lead to the same place, and are both
known to the log. Policies learnt on such points generalise over actions, and conservatism
towards logged points means what it should.

Formula (Gu et al., ICML 2022, Eq. 4-7, Alg. 2), e_i = phi(a_i; s), bar = stop-gradient:

    d(a_i, a_j | s) = |R_i - R(s, bar e_j)| + gamma W2(P(.|s, bar e_i), P(.|s, bar e_j))
                      + p [G(a_j|s) / max_a G(a|s) <= tau]
    J(phi) = (|e_i - e_j|_1 - d)^2,  with (s, a_i, R_i, s') logged and a_j uniform over all actions

while P and R are fitted to the logged s' and R_i through e_i, and G to the logged actions.

A variant of our own: K models P and R from first weights of their own, and the mean of their K
distances (`ensemble`). One P is sure of itself where the log has no rows, and a pseudometric of
such guesses misleads (Zang et al., 2023); where K of them differ is what `disagreement` says.

Beyond the paper: rewards and changes of state are scaled (see `outcomes`), G is fitted first,
and the learning rate decays; with the paper's batch of 128 and rate of 0.01 the points of a log
of 100,000 rows and 4,096 actions stay close to noise. Points are then brought into the cube, a
coordinate at a time (see `frame`), so that l1 in the cube, by which actions are decoded, weighs
coordinates anew; `distance_r2` of the probe judges them before. As in Eq. 7 p looks at a_j alone:
where a log's own noise makes most a_i unsupported too, and few of many actions are supported, p is
much the same for all pairs.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, cast, final

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import STRICT
from offline_actrep.decoding import exact
from offline_actrep.decoding.decoder import Calibrated, Decoder, Method, choose, make_index
from offline_actrep.decoding.decoder import restore as restore_index
from offline_actrep.nets.action_vectors import (
    ActionVectors,
    FactorRows,
    FeatureRows,
    FreeVectors,
    MadeVectors,
)
from offline_actrep.nets.batches import batches
from offline_actrep.nets.bilinear import BilinearEncoder
from offline_actrep.nets.computing import CPU, Precision, products_in
from offline_actrep.nets.descent import Descent
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.gaussian import negative_log_likelihood, soft_clip, w2
from offline_actrep.nets.mlp import ActionStateEncoder
from offline_actrep.nets.seeding import seeded
from offline_actrep.representations.decodable import Encoder, Watch, codes_of, head_of
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.outcomes import (
    FEW_ACTIONS,
    MOST_LOGITS,
    BehaviourModel,
    Draws,
    Outcomes,
    RewardModel,
    Support,
    TransitionModel,
    fit_behaviour,
    outcomes,
    relative_probability,
    relative_probability_of,
)

FREE_ACTIONS = 50_000
"""From this many actions on, logs are too short to learn a free vector an action."""
DENSE_ACTIONS = 8192
"""Up to this many actions a step may as well move the whole of a table: with 256 hidden units and
128 rows a step of G and one of the encoder took 8.1 ms (whole tables) and 7.7 (rows) for 4,096
actions, 11.0 and 8.4 for 12,000, 14.1 and 9.1 for 20,000."""


class FreeVectorsWarning(UserWarning):
    """There are more actions than a log can teach a free vector each."""


@dataclass(frozen=True, config=STRICT)
class MerlionConfig:
    """What can be set; the defaults were measured on the maze with 2^12 actions."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.99
    """Weight of the distance between next states."""
    penalty: Annotated[float, Field(ge=0)] = 0.01
    """p, added between a logged action and one that G calls unsupported in that state."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.3
    """tau: an action is unsupported if G is at most this share of the state's largest G."""
    transition: Literal["mean", "gaussian"] = "mean"
    """Whether P is a mean (W2 is the distance of means) or a Gaussian with its own deviations."""
    steps: Annotated[int, Field(ge=1)] = 4000
    """Gradient steps of the encoder."""
    batch_size: Annotated[int, Field(ge=1)] = 1024
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """At the start; decays to 0 as a cosine."""
    embedding: Annotated[int, Field(ge=1)] = 8
    """Length of an action's learnt vector inside the encoder; short ones fit less noise."""
    hidden: Annotated[int, Field(ge=1)] = 128
    """Width of every hidden layer."""
    depth: Annotated[int, Field(ge=1)] = 1
    """Hidden layers of the encoder."""
    encoder: Literal["mlp", "bilinear"] = "mlp"
    """The paper's MLP of state and action, or B(s) u_a + c(s), which decodes three to ten times as
    fast (`embedding` is not used then). In the maze both earn the same; the MLP's neighbours are
    the better ones, and up to some 20,000 actions its decoding is no burden: it is the default."""
    rank: Annotated[int, Field(ge=1)] = 32
    """Length of u_a of a bilinear encoder; in the maze 4 gives better neighbours than 32."""
    ensemble: Annotated[int, Field(ge=1)] = 1
    """K, pairs of P and R whose distances are averaged; 1 is the paper's."""
    behaviour_steps: Annotated[int, Field(ge=1)] = 300
    """Gradient steps of G."""
    action_features: Literal["auto", "none", "table", "factors"] = "auto"
    """What the encoder's vector of an action is made from: nothing but the log (a free row an
    action), the features of the action table, or the `factors` of its id. `auto` takes the factors
    where they are given and the features, if there are any, from 50,000 actions on."""
    factors: tuple[int, ...] = ()
    """Sizes of the parts that an integer id counts through, the last fastest: (2, 2, 2) for ids
    0..7 of three switches."""
    residual: bool = False
    """Whether a free row an action is added to what features or factors say of it."""
    softmax: Literal["auto", "full", "uniform", "frequency"] = "auto"
    """What a step of G looks at: all actions, or the logged ones and `negatives` others, drawn
    uniformly or half of them by frequency. `auto` is full up to 8,192 actions, then frequency."""
    negatives: Annotated[int, Field(ge=1)] = 1024
    """Actions drawn a step where G's softmax is not full."""
    optimiser: Literal["auto", "dense", "rows"] = "auto"
    """Whether a step moves whole tables or the rows it touched; `auto` moves rows above 8,192
    actions."""
    precision: Precision = "float32"
    """Of the fit's products; bfloat16 pays for wide layers and large batches, on a processor that
    knows it."""
    decode: Method = "auto"
    """How the nearest action is searched for; `auto` chooses by the number of actions."""
    recall: Annotated[float, Field(gt=0, le=1)] = 1.0
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
        known: FeatureRows | FactorRows | None = None,
    ) -> None:
        super().__init__()
        self.action_set = action_set
        self.dim = config.dim
        self.observation_size = size
        self.settings = config
        self.features = features
        n_features = features.size
        self.known = _name_of(known)
        self.encoder = _new_encoder(len(action_set), n_features, config, known)
        self.transition = TransitionModel(n_features, config.dim, size, config.hidden)
        self.reward = RewardModel(n_features, config.dim, config.hidden)
        self.behaviour = BehaviourModel(n_features, len(action_set), config.hidden)
        more = range(1, config.ensemble)
        self.more_transitions = nn.ModuleList(
            TransitionModel(n_features, config.dim, size, config.hidden) for _ in more
        )
        self.more_rewards = nn.ModuleList(
            RewardModel(n_features, config.dim, config.hidden) for _ in more
        )
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
        shared = torch.from_numpy(self.decoder().codes.table)
        return self.frame.to_cube(self.encoder.all_actions(self.features(observations), shared))

    @torch.no_grad()
    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        return self.decoder().nearest(observations, points, allowed)

    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
        return self.decoder().neighbours(observations, points, count, allowed)

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
        """Both rewards are the models' here, and `left` is held for supported."""
        features = self.features(observations)
        point_i, point_j = self.encoder(features, left), self.encoder(features, right)
        return l1(point_i, point_j), self._wanted(features, point_i, point_j, right).mean(dim=0)

    @torch.no_grad()
    def disagreement(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> Float[Tensor, " B"] | None:
        if self.settings.ensemble == 1:
            return None
        features = self.features(observations)
        point_i, point_j = self.encoder(features, left), self.encoder(features, right)
        return self._wanted(features, point_i, point_j, right).std(dim=0, correction=0)

    def _wanted(
        self,
        features: Float[Tensor, "B F"],
        point_i: Float[Tensor, "B E"],
        point_j: Float[Tensor, "B E"],
        right: Int64[Tensor, " B"],
    ) -> Float[Tensor, "K B"]:
        share = relative_probability_of(self.behaviour, features, right)
        return target_distances(
            self,
            features,
            torch.stack([reward(features, point_i) for reward in self.rewards()]),
            [_outcome(self, *model(features, point_i)) for model in self.transitions()],
            point_j,
            share <= self.settings.threshold,
        )

    def transitions(self) -> list[TransitionModel]:
        """P of every member of the ensemble."""
        return [self.transition, *cast(list[TransitionModel], self.more_transitions)]

    def rewards(self) -> list[RewardModel]:
        """R of every member."""
        return [self.reward, *cast(list[RewardModel], self.more_rewards)]

    @torch.no_grad()
    def unsupported(self, observations: Float[Tensor, "B S"]) -> Bool[Tensor, "B A"]:
        features, n_actions = self.features(observations), len(self.action_set)
        many = n_actions > FEW_ACTIONS
        parts = features.split(max(1, MOST_LOGITS // n_actions) if many else len(features))
        shares = (relative_probability(self.behaviour(part)) for part in parts)
        return torch.cat([share <= self.settings.threshold for share in shares])

    def config(self) -> dict[str, object]:
        return {
            "method": "merlion",
            "settings": asdict(self.settings),
            "observation_size": self.observation_size,
            "features": asdict(self.features.config),
            "reward_scale": self.reward_scale,
            "known": self.known,
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
    known = _blank(config.get("known"), len(action_set), settings)
    model = Merlion(action_set, features, config["observation_size"], settings, known)
    model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(INDEX)})
    model.reward_scale = config["reward_scale"]
    model.requires_grad_(False)
    if config.get("index") is not None:
        parts = {k.removeprefix(INDEX): v for k, v in tensors.items() if k.startswith(INDEX)}
        model.indexed = restore_index(model.decoder().codes, config["index"], parts)
        model._decoder = None
    return model


def _new_encoder(
    n_actions: int,
    n_features: int,
    config: MerlionConfig,
    known: FeatureRows | FactorRows | None,
) -> Encoder:
    hidden = [config.hidden] * config.depth
    width = config.rank if config.encoder == "bilinear" else config.embedding
    vectors: ActionVectors
    if known is None:
        vectors = FreeVectors(n_actions, width, sparse=_moves_rows(config, n_actions))
    else:
        own = None
        if config.residual:
            own = FreeVectors(n_actions, width, sparse=_moves_rows(config, n_actions))
        vectors = MadeVectors(known, config.hidden, width, own)
    if config.encoder == "bilinear":
        return BilinearEncoder(n_actions, n_features, config.dim, width, hidden, vectors)
    return ActionStateEncoder(n_actions, n_features, config.dim, width, hidden, vectors)


def _moves_rows(config: MerlionConfig, n_actions: int) -> bool:
    many = n_actions > DENSE_ACTIONS
    return many if config.optimiser == "auto" else config.optimiser == "rows"


def _draws(config: MerlionConfig, n_actions: int) -> Draws | None:
    """None where G's softmax is over all actions."""
    if config.softmax == "full" or (config.softmax == "auto" and n_actions <= FEW_ACTIONS):
        return None
    kind = "frequency" if config.softmax == "auto" else config.softmax
    return Draws(kind, config.negatives)


def known_of(action_set: ActionSet, config: MerlionConfig) -> FeatureRows | FactorRows | None:
    """What the encoder is told of actions; None for a free vector each.

    Raises:
        ValueError: features or factors are asked for and not there, or do not fit the ids.
    """
    asked, features, many = config.action_features, action_set.features, FREE_ACTIONS
    has_features = features is not None and features.shape[1] > 0
    if asked == "factors" or (asked == "auto" and config.factors):
        if not config.factors:
            raise ValueError('action_features = "factors" needs `factors`, e.g. (10, 10, 10)')
        return FactorRows.of(action_set.ids, config.factors, config.hidden)
    if asked == "table" and not has_features:
        raise ValueError(
            'action_features = "table" needs an action set with features [A, F]; this one has '
            "none: add feature columns to the action table (or ActionSet(ids, features=...))"
        )
    if asked == "table" or (asked == "auto" and has_features and len(action_set) >= many):
        assert features is not None
        return FeatureRows.of(features)
    return None


def _warn_of_free_vectors(log: Log, config: MerlionConfig) -> None:
    n_actions = len(log.action_set)
    looks = config.steps * config.batch_size / n_actions
    warnings.warn(
        f"{n_actions:,} actions get a free vector each from {len(log):,} rows: {config.steps:,} "
        f"steps of {config.batch_size:,} rows meet each action {looks:.1f} times as a logged one, "
        "and the points are likely to be noise. Give the action table feature columns "
        '(action_features = "table"), or say what ids are made of (factors = (1000, 100), say); '
        "failing both, log longer or choose among fewer actions",
        FreeVectorsWarning,
        stacklevel=3,
    )


def _name_of(known: FeatureRows | FactorRows | None) -> dict[str, Any] | None:
    """What must be kept to make an empty one of its kind."""
    if known is None:
        return None
    return {
        "kind": "features" if isinstance(known, FeatureRows) else "factors",
        "width": known.width,
    }


def _blank(
    name: dict[str, Any] | None, n_actions: int, config: MerlionConfig
) -> FeatureRows | FactorRows | None:
    if name is None:
        return None
    if name["kind"] == "features":
        return FeatureRows(n_actions, name["width"])
    return FactorRows(n_actions, config.factors, name["width"])


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


@torch.no_grad()
def target_distances(
    model: Merlion,
    features: Float[Tensor, "B F"],
    rewards_i: Float[Tensor, "K B"],
    outcomes_i: Sequence[tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]],
    point_j: Float[Tensor, "B E"],
    unsupported: Bool[Tensor, " B"],
) -> Float[Tensor, "K B"]:
    """The pseudometric of logged actions i and others j as each member estimates it.

    No gradient flows from it.
    """
    distances = []
    members = zip(model.transitions(), model.rewards(), outcomes_i, rewards_i, strict=True)
    for transition, reward, outcome_i, reward_i in members:
        distances.append(
            pseudometric(
                reward_i=reward_i,
                reward_j=reward(features, point_j),
                transition_distance=w2(
                    *outcome_i, *_outcome(model, *transition(features, point_j))
                ),
                unsupported=unsupported,
                gamma=model.settings.gamma,
                penalty=model.settings.penalty,
            )
        )
    return torch.stack(distances)


@torch.no_grad()
def _outcome(
    model: Merlion, mean: Float[Tensor, "B S"], log_std: Float[Tensor, "B S"]
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    """Mean and deviation of the next state, from what the transition model says."""
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
    features, actions, rewards, changes = (
        part.index_select(0, rows)
        for part in (data.features, data.actions, data.rewards, data.changes)
    )
    both = model.encoder(features.repeat(2, 1), torch.cat([actions, others])).float()
    point_i, point_j = both.chunk(2)
    said = [transition(features, point_i) for transition in model.transitions()]
    targets = target_distances(
        model,
        features,
        rewards.expand(len(said), -1),
        [_outcome(model, *each) for each in said],
        point_j,
        unsupported,
    )
    known = data.has_next.index_select(0, rows).float()[:, None]
    errors = torch.stack([_error(model, mean, std, changes) for mean, std in said]).mean(dim=0)
    guesses = torch.stack([reward(features, point_i) for reward in model.rewards()])
    return {
        "distance": ((l1(point_i, point_j) - targets.mean(dim=0)) ** 2).mean(),
        "transition": (errors * known).sum() / known.sum().clamp_min(1.0),
        "reward": ((guesses - rewards) ** 2).mean(),
    }


def _error(
    model: Merlion,
    mean: Float[Tensor, "B S"],
    log_std: Float[Tensor, "B S"],
    changes: Float[Tensor, "B S"],
) -> Float[Tensor, "B S"]:
    """What one transition model is wrong by, a coordinate each."""
    if model.settings.transition == "mean":
        return (mean - changes) ** 2
    return negative_log_likelihood(mean, soft_clip(log_std, -5.0, 2.0), changes)


def fit(
    log: Log,
    *,
    config: MerlionConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> Merlion:
    """Fits G, then encoder, transition and reward models together, then the frame.

    Same log, config and seed: same points, bit for bit, on one machine with one torch thread.

    Raises:
        ValueError: the log has no row whose next state is known.
    """
    n_actions = len(log.action_set)
    seen = ObservationFeatures.of(log.observations, features)
    data = outcomes(log, seen, device)
    with seeded(seed):
        known = known_of(log.action_set, config)
        if known is None and n_actions >= FREE_ACTIONS:
            _warn_of_free_vectors(log, config)
        model = Merlion(log.action_set, seen, log.observation_size, config, known).to(device)
        model.behaviour = fit_behaviour(
            data,
            hidden=config.hidden,
            steps=config.behaviour_steps,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=seed,
            draws=_draws(config, n_actions),
            sparse=_moves_rows(config, n_actions),
            precision=config.precision,
            on_step=on_step,
        )
    model.reward_scale = data.reward_scale
    _fit_encoder(model, data, seed=seed, on_step=on_step)
    _fit_frame(model, data, seed=seed)
    model.to(CPU).requires_grad_(False)
    _fit_index(model, log, seed=seed)
    return model


def _fit_encoder(model: Merlion, data: Outcomes, *, seed: int, on_step: OnStep | None) -> None:
    config, device = model.settings, data.features.device
    parts = nn.ModuleList([model.encoder, *model.transitions(), *model.rewards()])
    tables = model.encoder.actions.tables()
    whole = [w for w in parts.parameters() if not any(w is table for table in tables)]
    descent = Descent(whole, tables=tables, learning_rate=config.learning_rate, steps=config.steps)
    generator = torch.Generator().manual_seed(seed)
    support = Support(model.behaviour, data.features, data.actions, config.threshold)
    steps = batches(len(data.actions), config.batch_size, config.steps, generator, device)
    for step, rows in enumerate(steps, 1):
        others = torch.randint(data.n_actions, (len(rows),), generator=generator).to(device)
        unsupported = support.lacks(rows, others)
        with products_in(config.precision, device):
            parts_of_loss = loss(model, data, rows, others, unsupported)
        descent.step(parts_of_loss)
        tell(on_step, step, config.steps, {k: v.item() for k, v in parts_of_loss.items()})


@torch.no_grad()
def _fit_frame(model: Merlion, data: Outcomes, *, seed: int, states: int = 256) -> None:
    """On all actions, or on as many as `FEW_ACTIONS` drawn at random."""
    generator, device = torch.Generator().manual_seed(seed), data.features.device
    rows = torch.randint(len(data.actions), (states,), generator=generator).to(device)
    some = None
    if data.n_actions > FEW_ACTIONS:
        some = torch.randint(data.n_actions, (FEW_ACTIONS,), generator=generator).to(device)
    shared = model.encoder.per_action(some)
    raw = [
        model.encoder.all_actions(data.features[row], shared).flatten(0, 1)
        for row in rows.split(exact.states_at_once(len(shared), model.settings.hidden))
    ]
    model.frame.fit(torch.cat(raw))


def _fit_index(model: Merlion, log: Log, *, seed: int) -> None:
    """What the search needs if it need not be exact: nothing, or an index and its recall."""
    if model.settings.recall == 1.0:
        return
    decoder = model.decoder()
    method = choose(decoder.codes, recall=model.settings.recall, method=model.settings.decode)
    if method in ("graph", "ivf"):
        model.indexed = make_index(
            decoder.codes, decoder.head, log.observations, method=method, seed=seed
        )
        model._decoder = None
