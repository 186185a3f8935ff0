"""What all tests share: one thread, and tiny logs."""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch
from hypothesis import settings

from offline_actrep.behaviour import MAZE_ROUTE, EpisodeMixture, Noisy, WayPoints, collect
from offline_actrep.core.actions import ActionSet
from offline_actrep.core.log import Log
from offline_actrep.core.policy import AbstractBehaviour
from offline_actrep.simulators.maze import Maze

torch.set_num_threads(1)  # as the program runs: sums over several differ in the last bit
settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


def tiny_mixture(action_set: ActionSet) -> AbstractBehaviour:
    """`maze_mixture` for 16 actions: the follower chooses among 4 instead of 1024."""
    wanderer = WayPoints(action_set, None, best=1)
    follower = WayPoints(action_set, MAZE_ROUTE, best=4)
    return Noisy(EpisodeMixture((wanderer, follower), (0.7, 0.3)), 0.5)


@pytest.fixture(scope="session")
def maze_log() -> Log:
    """16 actions; 8 episodes, at most 480 rows, propensities logged."""
    world = Maze(8, actuators=4)
    return collect(tiny_mixture(world.action_set), world, rows=300, seed=0)


@pytest.fixture
def without_shape_checks() -> Iterator[None]:
    """As users run the package: the shape checks of the tests would speak first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
