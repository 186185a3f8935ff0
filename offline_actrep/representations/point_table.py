"""Points that are the same in every state: a row an action."""

from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.decoding import exact


@final
class PointTable(AbstractRepresentation):
    """A fixed point an action.

    Args:
        method: the name of what made it.
        settings: what it was made with, for JSON.
        action_set: the catalogue.
        size: length of the observations; they are not looked at.
        points: in the cube.
    """

    def __init__(
        self,
        method: str,
        settings: dict[str, Any],
        action_set: ActionSet,
        size: int,
        points: Float[Tensor, "A E"],
    ) -> None:
        self.method, self.settings = method, settings
        self.action_set = action_set
        self.observation_size = size
        self.points = points
        self.dim = points.shape[1]
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
            return exact.nearest(points, self._rows, self._at_once(), self._mask(allowed))
        parts = points.split(exact.states_at_once(len(self._distinct), 1))
        found = [torch.cdist(part, self._distinct, p=1.0).min(dim=1) for part in parts]
        places = torch.cat([part.indices for part in found])
        return self._owners[places], torch.cat([part.values for part in found])

    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
        del observations
        mask = None if allowed is None else self._mask(allowed)
        return exact.neighbours(points, self._rows, self._at_once(), count, mask)

    def _mask(self, allowed: AllowedActions) -> Bool[Tensor, "B A"]:
        return torch.from_numpy(allowed.mask(len(self.action_set)))

    def _rows(self, rows: slice) -> Float[Tensor, "b A E"]:
        return self.points.expand(rows.stop - rows.start, -1, -1)

    def _at_once(self) -> int:
        return exact.states_at_once(len(self.action_set), self.dim)

    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> None:
        del observations, left, right

    def disagreement(
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
            "method": self.method,
            "settings": self.settings,
            "observation_size": self.observation_size,
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"points": self.points}


def restore(
    action_set: ActionSet, config: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> PointTable:
    """From what `config` and `tensors` gave."""
    size = config["observation_size"]
    return PointTable(config["method"], config["settings"], action_set, size, tensors["points"])
