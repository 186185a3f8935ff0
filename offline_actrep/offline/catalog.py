"""Which learners there are, and how each is made."""

from collections.abc import Callable

import torch

from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.seeding import seeded
from offline_actrep.offline.candidate_bcq import CandidateBcq
from offline_actrep.offline.d3rlpy_learner import CONFIGS, D3rlpyLearner
from offline_actrep.offline.discrete_bc import DiscreteBc
from offline_actrep.offline.discrete_bcq import DiscreteBcq
from offline_actrep.offline.discrete_cql import DiscreteCql
from offline_actrep.offline.learner import (
    AbstractIdLearner,
    AbstractPointLearner,
    LearnerConfig,
)
from offline_actrep.offline.td3_decoded import DecodedTd3
from offline_actrep.offline.weighted_bc import WeightedBc

OnIds = Callable[[str, LearnerConfig, int, int, torch.device], AbstractIdLearner]
OnPoints = Callable[
    [str, LearnerConfig, int, AbstractRepresentation, torch.device], AbstractPointLearner
]

ON_POINTS: dict[str, OnPoints] = {
    **dict.fromkeys(
        CONFIGS,
        lambda name, config, n, space, device: D3rlpyLearner(name, config, n, space.dim, device),
    ),
    "td3_decoded": DecodedTd3,
    "candidate_bcq": CandidateBcq,
}
ON_IDS: dict[str, OnIds] = {
    "discrete_cql": DiscreteCql,
    "discrete_bcq": DiscreteBcq,
    "discrete_bc": DiscreteBc,
    "weighted_bc": WeightedBc,
    "masked_discrete_cql": DiscreteCql,
    "masked_discrete_bcq": DiscreteBcq,
    "masked_weighted_bc": WeightedBc,
}


def make_point_learner(
    name: str,
    config: LearnerConfig,
    *,
    n_features: int,
    representation: AbstractRepresentation,
    seed: int,
    device: torch.device = CPU,
) -> AbstractPointLearner:
    """A learner of points with weights drawn from the seed."""
    with seeded(seed):
        return ON_POINTS[name](name, config, n_features, representation, device)


def make_id_learner(
    name: str,
    config: LearnerConfig,
    *,
    n_features: int,
    n_actions: int,
    seed: int,
    device: torch.device = CPU,
) -> AbstractIdLearner:
    """A learner of ids with weights drawn from the seed."""
    with seeded(seed):
        return ON_IDS[name](name, config, n_features, n_actions, device)
