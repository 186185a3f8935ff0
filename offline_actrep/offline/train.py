"""`train(data, name)`: a learner on the points of a re-labelled log, or on the ids of a log."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.policy import DecodedPolicy
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.settings import changed
from offline_actrep.nets.computing import CPU, device_of, learning_on
from offline_actrep.nets.features import FeatureConfig, ObservationFeatures
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.catalog import make_id_learner, make_point_learner
from offline_actrep.offline.columns import learning_columns
from offline_actrep.offline.learner import (
    CONTINUOUS,
    DECODING,
    DISCRETE,
    IMITATING,
    MASKED,
    AbstractLearner,
    LearnerConfig,
)
from offline_actrep.offline.policies import IdPolicy, PointActor
from offline_actrep.offline.scaling import observation_features, reward_scale
from offline_actrep.relabel import Relabelled

Policy = DecodedPolicy | IdPolicy
OnCheckpoint = Callable[[int, Policy], None]
"""Called with (steps done, the policy as it stands)."""

_DISCRETE_CQL = LearnerConfig(alpha=0.5)
_DISCRETE_BCQ = LearnerConfig(action_flexibility=0.1, beta=0.01)
_WEIGHTED_BC = LearnerConfig(beta=0.0, weight_temp=1.0, max_weight=20.0)

DEFAULTS: dict[str, LearnerConfig] = {
    "cql": LearnerConfig(actor_learning_rate=1e-3, conservative_weight=0.01, n_action_samples=2),
    "bcq": LearnerConfig(
        actor_learning_rate=1e-3, n_action_samples=10, action_flexibility=0.1, beta=0.1
    ),
    "td3_plus_bc": LearnerConfig(actor_learning_rate=1e-3, alpha=1.0, tau=0.02),
    "plas": LearnerConfig(actor_learning_rate=1e-3, beta=0.1),
    "iql": LearnerConfig(actor_learning_rate=1e-3),
    "td3_decoded": LearnerConfig(actor_learning_rate=1e-3, alpha=1.0, tau=0.02),
    "candidate_bcq": LearnerConfig(n_action_samples=16, action_flexibility=0.1, beta=0.0, tau=0.02),
    "discrete_cql": _DISCRETE_CQL,
    "discrete_bcq": _DISCRETE_BCQ,
    "discrete_bc": LearnerConfig(beta=0.0),
    "weighted_bc": _WEIGHTED_BC,
    "masked_discrete_cql": _DISCRETE_CQL,
    "masked_discrete_bcq": _DISCRETE_BCQ,
    "masked_weighted_bc": _WEIGHTED_BC,
}
"""Each learner's own defaults. Those of `cql`, `bcq`, `td3_plus_bc` and the plain learners of ids
were chosen by `pipelines/{maze_tuning,maze_td3,samples_maze}.toml`: other logs and seeds than those
that are reported. The others follow their nearest relative, or their paper."""


def settings(name: str, changes: dict[str, Any]) -> LearnerConfig:
    """The learner's defaults with some fields changed.

    Raises:
        ValueError: an unknown learner or field; the message names the near ones.
    """
    return changed("learner", name, DEFAULTS, changes)


def untrained(
    name: str,
    config: LearnerConfig,
    *,
    features: ObservationFeatures,
    scale: float,
    action_set: ActionSet,
    representation: AbstractRepresentation | None,
    seed: int,
    device: torch.device = CPU,
) -> tuple[AbstractLearner, Policy]:
    """A learner with its first weights, and the policy that it is behind `features`."""
    if name in DISCRETE or representation is None:
        of_ids = make_id_learner(
            name,
            config,
            n_features=features.size,
            n_actions=len(action_set),
            seed=seed,
            device=device,
        )
        return of_ids, IdPolicy(of_ids, features, scale, action_set)
    of_points = make_point_learner(
        name,
        config,
        n_features=features.size,
        representation=representation,
        seed=seed,
        device=device,
    )
    actor = PointActor(of_points, features, scale, representation.dim)
    return of_points, DecodedPolicy(actor, representation)


def learnable(data: Log | Relabelled, name: str) -> Log | Relabelled:
    """What the named learner takes of the data: a log for learners of ids.

    Raises:
        ValueError: points asked of a plain log, or allowed actions of a log that has none.
    """
    log = data.log if isinstance(data, Relabelled) else data
    if name in CONTINUOUS and not isinstance(data, Relabelled):
        raise ValueError(
            f"{name} learns on points: re-label the log first (relabel(log, representation)), or "
            f"take a learner of ids: {', '.join(DISCRETE)}"
        )
    if name in MASKED and log.allowed is None:
        raise ValueError(
            f"{name} needs the allowed actions of every row, which this log does not have: take "
            f"{name.removeprefix('masked_')}, or log allowed_actions"
        )
    return data if name in CONTINUOUS else log


def train(
    data: Log | Relabelled,
    name: str,
    *,
    seed: int,
    features: FeatureConfig = FeatureConfig(),  # noqa: B008
    device: str = "auto",
    on_step: OnStep | None = None,
    on_checkpoint: OnCheckpoint | None = None,
    checkpoint_every: int = 0,
    **changes: Any,
) -> Policy:
    """Trains the named learner, e.g. `train(data, "cql", steps=50_000, seed=0)`.

    Args:
        data: a `Relabelled` for learners of points; a `Log` for learners of ids (a `Relabelled`
            will do too: its log is taken).
        name: the learner, one of `CONTINUOUS` or `DISCRETE`.
        seed: of initial weights, batches and the learner's own draws.
        features: what networks see of an observation.
        device: where networks learn: `auto` for a GPU if there is one, or as torch names it. The
            policy that comes back lies on the CPU, those of checkpoints do not yet.
        on_step: is told where the training stands.
        on_checkpoint: is handed the policy every `checkpoint_every` steps.
        checkpoint_every: 0 for never.
        changes: fields of `LearnerConfig`.

    Raises:
        ValueError: an unknown learner, field or device, points asked of a plain log, a masked
            learner of a log without allowed actions, or a log without a row whose next state is
            known (learners that only imitate need none).
    """
    config, chosen = settings(name, changes), device_of(device)
    taken = learnable(data, name)
    log = data.log if isinstance(data, Relabelled) else data
    seen = observation_features(log.observations, features)
    scale = reward_scale(log, config.gamma)
    decodes = name in DECODING
    columns = learning_columns(
        taken,
        seen,
        scale,
        config.gamma,
        observations=decodes,
        allowed=name in MASKED or (decodes and log.allowed is not None),
        every_row=name in IMITATING,
    )
    make = partial(
        untrained,
        name,
        config,
        features=seen,
        scale=scale,
        action_set=log.action_set,
        representation=taken.representation if isinstance(taken, Relabelled) else None,
        seed=seed,
    )
    learner, policy = make(device=chosen)
    draws = np.random.default_rng(seed)
    with learning_on(chosen), seeded(seed):
        for step in range(1, config.steps + 1):
            rows = draws.integers(len(columns), size=config.batch_size)
            losses = learner.update(columns.batch(rows))
            tell(on_step, step, config.steps, losses)
            due = checkpoint_every and (step % checkpoint_every == 0 or step == config.steps)
            if on_checkpoint is not None and due:
                with seeded(seed):
                    on_checkpoint(step, policy)
    if chosen == CPU:
        return policy
    at_home, policy = make(device=CPU)
    at_home.load(learner.tensors())
    return policy
