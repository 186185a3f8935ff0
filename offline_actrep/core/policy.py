"""What acts: observations in, actions out. A policy does not know how it is judged."""

from abc import ABC, abstractmethod
from typing import final

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.representation import AbstractRepresentation


class AbstractPolicy(ABC):
    """A deterministic choice for every observation: the same batch is answered alike each time.

    Most policies answer a row the same in every batch. One that draws candidates from a fixed seed
    in each call, as BCQ on points does, answers a row by its place in the batch too.

    Attributes:
        action_set: the catalogue that it chooses from.
    """

    action_set: ActionSet

    @abstractmethod
    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        """Dense indices of the chosen actions."""

    @final
    def act(self, observations: np.ndarray, allowed: AllowedActions | None = None) -> np.ndarray:
        """Ids as logged `[B]` of the chosen actions, for observations `[B, S]`.

        Raises:
            ValueError: observations that are not `[B, S]`, or not as many sets as rows.
        """
        rows = np.ascontiguousarray(observations, np.float32)
        if rows.ndim != 2:
            raise ValueError(f"observations must be [B, S], got shape {rows.shape}")
        refuse_unpaired(rows, allowed)
        return self.action_set.decode(self.choose(rows, allowed))


def refuse_unpaired(
    observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None
) -> None:
    """Refuses sets of allowed actions that do not stand beside the observations row by row.

    Raises:
        ValueError: another number of sets than of observations.
    """
    if allowed is not None and len(allowed) != len(observations):
        raise ValueError(
            f"{len(observations)} observations need as many sets of allowed actions, got "
            f"{len(allowed)}: give a set a row, or None where everything is allowed"
        )


class AbstractActor(ABC):
    """A deterministic continuous policy: where in the cube to go in each state.

    Attributes:
        dim: E.
    """

    dim: int

    @abstractmethod
    def points(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Float32[np.ndarray, "B E"]:
        """The point it wants in each state.

        Args:
            observations: the states.
            allowed: what each allows, for an actor that looks at real actions; None for all.
        """

    @abstractmethod
    def value(
        self, observations: Float32[np.ndarray, "B S"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        """Its own Q of each point, in the log's unit of reward."""


@final
class DecodedPolicy(AbstractPolicy):
    """An actor's point, decoded to the nearest action: what is served and judged.

    Raises:
        ValueError: the actor's points have another length than the representation's.
    """

    def __init__(self, actor: AbstractActor, representation: AbstractRepresentation) -> None:
        if actor.dim != representation.dim:
            raise ValueError(
                f"the actor gives points of {actor.dim} coordinates, "
                f"the representation has {representation.dim}"
            )
        self.actor = actor
        self.representation = representation
        self.action_set = representation.action_set

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        return self.nearest(observations, allowed)[0]

    def nearest(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> tuple[Int64[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
        """The chosen actions, and how far (l1, in the cube) each lies from the actor's point.

        Raises:
            ValueError: not as many sets as observations, or an empty set.
        """
        refuse_unpaired(observations, allowed)
        wanted = torch.from_numpy(self.actor.points(observations, allowed))
        actions, gap = self.representation.nearest(torch.from_numpy(observations), wanted, allowed)
        return actions.numpy(), gap.numpy()


class AbstractBehaviour(ABC):
    """What writes a log: draws actions and says with what probability it drew them.

    It may keep something in mind for the length of an episode (a way-point), one entry a world;
    the propensity it reports is the probability given all that it used.

    Attributes:
        action_set: the catalogue that it draws from.
    """

    action_set: ActionSet

    def begin(self, worlds: np.ndarray, generator: np.random.Generator) -> None:
        """A new episode begins in the worlds of the mask `[B]`: forget and draw anew.

        Nothing to do for a behaviour that keeps nothing in mind.
        """
        del worlds, generator

    @abstractmethod
    def draw(
        self,
        observations: Float32[np.ndarray, "B S"],
        generator: np.random.Generator,
        allowed: AllowedActions | None = None,
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, " B"]]:
        """Dense actions out of those allowed, and the probability with which each was drawn."""

    @abstractmethod
    def probability(
        self,
        observations: Float32[np.ndarray, "B S"],
        actions: Int64[np.ndarray, " B"],
        allowed: AllowedActions | None = None,
    ) -> Float64[np.ndarray, " B"]:
        """The probability of drawing the given actions now, in what it has in mind."""
