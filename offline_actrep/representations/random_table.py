"""Random points, the same in every state: what a representation must beat.

Formula: phi(a; s) = u_a, u_a uniform in [-1, 1]^E (rand-1 of Gu et al. 2022, section 5.1).
"""

from dataclasses import asdict
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from pydantic.dataclasses import dataclass
from torch import Tensor

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.decoding import exact
from offline_actrep.nets.features import FeatureConfig


@dataclass(frozen=True, config={"extra": "forbid"})
class RandomTableConfig:
    """What can be set."""

    dim: int = 2
    """E, coordinates of a point."""


@final
class RandomTable(AbstractRepresentation):
    """A fixed point an action."""

    def __init__(self, action_set: ActionSet, size: int, points: Float[Tensor, "A E"]) -> None:
        self.action_set = action_set
        self.observation_size = size
        self.points = points
        self.dim = points.shape[1]

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
        return exact.nearest(
            points,
            lambda rows: self.points.expand(rows.stop - rows.start, -1, -1),
            exact.states_at_once(len(self.action_set), self.dim),
            None if allowed is None else torch.from_numpy(allowed.mask(len(self.action_set))),
        )

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
            "method": "random_table",
            "settings": asdict(RandomTableConfig(dim=self.dim)),
            "observation_size": self.observation_size,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"points": self.points}


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> RandomTable:
    """From what `config` and `tensors` gave."""
    return RandomTable(action_set, config["observation_size"], tensors["points"])


def fit(
    log: Log,
    *,
    config: RandomTableConfig,
    features: FeatureConfig,
    seed: int,
    on_step: OnStep | None = None,
) -> RandomTable:
    """Draws the points; nothing of the log but its catalogue is used."""
    del features
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand((len(log.action_set), config.dim), generator=generator) * 2 - 1
    tell(on_step, 1, 1, {})
    return RandomTable(log.action_set, log.observation_size, points)
