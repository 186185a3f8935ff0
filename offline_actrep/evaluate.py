"""Judging a policy: `evaluate` in a simulator, `estimate` from a log; both give an `Estimate`."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from offline_actrep.core.estimate import Estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy, DecodedPolicy
from offline_actrep.core.progress import OnStep
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.ope.fqe import FqeConfig, fqe
from offline_actrep.rollout import episode_returns

ESTIMATORS = ("fqe",)
"""What `estimate` knows."""


def evaluate(
    policy: AbstractPolicy | AbstractBehaviour,
    world: AbstractSimulator,
    *,
    episodes: int,
    seed: int,
    gamma: float = 1.0,
) -> Estimate:
    """Mean return of whole episodes in the simulator, discounted by gamma.

    Raises:
        ValueError: no episodes asked for, or the policy's catalogue is not the world's.
    """
    return mean_estimate(
        returns(policy, world, episodes=episodes, seed=seed, gamma=gamma), seed=seed
    )


def returns(
    policy: AbstractPolicy | AbstractBehaviour,
    world: AbstractSimulator,
    *,
    episodes: int,
    seed: int,
    gamma: float = 1.0,
) -> Float64[np.ndarray, " episodes"]:
    """The single returns behind `evaluate`."""
    if not policy.action_set.same_as(world.action_set):
        raise ValueError(
            f"the policy chooses among {len(policy.action_set)} actions, the world has "
            f"{len(world.action_set)}, and they are not the same list"
        )
    return episode_returns(policy, world, episodes=episodes, seed=seed, gamma=gamma)


def estimate(
    policy: AbstractPolicy,
    log: Log,
    name: str = "fqe",
    *,
    seed: int = 0,
    gamma: float | None = None,
    features: FeatureConfig | None = None,
    on_step: OnStep | None = None,
    **settings: Any,
) -> Estimate:
    """Expected discounted return from the log's start states, from the log alone.

    A policy trained here brings its own discount, features and reward scale; any other needs
    `gamma`.

    Args:
        policy: what to judge.
        log: on which.
        name: one of `ESTIMATORS`.
        seed: of the estimator's draws.
        gamma: discount a decision; None for the policy's own.
        features: what Q sees of an observation; None for the policy's own.
        on_step: is told where the work stands.
        settings: fields of `FqeConfig`.

    Raises:
        ValueError: an unknown estimator, another catalogue, or a discount that nobody gave.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; there are {', '.join(ESTIMATORS)}")
    if not policy.action_set.same_as(log.action_set):
        raise ValueError(
            f"the policy chooses among {len(policy.action_set)} actions, the log has "
            f"{len(log.action_set)}, and they are not the same list"
        )
    trained = _trained(policy)
    if gamma is None and trained is None:
        raise ValueError("this policy brings no discount: say gamma=0.99, or what it is")
    if features is not None or trained is None:
        seen = ObservationFeatures.of(log.observations, features or FeatureConfig())
    else:
        seen = trained.features
    return fqe(
        log,
        policy,
        features=seen,
        representation=policy.representation if isinstance(policy, DecodedPolicy) else None,
        gamma=trained.learner.config.gamma if gamma is None and trained else float(gamma or 0.0),
        reward_scale=trained.reward_scale if trained else 1.0 / _largest(log),
        config=FqeConfig(**settings),
        seed=seed,
        on_step=on_step,
    )


def _trained(policy: AbstractPolicy) -> IdPolicy | PointActor | None:
    inner = policy.actor if isinstance(policy, DecodedPolicy) else policy
    return inner if isinstance(inner, IdPolicy | PointActor) else None


def _largest(log: Log) -> float:
    return float(max(np.abs(log.returns).max(), np.abs(log.rewards).max(), 1e-12))
