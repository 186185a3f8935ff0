"""Random points, the same in every state: what a representation must beat.

Formula: phi(a; s) = u_a, u_a uniform in [-1, 1]^E (rand-1 of Gu et al. 2022, section 5.1).
"""

from dataclasses import asdict
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations.point_table import PointTable


@dataclass(frozen=True, config=STRICT)
class RandomTableConfig:
    """What can be set."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""


def fit(
    log: Log,
    *,
    config: RandomTableConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> PointTable:
    """Draws the points; nothing of the log but its catalogue is used."""
    del features, device
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand((len(log.action_set), config.dim), generator=generator) * 2 - 1
    tell(on_step, 1, 1, {})
    return PointTable("random_table", asdict(config), log.action_set, log.observation_size, points)
