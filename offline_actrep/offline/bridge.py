"""d3rlpy's learners, made from plain configs and fed from columns.

The only file that trains with d3rlpy. Batches are gathered from arrays instead of picked one
transition at a time; weights leave as named tensors instead of pickles.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pydantic
import torch
from jaxtyping import Float32, Int64

from offline_actrep.nets.seeding import seeded

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    import d3rlpy
    from d3rlpy.algos import (
        BCQConfig,
        CQLConfig,
        DiscreteBCConfig,
        DiscreteBCQConfig,
        DiscreteCQLConfig,
        TD3PlusBCConfig,
    )
    from d3rlpy.dataset import TransitionMiniBatch
    from d3rlpy.models import VectorEncoderFactory

CONTINUOUS = ("cql", "bcq", "td3_plus_bc")
"""Learners of points."""
DISCRETE = ("discrete_cql", "discrete_bcq", "discrete_bc")
"""Learners of ids."""


@pydantic.dataclasses.dataclass(frozen=True, config={"extra": "forbid"})
class LearnerConfig:
    """What can be set; a learner ignores what it does not have. Names are d3rlpy's."""

    steps: int = 6_000
    """Gradient steps."""
    batch_size: int = 256
    hidden: tuple[int, ...] = (128, 128)
    """Widths of the hidden layers of every actor and critic."""
    gamma: float = 0.97
    """Discount a decision."""
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    conservative_weight: float = 0.05
    """CQL: weight of the conservative term, on the scale of the scaled rewards."""
    n_action_samples: int = 4
    """CQL: sampled actions of each of three kinds a row. BCQ: candidates a row."""
    initial_temperature: float = 0.1
    """CQL: of the entropy term, before it is learnt."""
    alpha: float = 5.0
    """TD3+BC: weight of Q against imitation. Discrete CQL: weight of the conservative term."""
    tau: float = 0.005
    """CQL, BCQ, TD3+BC: share of the new weights that a target takes a step."""
    target_noise: float = 0.2
    """TD3+BC: deviation of the noise on target points, in the cube; clipped at 2.5 times that."""
    action_flexibility: float = 0.3
    """Discrete BCQ: threshold on relative probability. BCQ: reach of the perturbation."""
    lam: float = 0.75
    """BCQ: weight of the minimum over critics in the target."""
    beta: float = 0.5
    """BCQ: weight of the KL term. Discrete BCQ and BC: weight of the logits' penalty."""
    target_update_interval: int = 1000
    """Discrete CQL and BCQ: steps between copies of the target."""


@dataclass(frozen=True)
class Columns:
    """What a learner is fed: features instead of observations, scaled rewards.

    Attributes:
        features: `[N, F]`.
        actions: `[N, E]` points, or `[N, 1]` dense ids.
        rewards: `[N]` scaled.
        next_features: `[N, F]`.
        terminals: `[N]` 1 where the episode terminated.
        action_size: E, or A for ids.
    """

    features: Float32[np.ndarray, "N F"]
    actions: Float32[np.ndarray, "N D"]
    rewards: Float32[np.ndarray, " N"]
    next_features: Float32[np.ndarray, "N F"]
    terminals: Float32[np.ndarray, " N"]
    action_size: int

    def batch(self, rows: Int64[np.ndarray, " B"]) -> TransitionMiniBatch:
        """The named rows; next actions are not used by these learners and repeat the actions."""
        return TransitionMiniBatch(
            observations=self.features[rows],
            actions=self.actions[rows],
            rewards=self.rewards[rows, None],
            next_observations=self.next_features[rows],
            next_actions=self.actions[rows],
            terminals=self.terminals[rows, None],
            intervals=np.ones((len(rows), 1), np.float32),
            transitions=(),
        )


@final
class Learner:
    """One d3rlpy algorithm, built.

    Args:
        name: one of `CONTINUOUS` or `DISCRETE`.
        config: its settings.
        n_features: F.
        action_size: E, or A for ids.
        seed: of the initial weights.

    Raises:
        ValueError: an unknown name; the message lists those there are.
    """

    def __init__(
        self, name: str, config: LearnerConfig, *, n_features: int, action_size: int, seed: int
    ) -> None:
        if name not in CONFIGS:
            raise ValueError(f"unknown learner {name!r}; there are {', '.join(CONFIGS)}")
        self.name = name
        self.config = config
        self.discrete = name in DISCRETE
        self.algo = CONFIGS[name](config).create(device="cpu:0")
        with seeded(seed):
            self.algo.create_impl((n_features,), action_size)

    def update(self, batch: TransitionMiniBatch) -> Mapping[str, float]:
        """One gradient step; the losses."""
        return self.algo.update(batch)

    def act(self, features: Float32[np.ndarray, "B F"]) -> np.ndarray:
        """Points `[B, E]`, or dense ids `[B]`; BCQ's candidates are drawn from a fixed seed."""
        with seeded(0):
            return self.algo.predict(features)

    def scores(self, features: Float32[np.ndarray, "B F"]) -> Float32[np.ndarray, "B A"]:
        """What a learner of ids takes the largest of: Q, log-probability, or Q where BCQ allows.

        Unlike d3rlpy's own argmax, these can be masked.
        """
        modules: Any = self.algo.impl.modules  # type: ignore[union-attr]
        seen = torch.from_numpy(np.ascontiguousarray(features))
        with torch.no_grad():
            if self.name == "discrete_bc":
                return modules.imitator(seen).logits.numpy()
            values = torch.stack([q(seen).q_value for q in modules.q_funcs]).mean(dim=0)
            if self.name == "discrete_bcq":
                logits = modules.imitator(seen).logits
                share = (logits - logits.max(dim=1, keepdim=True).values).exp()
                values = values.masked_fill(share <= self.config.action_flexibility, -torch.inf)
            return values.numpy()

    def value(
        self, features: Float32[np.ndarray, "B F"], actions: np.ndarray
    ) -> Float32[np.ndarray, " B"]:
        """Q, in scaled reward; behaviour cloning has none."""
        return self.algo.predict_value(features, actions)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All weights by name."""
        return {
            f"{part}.{name}": tensor.detach().clone()
            for part, module in self._modules().items()
            for name, tensor in module.state_dict().items()
        }

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes weights that `tensors` gave."""
        for part, module in self._modules().items():
            prefix = f"{part}."
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )

    def _modules(self) -> dict[str, torch.nn.Module]:
        impl = self.algo.impl
        assert impl is not None
        return impl.modules.get_torch_modules()


def _encoder(config: LearnerConfig) -> VectorEncoderFactory:
    return VectorEncoderFactory(hidden_units=list(config.hidden))


def _of_points(config: LearnerConfig) -> dict[str, Any]:
    return {
        "actor_learning_rate": config.actor_learning_rate,
        "critic_learning_rate": config.critic_learning_rate,
        "actor_encoder_factory": _encoder(config),
        "critic_encoder_factory": _encoder(config),
        "batch_size": config.batch_size,
        "gamma": config.gamma,
        "tau": config.tau,
    }


def _of_ids(config: LearnerConfig) -> dict[str, Any]:
    return {
        "learning_rate": config.critic_learning_rate,
        "encoder_factory": _encoder(config),
        "batch_size": config.batch_size,
        "gamma": config.gamma,
    }


def _cql(config: LearnerConfig) -> CQLConfig:
    return CQLConfig(
        **_of_points(config),
        temp_learning_rate=config.actor_learning_rate,
        alpha_learning_rate=0.0,
        initial_alpha=1.0,
        initial_temperature=config.initial_temperature,
        conservative_weight=config.conservative_weight,
        n_action_samples=config.n_action_samples,
    )


def _bcq(config: LearnerConfig) -> BCQConfig:
    return BCQConfig(
        **_of_points(config),
        imitator_learning_rate=config.critic_learning_rate,
        imitator_encoder_factory=_encoder(config),
        action_flexibility=config.action_flexibility,
        n_action_samples=config.n_action_samples,
        lam=config.lam,
        beta=config.beta,
    )


def _td3_plus_bc(config: LearnerConfig) -> TD3PlusBCConfig:
    return TD3PlusBCConfig(
        **_of_points(config),
        alpha=config.alpha,
        target_smoothing_sigma=config.target_noise,
        target_smoothing_clip=2.5 * config.target_noise,
    )


def _discrete_cql(config: LearnerConfig) -> DiscreteCQLConfig:
    return DiscreteCQLConfig(
        **_of_ids(config),
        alpha=config.alpha,
        target_update_interval=config.target_update_interval,
    )


def _discrete_bcq(config: LearnerConfig) -> DiscreteBCQConfig:
    return DiscreteBCQConfig(
        **_of_ids(config),
        action_flexibility=config.action_flexibility,
        beta=config.beta,
        target_update_interval=config.target_update_interval,
    )


def _discrete_bc(config: LearnerConfig) -> DiscreteBCConfig:
    shared = {key: value for key, value in _of_ids(config).items() if key != "gamma"}
    return DiscreteBCConfig(**shared, beta=config.beta)


CONFIGS: dict[str, Any] = {
    "cql": _cql,
    "bcq": _bcq,
    "td3_plus_bc": _td3_plus_bc,
    "discrete_cql": _discrete_cql,
    "discrete_bcq": _discrete_bcq,
    "discrete_bc": _discrete_bc,
}

VERSION = d3rlpy.__version__
"""Of the installed d3rlpy, for a run's record."""
