"""Fitted Q evaluation: the value of a policy from the log alone, through d3rlpy.

Idea: learn the Q function of the policy that is to be judged, by Bellman backups on logged rows,
and read it at the episodes' first states.

Formula (Le et al. 2019): Q <- argmin E_D[(Q(s, a) - r - gamma Q'(s', pi(s')))^2], Q' a copy of Q
made every `target_update_interval` steps; the estimate is the mean of Q(s_0, pi(s_0)). Actions are
the points of *decoded* actions where the policy has a representation, so that Q generalises over
actions, and ids otherwise. For ids d3rlpy takes Huber's loss with delta 1 in place of the square,
in scaled reward: where targets scatter by more than that, Q lies between their mean and median.

Where the log says which actions each row allowed, pi chooses among those, in s' as in s_0. The set
of s' stands in the episode's next row, so the last row of an episode that was cut off, whose next
set is not logged, teaches nothing.

The interval comes from refitting on episodes drawn with replacement (bootstrapping FQE, Hao et al.
2021), with Student's t for the few refits that are affordable; it covers the noise of the log and
of the fit, not a bias that all fits share.
"""

import contextlib
import io
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import stats

from offline_actrep.core.actions import AllowedActions
from offline_actrep.core.estimate import Estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractPolicy
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import device_of, learning_on, numbered
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.nets.seeding import seeded

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    from d3rlpy.dataset import TransitionMiniBatch
    from d3rlpy.models import EncoderFactory, VectorEncoderFactory
    from d3rlpy.models.torch import Encoder, EncoderWithAction
    from d3rlpy.ope import FQE, DiscreteFQE, FQEConfig


@dataclass(frozen=True, config=STRICT)
class FqeConfig:
    """What can be set."""

    steps: Annotated[int, Field(ge=1)] = 4000
    """Gradient steps of one fit."""
    refits: Annotated[int, Field(ge=2)] = 3
    """Fits, each on its own bootstrap sample of the episodes; at least 2."""
    rows: Annotated[int, Field(ge=0)] = 20_000
    """Most rows of the log to use, in whole episodes drawn at random; 0 for all."""
    batch_size: Annotated[int, Field(ge=1)] = 256
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 128)
    """Widths of Q's hidden layers."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    target_update_interval: Annotated[int, Field(ge=1)] = 50
    """Steps between copies of the target."""

    @property
    def decisions_ahead(self) -> int:
        """How far it sees: with every copy of the target a reward comes back by one decision."""
        return -(-self.steps // self.target_update_interval)


def fqe(
    log: Log,
    policy: AbstractPolicy,
    *,
    features: ObservationFeatures,
    representation: AbstractRepresentation | None,
    gamma: float,
    reward_scale: float,
    config: FqeConfig,
    seed: int,
    device: str = "auto",
    on_step: OnStep | None = None,
) -> Estimate:
    """Expected discounted return from the log's start states, in its unit of reward.

    Args:
        log: the logged rows.
        policy: what to judge.
        features: what Q sees of an observation.
        representation: gives Q the points of actions; None for one output an id.
        gamma: discount a decision, in [0, 1].
        reward_scale: rewards are multiplied by it while Q learns.
        config: of the fit.
        seed: of the sample of episodes, the resamples, the weights and the batches.
        device: where Q learns: `auto` for a GPU if there is one, or as torch names it.
        on_step: is told where the work stands.

    Raises:
        ValueError: a discount outside [0, 1], an unknown device, or a log without a row whose next
            state is known.
    """
    chosen = device_of(device)
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma, the discount a decision, lies in [0, 1], got {gamma}")
    draws = np.random.default_rng(seed)
    part = _whole_episodes(log, config.rows, draws)
    usable = _usable(part)
    if not usable.any():
        raise ValueError(
            "no row of the log can be learnt from: none has a next observation"
            f"{'' if part.allowed is None else ' and allowed actions there'} and none terminates"
        )
    problem = _problem(part, policy, features, representation, reward_scale)
    values = np.zeros(config.refits)
    for refit in range(config.refits):
        episodes = _resample(part, usable, draws)
        rows = _rows(part, usable, episodes)
        with learning_on(chosen), seeded(seed + refit):
            q = _fit(problem, rows, gamma, config, draws, refit, chosen, on_step)
        values[refit] = _start_value(q, problem, episodes) / reward_scale
    return _interval(values, part.n_episodes)


@final
@plain_dataclass(frozen=True)
class _Problem:
    """The columns of one judgement; the policy's own next actions are found once."""

    features: Float32[np.ndarray, "N F"]
    actions: Float32[np.ndarray, "N D"]
    rewards: Float32[np.ndarray, " N"]
    next_features: Float32[np.ndarray, "N F"]
    next_actions: Float32[np.ndarray, "N D"]
    terminals: Float32[np.ndarray, " N"]
    start_features: Float32[np.ndarray, "M F"]
    start_actions: Float32[np.ndarray, "M D"]
    discrete: bool
    action_size: int

    def batch(self, rows: Int64[np.ndarray, " B"]) -> TransitionMiniBatch:
        blank = np.zeros_like(self.next_actions[rows])
        return TransitionMiniBatch(
            observations=np.hstack([self.features[rows], blank]),
            actions=self.actions[rows],
            rewards=self.rewards[rows, None],
            next_observations=np.hstack([self.next_features[rows], self.next_actions[rows]]),
            next_actions=self.next_actions[rows],
            terminals=self.terminals[rows, None],
            intervals=np.ones((len(rows), 1), np.float32),
            transitions=(),
        )


def _problem(
    log: Log,
    policy: AbstractPolicy,
    features: ObservationFeatures,
    representation: AbstractRepresentation | None,
    reward_scale: float,
) -> _Problem:
    def coordinates(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        if representation is None:
            return actions[:, None].astype(np.float32)
        return representation.embed(
            torch.from_numpy(observations), torch.from_numpy(actions)
        ).numpy()

    def chosen(observations: np.ndarray, allowed: AllowedActions | None) -> np.ndarray:
        if allowed is not None:
            return coordinates(observations, policy.choose(observations, allowed))
        unique, back = np.unique(observations, axis=0, return_inverse=True)
        return coordinates(unique, policy.choose(unique))[back.ravel()]

    next_rows = np.arange(len(log)) + ~log.ends  # none reads what is chosen after an end
    sets, firsts = log.allowed, log.episode_offsets[:-1]
    return _Problem(
        features=features.numpy(log.observations),
        actions=coordinates(log.observations, log.actions),
        rewards=log.rewards * np.float32(reward_scale),
        next_features=features.numpy(log.next_observations),
        next_actions=chosen(log.next_observations, None if sets is None else sets.take(next_rows)),
        terminals=log.terminated.astype(np.float32),
        start_features=features.numpy(log.starts),
        start_actions=chosen(log.starts, None if sets is None else sets.take(firsts)),
        discrete=representation is None,
        action_size=len(log.action_set) if representation is None else representation.dim,
    )


def _whole_episodes(log: Log, rows: int, draws: np.random.Generator) -> Log:
    """Copied even if they are all: torch takes no arrays that are read-only, as a store's are."""
    if not rows or len(log) <= rows:
        return log.take_episodes(np.arange(log.n_episodes))
    order = draws.permutation(log.n_episodes)
    kept = int(np.searchsorted(np.cumsum(log.lengths[order]), rows)) + 1
    return log.take_episodes(np.sort(order[:kept]))


def _usable(log: Log) -> Bool[np.ndarray, " N"]:
    """Rows whose next state is known, and what it allows where sets are logged, or has none."""
    return log.usable if log.allowed is None else log.usable & ~log.truncated


def _resample(
    log: Log, usable: Bool[np.ndarray, " N"], draws: np.random.Generator
) -> Int64[np.ndarray, " M"]:
    """Episodes drawn with replacement, anew until one of them can be learnt from."""
    teaches = np.logical_or.reduceat(usable, log.episode_offsets[:-1])
    while True:
        episodes = draws.integers(log.n_episodes, size=log.n_episodes)
        if teaches[episodes].any():
            return episodes


def _rows(
    log: Log, usable: Bool[np.ndarray, " N"], episodes: Int64[np.ndarray, " M"]
) -> Int64[np.ndarray, " K"]:
    """The usable rows of some episodes, each as often as its episode is named."""
    weights = np.bincount(episodes, minlength=log.n_episodes)
    rows = np.repeat(np.arange(len(log)), np.repeat(weights, log.lengths))
    return rows[usable[rows]]


def _fit(
    problem: _Problem,
    rows: Int64[np.ndarray, " K"],
    gamma: float,
    config: FqeConfig,
    draws: np.random.Generator,
    refit: int,
    device: torch.device,
    on_step: OnStep | None,
) -> Any:
    width = problem.next_actions.shape[1]
    judge = (DiscreteFQE if problem.discrete else FQE)(
        algo=_Decided(width, problem.discrete),  # type: ignore[arg-type]
        config=FQEConfig(
            learning_rate=config.learning_rate,
            encoder_factory=_Leading(hidden=list(config.hidden), trailing=width),
            batch_size=config.batch_size,
            gamma=gamma,
            target_update_interval=config.target_update_interval,
        ),
        device=numbered(device),
    )
    judge.create_impl((problem.features.shape[1] + width,), problem.action_size)
    total = config.refits * config.steps
    for step in range(1, config.steps + 1):
        losses = judge.update(
            problem.batch(rows[draws.integers(len(rows), size=config.batch_size)])
        )
        tell(on_step, refit * config.steps + step, total, losses)
    return judge


def _start_value(judge: Any, problem: _Problem, episodes: Int64[np.ndarray, " M"]) -> float:
    blank = np.zeros_like(problem.start_actions)
    states = np.hstack([problem.start_features, blank])
    actions = problem.start_actions
    values = judge.predict_value(states, actions[:, 0] if problem.discrete else actions)
    return float(values[episodes].mean(dtype=np.float64))


def _interval(values: Float64[np.ndarray, " K"], n: int) -> Estimate:
    value = float(values.mean())
    reach = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1))
    return Estimate(value, value - reach, value + reach, n)


@final
class _Decided:
    """What d3rlpy asks of the policy it judges: the next action, read off the last columns."""

    def __init__(self, width: int, discrete: bool) -> None:
        self.width, self.discrete = width, discrete
        self.impl = self

    def predict_best_action(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, -1] if self.discrete else x[:, -self.width :]


@plain_dataclass()
class _Leading(EncoderFactory):
    """A vector encoder that does not see the last columns, where the next action is carried."""

    hidden: list[int]
    trailing: int

    def create(self, observation_shape: Any) -> Encoder:
        seen = (observation_shape[0] - self.trailing,)
        return _LeadingEncoder(self._inner().create(seen), self.trailing)

    def create_with_action(
        self, observation_shape: Any, action_size: int, discrete_action: bool = False
    ) -> EncoderWithAction:
        seen = (observation_shape[0] - self.trailing,)
        inner = self._inner().create_with_action(seen, action_size, discrete_action)
        return _LeadingEncoderWithAction(inner, self.trailing)

    def _inner(self) -> VectorEncoderFactory:
        return VectorEncoderFactory(hidden_units=self.hidden)

    @staticmethod
    def get_type() -> str:
        return "leading_columns"


@final
class _LeadingEncoder(Encoder):
    def __init__(self, inner: Encoder, trailing: int) -> None:
        super().__init__()
        self.inner, self.trailing = inner, trailing

    def forward(self, x: Any) -> torch.Tensor:
        return self.inner(x[:, : -self.trailing])


@final
class _LeadingEncoderWithAction(EncoderWithAction):
    def __init__(self, inner: EncoderWithAction, trailing: int) -> None:
        super().__init__()
        self.inner, self.trailing = inner, trailing

    def forward(self, x: Any, action: torch.Tensor) -> torch.Tensor:
        return self.inner(x[:, : -self.trailing], action)
