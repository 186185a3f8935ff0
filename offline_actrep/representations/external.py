"""Points from what is known of the actions themselves, the same in every state.

The external features of the catalogue (movement vectors, prices, one-hot types), scaled once into
the cube. They exist before any log does, so that learners can act from the first decision on; what
they say about an action's effect is whatever the catalogue says.

Formula: phi(a; s) = frame(x_a), x_a the features of a; with `dim` the first principal components
of the standardised features instead.
"""

from dataclasses import asdict
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.decomposition import PCA

from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations.frame import Frame
from offline_actrep.representations.point_table import PointTable


@dataclass(frozen=True, config=STRICT)
class ExternalConfig:
    """What can be set."""

    dim: Annotated[int, Field(ge=1)] | None = None
    """E, principal components that are kept; None for the features as they are."""


def external_points(
    action_set: ActionSet, *, observation_size: int, dim: int | None = None
) -> PointTable:
    """Without a log, e.g. of `world.action_set`.

    Raises:
        ValueError: the actions have no features, or fewer components than `dim` asks for.
    """
    if action_set.features is None or not action_set.features.shape[1]:
        raise ValueError(
            "external points need an action set with features [A, F]; this one has none: "
            "give ActionSet(ids, features=...), or take another representation"
        )
    raw = action_set.features if dim is None else _components(action_set.features, dim)
    frame = Frame(raw.shape[1])
    frame.fit(torch.tensor(raw))
    points = frame.to_cube(torch.tensor(raw))
    settings = asdict(ExternalConfig(dim))
    return PointTable("external", settings, action_set, observation_size, points)


def fit(
    log: Log,
    *,
    config: ExternalConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> PointTable:
    """Of a log only the catalogue is used; nothing is drawn."""
    del features, seed, device
    made = external_points(log.action_set, observation_size=log.observation_size, dim=config.dim)
    tell(on_step, 1, 1, {})
    return made


def _components(features: Float32[np.ndarray, "A F"], dim: int) -> Float32[np.ndarray, "A {dim}"]:
    """Principal components of the features, each first brought to deviation 1."""
    most = min(features.shape)
    if not 1 <= dim <= most:
        raise ValueError(
            f"{len(features)} actions with {features.shape[1]} features have 1 to {most} "
            f"principal components, dim asks for {dim}"
        )
    exactly = features.astype(np.float64)
    std = exactly.std(axis=0)
    standard = (exactly - exactly.mean(axis=0)) / np.where(std > 1e-6, std, 1.0)
    made = PCA(n_components=dim, svd_solver="full").fit_transform(standard)
    return made.astype(np.float32)
