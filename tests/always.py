"""The simplest policy, for tests of what is done with one."""

from typing import final

import numpy as np
from jaxtyping import Float32, Int64

from offline_actrep.core.actions import ActionSet, AllowedActions
from offline_actrep.core.policy import AbstractPolicy


@final
class Always(AbstractPolicy):
    """The same action everywhere."""

    def __init__(self, action_set: ActionSet, action: int) -> None:
        self.action_set, self.action = action_set, action

    def choose(
        self, observations: Float32[np.ndarray, "B S"], allowed: AllowedActions | None = None
    ) -> Int64[np.ndarray, " B"]:
        del allowed
        return np.full(len(observations), self.action)
