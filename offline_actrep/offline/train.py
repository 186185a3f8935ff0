"""`train(data, name)`: a d3rlpy learner on points of a re-labelled log, or on ids of a log."""

from collections.abc import Callable
from typing import Any

import numpy as np

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import changed
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.bridge import (
    CONTINUOUS,
    DISCRETE,
    Columns,
    Learner,
    LearnerConfig,
)
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.relabel import Relabelled

Policy = DecodedPolicy | IdPolicy
OnCheckpoint = Callable[[int, Policy], None]
"""Called with (steps done, the policy as it stands)."""

DEFAULTS: dict[str, LearnerConfig] = {
    "cql": LearnerConfig(actor_learning_rate=1e-3, conservative_weight=0.01),
    "bcq": LearnerConfig(
        actor_learning_rate=1e-3, n_action_samples=10, action_flexibility=0.1, beta=0.1
    ),
    "td3_plus_bc": LearnerConfig(actor_learning_rate=1e-3, alpha=1.0, tau=0.02),
    "discrete_cql": LearnerConfig(alpha=0.5),
    "discrete_bcq": LearnerConfig(action_flexibility=0.1, beta=0.01),
    "discrete_bc": LearnerConfig(beta=0.0),
}
"""Each learner's own defaults, chosen by `pipelines/maze_{tuning,td3}.toml`: another log and seeds
than those that are reported."""


def reward_scale(log: Log, gamma: float) -> float:
    """What to multiply rewards by so that no value of the log is larger than 1 in magnitude.

    Conservatism and imitation weights then mean the same on every log.
    """
    largest = max(np.abs(log.discounted_returns(gamma)).max(), np.abs(log.rewards).max())
    return 1.0 / float(largest) if largest > 0 else 1.0


def settings(name: str, changes: dict[str, Any]) -> LearnerConfig:
    """The learner's defaults with some fields changed.

    Raises:
        ValueError: an unknown learner or field; the message names the near ones.
    """
    return changed("learner", name, DEFAULTS, changes)


def learning_columns(
    data: Log | Relabelled, features: ObservationFeatures, scale: float
) -> Columns:
    """What a learner is fed: the rows whose next state is known, or that have none.

    Raises:
        ValueError: there is no such row.
    """
    log = data.log if isinstance(data, Relabelled) else data
    rows = np.flatnonzero(log.usable)
    if not len(rows):
        raise ValueError(
            "no row of the log can be learnt from: none has a next observation and none terminates"
        )
    actions = data.points if isinstance(data, Relabelled) else log.actions[:, None]
    return Columns(
        features=features.numpy(log.observations[rows]),
        actions=actions[rows].astype(np.float32),
        rewards=log.rewards[rows] * np.float32(scale),
        next_features=features.numpy(log.next_observations[rows]),
        terminals=log.terminated[rows].astype(np.float32),
        action_size=data.representation.dim
        if isinstance(data, Relabelled)
        else len(log.action_set),
    )


def as_policy(
    learner: Learner,
    features: ObservationFeatures,
    scale: float,
    action_set: ActionSet,
    representation: AbstractRepresentation | None,
) -> Policy:
    """A learner of points decoded, or a learner of ids."""
    if learner.discrete or representation is None:
        return IdPolicy(learner, features, scale, action_set)
    return DecodedPolicy(PointActor(learner, features, scale, representation.dim), representation)


def train(
    data: Log | Relabelled,
    name: str,
    *,
    seed: int,
    features: FeatureConfig = FeatureConfig(),  # noqa: B008
    on_step: OnStep | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    checkpoint_every: int = 0,
    **changes: Any,
) -> Policy:
    """Trains the named learner, e.g. `train(data, "cql", steps=50_000, seed=0)`.

    Args:
        data: a `Relabelled` for `cql`, `bcq`, `td3_plus_bc`; a `Log` for `discrete_cql`,
            `discrete_bcq`, `discrete_bc` (a `Relabelled` will do too: its log is taken).
        name: the learner.
        seed: of initial weights, batches and the learner's own draws.
        features: what networks see of an observation.
        on_step: is told where the training stands.
        on_checkpoint: is handed the policy every `checkpoint_every` steps.
        checkpoint_every: 0 for never.
        changes: fields of `LearnerConfig`.

    Raises:
        ValueError: an unknown learner or field, points asked of a plain log, or a log without a
            row whose next state is known.
    """
    config = settings(name, changes)
    log = data.log if isinstance(data, Relabelled) else data
    if name in CONTINUOUS and not isinstance(data, Relabelled):
        raise ValueError(
            f"{name} learns on points: re-label the log first (relabel(log, representation)), or "
            f"take a learner of ids: {', '.join(DISCRETE)}"
        )
    seen = ObservationFeatures.of(log.observations, features)
    scale = reward_scale(log, config.gamma)
    columns = learning_columns(data if name in CONTINUOUS else log, seen, scale)
    learner = Learner(
        name, config, n_features=seen.size, action_size=columns.action_size, seed=seed
    )
    representation = data.representation if isinstance(data, Relabelled) else None
    policy = as_policy(learner, seen, scale, log.action_set, representation)
    draws = np.random.default_rng(seed)
    with seeded(seed):
        for step in range(1, config.steps + 1):
            rows = draws.integers(len(columns.rewards), size=config.batch_size)
            losses = learner.update(columns.batch(rows))
            tell(on_step, step, config.steps, losses)
            due = checkpoint_every and (step % checkpoint_every == 0 or step == config.steps)
            if on_checkpoint is not None and due:
                with seeded(seed):
                    on_checkpoint(step, policy)
    return policy
