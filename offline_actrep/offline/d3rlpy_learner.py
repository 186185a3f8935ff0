"""d3rlpy's learners of points, made from plain configs and fed from columns.

The only file that trains with d3rlpy. Batches are gathered from arrays instead of picked one
transition at a time; weights leave as named tensors instead of pickles; Adam moves all weights of
an optimiser in one call.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from offline_actrep.core.actions import AllowedActions
from offline_actrep.nets.computing import CPU, numbered
from offline_actrep.offline.heads import adam
from offline_actrep.offline.learner import AbstractPointLearner, Batch, LearnerConfig

with contextlib.redirect_stderr(io.StringIO()):  # gym prints a notice when it is imported
    import d3rlpy
    from d3rlpy.algos import BCQConfig, CQLConfig, IQLConfig, PLASConfig, TD3PlusBCConfig
    from d3rlpy.algos.qlearning.torch.bcq_impl import BCQModules
    from d3rlpy.dataset import TransitionMiniBatch
    from d3rlpy.models import VectorEncoderFactory
    from d3rlpy.optimizers import OptimizerFactory, register_optimizer_factory


@final
class D3rlpyLearner(AbstractPointLearner):
    """One d3rlpy algorithm, built.

    Args:
        name: a key of `CONFIGS`.
        config: its settings.
        n_features: F.
        dim: E.
        device: where it learns.
    """

    def __init__(
        self,
        name: str,
        config: LearnerConfig,
        n_features: int,
        dim: int,
        device: torch.device = CPU,
    ) -> None:
        self.name, self.config, self.device = name, config, device
        self.algo = CONFIGS[name](config).create(device=numbered(device))
        self.algo.create_impl((n_features,), dim)

    def update(self, batch: Batch) -> Mapping[str, float]:
        return self.algo.update(mini_batch(batch))

    def points(
        self,
        features: Float32[np.ndarray, "B F"],
        observations: Float32[np.ndarray, "B S"],
        allowed: AllowedActions | None = None,
    ) -> Float32[np.ndarray, "B E"]:
        """Where it goes; d3rlpy's policies do not see what is allowed."""
        del observations, allowed
        assert self.algo.impl is not None
        if isinstance(modules := self.algo.impl.modules, BCQModules):
            states, same = torch.from_numpy(features), torch.Generator().manual_seed(0)
            size = (self.config.n_action_samples, 2 * self.algo.action_size)
            latents = torch.randn(size, generator=same).clamp(-0.5, 0.5)
            return best_of(modules, states.to(self.device), latents.to(self.device))
        return self.algo.predict(features)

    def value(
        self, features: Float32[np.ndarray, "B F"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        return self.algo.predict_value(features, points)

    def modules(self) -> dict[str, nn.Module]:
        impl = self.algo.impl
        assert impl is not None
        return impl.modules.get_torch_modules()


@torch.no_grad()
def best_of(
    modules: BCQModules, states: Float32[Tensor, "B F"], latents: Float32[Tensor, "N L"]
) -> Float32[np.ndarray, "B E"]:
    """Where BCQ goes: its imitator makes a point of each latent, its actor moves them, its first
    critic picks the best.

    All states share the latents. d3rlpy's `predict` draws other ones for every place of a batch,
    so that where a state goes hangs on where it stands.
    """
    n_states, n_drawn = len(states), len(latents)
    states = states.repeat_interleave(n_drawn, dim=0)
    imitated = modules.vae_decoder(states, latents.repeat(n_states, 1))
    points = modules.policy(states, imitated).squashed_mu
    values = modules.q_funcs[0](states, points).q_value.view(n_states, n_drawn)
    at = values.argmax(dim=1, keepdim=True).unsqueeze(2)
    points = points.view(n_states, n_drawn, points.shape[1])
    return points.take_along_dim(at, dim=1)[:, 0].cpu().numpy()


def mini_batch(batch: Batch) -> TransitionMiniBatch:
    """As d3rlpy takes it; next actions are not used by these learners and repeat the actions."""
    return TransitionMiniBatch(
        observations=batch.features.numpy(),
        actions=batch.actions.numpy(),
        rewards=batch.rewards[:, None].numpy(),
        next_observations=batch.next_features.numpy(),
        next_actions=batch.actions.numpy(),
        terminals=batch.terminals[:, None].numpy(),
        intervals=np.ones((len(batch.rewards), 1), np.float32),
        transitions=(),
    )


@dataclass()
class FusedAdam(OptimizerFactory):
    """Adam as d3rlpy sets it, in one call for all weights; d3rlpy makes one a weight.

    For d3rlpy's own algorithms too: `TD3PlusBCConfig(actor_optim_factory=FusedAdam(), ...)`.
    """

    def create_optimizer(self, named_modules: Any, lr: float) -> torch.optim.Adam:
        return adam(dict.fromkeys(w for _, part in named_modules for w in part.parameters()), lr)

    @staticmethod
    def get_type() -> str:
        return "adam_in_one_call"


register_optimizer_factory(FusedAdam)  # so that d3rlpy can load what it saved with it


def _encoder(config: LearnerConfig) -> VectorEncoderFactory:
    return VectorEncoderFactory(hidden_units=list(config.hidden))


def _shared(config: LearnerConfig) -> dict[str, Any]:
    return {
        "actor_learning_rate": config.actor_learning_rate,
        "critic_learning_rate": config.critic_learning_rate,
        "actor_optim_factory": FusedAdam(),
        "critic_optim_factory": FusedAdam(),
        "actor_encoder_factory": _encoder(config),
        "critic_encoder_factory": _encoder(config),
        "batch_size": config.batch_size,
        "gamma": config.gamma,
        "tau": config.tau,
    }


def _cql(config: LearnerConfig) -> CQLConfig:
    return CQLConfig(
        **_shared(config),
        temp_learning_rate=config.actor_learning_rate,
        alpha_learning_rate=0.0,
        initial_alpha=1.0,
        initial_temperature=config.initial_temperature,
        conservative_weight=config.conservative_weight,
        n_action_samples=config.n_action_samples,
    )


def _bcq(config: LearnerConfig) -> BCQConfig:
    return BCQConfig(
        **_shared(config),
        imitator_learning_rate=config.critic_learning_rate,
        imitator_optim_factory=FusedAdam(),
        imitator_encoder_factory=_encoder(config),
        action_flexibility=config.action_flexibility,
        n_action_samples=config.n_action_samples,
        lam=config.lam,
        beta=config.beta,
    )


def _plas(config: LearnerConfig) -> PLASConfig:
    return PLASConfig(
        **_shared(config),
        imitator_learning_rate=config.critic_learning_rate,
        imitator_encoder_factory=_encoder(config),
        warmup_steps=int(config.warmup * config.steps),
        lam=config.lam,
        beta=config.beta,
    )


def _iql(config: LearnerConfig) -> IQLConfig:
    return IQLConfig(
        **_shared(config),
        value_encoder_factory=_encoder(config),
        expectile=config.expectile,
        weight_temp=config.weight_temp,
        max_weight=config.max_weight,
    )


def _td3_plus_bc(config: LearnerConfig) -> TD3PlusBCConfig:
    return TD3PlusBCConfig(
        **_shared(config),
        alpha=config.alpha,
        target_smoothing_sigma=config.target_noise,
        target_smoothing_clip=2.5 * config.target_noise,
    )


CONFIGS: dict[str, Any] = {
    "cql": _cql,
    "bcq": _bcq,
    "td3_plus_bc": _td3_plus_bc,
    "plas": _plas,
    "iql": _iql,
}

VERSION = d3rlpy.__version__
"""Of the installed d3rlpy, for a run's record."""
