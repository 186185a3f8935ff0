"""Learners as actors and policies: observations in, points or actions out."""

from typing import final

import numpy as np
from jaxtyping import Float32, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions, refuse_empty
from offline_actrep.core.policy import AbstractActor, AbstractPolicy, refuse_unpaired
from offline_actrep.nets.features import ObservationFeatures
from offline_actrep.offline.heads import parts
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

    def points(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Float32[np.ndarray, "B E"]:
        found = self.learner.points(self.features.numpy(observations), observations, allowed)
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
        refuse_unpaired(observations, allowed)
        if allowed is not None:
            refuse_empty(allowed.counts > 0)
        features, n_actions = self.features.numpy(observations), len(self.action_set)
        chosen = np.empty(len(features), np.int64)
        for rows in parts(len(features), n_actions):
            sets = None if allowed is None else allowed.between(rows.start, rows.stop)
            mask = None if sets is None else sets.mask(n_actions)
            chosen[rows] = self.learner.scores(features[rows], mask).argmax(axis=1)
        return chosen

    def value(
        self, observations: Float32[np.ndarray, "B S"], actions: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, " B"]:
        """Its own Q, in the log's unit of reward; NaN for a learner that has none."""
        scaled = self.learner.value(self.features.numpy(observations), actions)
        return scaled / np.float32(self.reward_scale)
