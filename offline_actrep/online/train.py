"""The door to online training: stable-baselines3 is loaded when a training begins, not before."""

import importlib
from typing import Any

from offline_actrep.core.representation import AbstractRepresentation
from offline_actrep.core.simulator import AbstractSimulator
from offline_actrep.online.policies import OnlinePolicy


def train_online(
    world: AbstractSimulator,
    name: str,
    representation: AbstractRepresentation | None,
    **settings: Any,
) -> OnlinePolicy:
    """See `sb3.train_online`, which this is.

    Raises:
        ImportError: stable-baselines3 is not installed (`pip install "offline_actrep[online]"`).
    """
    sb3 = importlib.import_module("offline_actrep.online.sb3")
    return sb3.train_online(world, name, representation, **settings)
