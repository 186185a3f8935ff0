"""A state-conditional point for every action: two verbs, `embed` and `decode`."""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from offline_actrep.core.actions import ActionSet, AllowedActions


class AbstractRepresentation(ABC):
    """Finished when it exists; points lie in [-1, 1]^E.

    Attributes:
        action_set: the catalogue it gives points to.
        dim: E, the number of coordinates of a point.
        observation_size: S, the length of the observations it takes.
    """

    action_set: ActionSet
    dim: int
    observation_size: int

    @abstractmethod
    def embed(
        self, observations: Float[Tensor, "B S"], actions: Int64[Tensor, " B"]
    ) -> Float[Tensor, "B E"]:
        """The point of each dense action index in the state beside it."""

    @abstractmethod
    def table(self, observations: Float[Tensor, "B S"]) -> Float[Tensor, "B A E"]:
        """The points of all actions in each state."""

    @abstractmethod
    def nearest(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, " B"], Float[Tensor, " B"]]:
        """The dense index of the action nearest to each point, and its l1 distance in the cube.

        The lowest index wins a tie.

        Raises:
            ValueError: a row whose allowed set is empty.
        """

    @abstractmethod
    def neighbours(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        count: int,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[Tensor, "B K"], Float[Tensor, "B K"]]:
        """Dense indices of the `count` (K) actions nearest to each point, and their l1 distances.

        Nearest first, the lower index where two are as near: the first column is what `nearest`
        finds where that search is exact. A row that allows fewer has -1 and infinity in place of
        those that it lacks.

        Raises:
            ValueError: a row whose allowed set is empty or whose distances are not numbers; a
                `count` below 1.
        """

    @final
    def decode(
        self,
        observations: Float[Tensor, "B S"],
        points: Float[Tensor, "B E"],
        allowed: AllowedActions | None = None,
    ) -> Int64[Tensor, " B"]:
        """The dense index of the action nearest to each point (`nearest` without the distance)."""
        return self.nearest(observations, points, allowed)[0]

    @abstractmethod
    def target_distance(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]] | None:
        """(l1 distance of two actions' points, the distance the method wants for them).

        Both in the method's own unit. None for a method that wants none.
        """

    @abstractmethod
    def disagreement(
        self,
        observations: Float[Tensor, "B S"],
        left: Int64[Tensor, " B"],
        right: Int64[Tensor, " B"],
    ) -> Float[Tensor, " B"] | None:
        """Deviation of the wanted distance among the members of an ensemble; None without one."""

    @abstractmethod
    def unsupported(self, observations: Float[Tensor, "B S"]) -> Bool[Tensor, "B A"] | None:
        """Which actions the method holds for out of distribution; None if it does not say."""

    @abstractmethod
    def config(self) -> dict[str, object]:
        """What JSON must hold to make it again, its method's name under `method`."""

    @abstractmethod
    def tensors(self) -> dict[str, torch.Tensor]:
        """What safetensors must hold to make it again."""
