"""Points from what is known of the actions themselves, the same in every state.

The external features of the catalogue (movement vectors, prices, one-hot types), scaled once into
the cube. They exist before any log does, so that learners can act from the first decision on; what
they say about an action's effect is whatever the catalogue says.

Formula: phi(a; s) = frame(x_a), x_a the features of a; with `dim` the first principal components
of the standardised features instead.
"""

from dataclasses import asdict
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from pydantic.dataclasses import dataclass
from sklearn.decomposition import PCA
from torch import Tensor

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.decoding import exact
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations.frame import Frame


@dataclass(frozen=True, config={"extra": "forbid"})
class ExternalConfig:
    """What can be set."""

    dim: int | None = None
    """E, principal components that are kept; None for the features as they are."""


@final
class External(AbstractRepresentation):
    """A fixed point an action.

    Args:
        action_set: the catalogue.
        size: length of the observations; they are not looked at.
        points: in the cube.
        config: what they were made with.
    """

    def __init__(
        self,
        action_set: ActionSet,
        size: int,
        points: Float[Tensor, "A E"],
        config: ExternalConfig,
    ) -> None:
        self.action_set = action_set
        self.observation_size = size
        self.points = points
        self.dim = points.shape[1]
        self._settings = config
        _, first = np.unique(points.numpy(), axis=0, return_index=True)
        self._owners = torch.from_numpy(np.sort(first))
        self._distinct = points[self._owners]

    def embed(
        self, observations: Float[Tensor, "B S"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        del observations
        return self.points[actions]

    def table(self, observations: Float[Tensor, "B S"]) -> Float[Tensor, "B A E"]:
        return self.points.expand(len(observations), -1, -1)

    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        """Of actions that share a point only the first is looked at, where all are allowed."""
        if allowed is not None:
            return exact.nearest(
                points,
                lambda rows: self.points.expand(rows.stop - rows.start, -1, -1),
                exact.states_at_once(len(self.action_set), self.dim),
                torch.from_numpy(allowed.mask(len(self.action_set))),
            )
        parts = points.split(exact.states_at_once(len(self._distinct), 1))
        found = [torch.cdist(part, self._distinct, p=1.0).min(dim=1) for part in parts]
        places = torch.cat([part.indices for part in found])
        return self._owners[places], torch.cat([part.values for part in found])

    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> None:
        del observations, left, right

    def unsupported(self, observations: Float[Tensor, "B S"]) -> None:
        del observations

    def config(self) -> dict[str, object]:
        return {
            "method": "external",
            "settings": asdict(self._settings),
            "observation_size": self.observation_size,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"points": self.points}


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> External:
    """From what `config` and `tensors` gave."""
    settings = ExternalConfig(**config["settings"])
    return External(action_set, config["observation_size"], tensors["points"], settings)


def external_points(
    action_set: ActionSet, *, observation_size: int, dim: int | None = None
) -> External:
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
    return External(action_set, observation_size, points, ExternalConfig(dim))


def fit(
    log: Log,
    *,
    config: ExternalConfig,
    features: FeatureConfig,
    seed: int,
    on_step: OnStep | None = None,
) -> External:
    """Of a log only the catalogue is used; nothing is drawn."""
    del features, seed
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
