"""Judging a policy: `evaluate` in a simulator, `estimate` from a log; both give an `Estimate`."""

from typing import Any

from offline_actrep.core.estimate import Estimate, mean_estimate
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractBehaviour, AbstractPolicy, DecodedPolicy
from offline_actrep.core.progress import OnStep
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import checked
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.offline.scaling import observation_features, reward_scale
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
    played = episode_returns(policy, world, episodes=episodes, seed=seed, gamma=gamma)
    return mean_estimate(played, seed=seed)


def estimate(
    policy: AbstractPolicy,
    log: Log,
    name: str = "fqe",
    *,
    seed: int = 0,
    gamma: float | None = None,
    features: FeatureConfig | None = None,
    representation: AbstractRepresentation | None = None,
    device: str = "auto",
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
        representation: whose points Q sees of an action; None for the policy's own, or for one
            output an id where it has none (slow, and blind to what actions have in common).
        device: where Q learns: `auto` for a GPU if there is one, or as torch names it.
        on_step: is told where the work stands.
        settings: fields of `FqeConfig`.

    Raises:
        ValueError: an unknown estimator, setting or device, a value that a setting refuses, another
            catalogue, or a discount that nobody gave.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; there are {', '.join(ESTIMATORS)}")
    config = checked(name, FqeConfig, settings)
    policy.action_set.must_equal(log.action_set, "the policy", "the log")
    if representation is not None:
        representation.action_set.must_equal(log.action_set, "the representation", "the log")
    trained = _trained(policy)
    if gamma is None and trained is None:
        raise ValueError("this policy brings no discount: say gamma=0.99, or what it is")
    if features is not None or trained is None:
        seen = observation_features(log.observations, features or FeatureConfig())
    else:
        seen = trained.features
    return fqe(
        log,
        policy,
        features=seen,
        representation=representation or _points_of(policy),
        gamma=trained.learner.config.gamma if gamma is None and trained else float(gamma or 0.0),
        reward_scale=trained.reward_scale if trained else reward_scale(log, 1.0),
        config=config,
        seed=seed,
        device=device,
        on_step=on_step,
    )


def _trained(policy: AbstractPolicy) -> IdPolicy | PointActor | None:
    inner = policy.actor if isinstance(policy, DecodedPolicy) else policy
    return inner if isinstance(inner, IdPolicy | PointActor) else None


def _points_of(policy: AbstractPolicy) -> AbstractRepresentation | None:
    return policy.representation if isinstance(policy, DecodedPolicy) else None
