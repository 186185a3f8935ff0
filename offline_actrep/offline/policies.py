"""Learners as actors and policies: observations in, points or actions out."""

from typing import final

import numpy as np
from jaxtyping import Float32, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.policy import AbstractActor, AbstractPolicy
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.offline.learner import AbstractIdLearner, AbstractPointLearner


@final
class PointActor(AbstractActor):
    """A learner of points behind the features it was trained on.

    Attributes:
        learner: what was trained.
        features: what it sees of an observation.
        reward_scale: what rewards were multiplied by before it learnt.
    """

    def __init__(
        self,
        learner: AbstractPointLearner,
        features: ObservationFeatures,
        reward_scale: float,
        dim: int,
    ) -> None:
        self.learner, self.features = learner, features
        self.reward_scale, self.dim = reward_scale, dim

    def points(self, observations: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B E"]:
        found = self.learner.points(self.features.numpy(observations), observations)
        return np.clip(found, -1.0, 1.0)

    def value(
        self, observations: Float32[np.ndarray, "B S"], points: Float32[np.ndarray, "B E"]
    ) -> Float32[np.ndarray, " B"]:
        scaled = self.learner.value(self.features.numpy(observations), points)
        return scaled / np.float32(self.reward_scale)


@final
class IdPolicy(AbstractPolicy):
    """A learner of ids behind the features it was trained on; the largest score wins."""

    def __init__(
        self,
        learner: AbstractIdLearner,
        features: ObservationFeatures,
        reward_scale: float,
        action_set: ActionSet,
    ) -> None:
        self.learner, self.features = learner, features
        self.reward_scale, self.action_set = reward_scale, action_set

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        mask = None if allowed is None else allowed.mask(len(self.action_set))
        if mask is not None and not mask.any(axis=1).all():
            row = int(np.flatnonzero(~mask.any(axis=1))[0])
            raise ValueError(f"row {row} has an empty set of allowed actions; give it at least one")
        return self.learner.scores(self.features.numpy(observations), mask).argmax(axis=1)

    def value(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        """Its own Q, in the log's unit of reward; NaN for a learner that has none."""
        scaled = self.learner.value(self.features.numpy(observations), actions)
        return scaled / np.float32(self.reward_scale)
