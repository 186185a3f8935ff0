"""Random points that keep a distance, the same in every state.

Idea: uniformly drawn points may fall together, so that no policy can aim at one of them; here
each has room.

Formula (rand-2 of Gu et al. 2022, section 5.1): phi(a; s) = u_a, u_a uniform in [-1, 1]^E under
|u_a - u_b|_1 > d for all a, b. The paper does not say how large d is. By default

    d = (E! / (2 A))^(1 / E)

for which the points nearer than d to any other (l1 balls of volume (2 d)^E / E!) are at most half
of the cube's volume 2^E: every draw finds room with a chance of at least one half.
"""

from dataclasses import asdict
from math import exp, lgamma, log
from typing import Annotated

import torch
from jaxtyping import Float32
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from offline_actrep.core.log import Log
from offline_actrep.core.progress import OnStep, tell
from offline_actrep.core.settings import STRICT
from offline_actrep.nets.computing import CPU
from offline_actrep.nets.features import FeatureConfig
from offline_actrep.representations.point_table import PointTable

DRAWS = 200
"""Most draws an action, taken together, before it is given up."""
AT_ONCE = 4_000_000
"""Most distances at once."""


@dataclass(frozen=True, config=STRICT)
class RandomSpreadConfig:
    """What can be set."""

    dim: Annotated[int, Field(ge=1)] = 2
    """E, coordinates of a point."""
    distance: Annotated[float, Field(ge=0)] | None = None
    """d, which the l1 distance of any two points exceeds; None for the formula's."""


def fit(
    log: Log,
    *,
    config: RandomSpreadConfig,
    features: FeatureConfig,
    seed: int,
    device: torch.device = CPU,
    on_step: OnStep | None = None,
) -> PointTable:
    """Draws the points; nothing of the log but its catalogue is used.

    Raises:
        ValueError: a distance at which no room was found for all actions.
    """
    del features, device
    n_actions = len(log.action_set)
    distance = config.distance
    if distance is None:
        distance = roomy_distance(n_actions, config.dim)
    points = spread_points(n_actions, config.dim, distance, seed=seed)
    tell(on_step, 1, 1, {})
    return PointTable("random_spread", asdict(config), log.action_set, log.observation_size, points)


def roomy_distance(n_actions: int, dim: int) -> float:
    """The distance at which at least half of the cube stays free."""
    return exp((lgamma(dim + 1) - log(2 * n_actions)) / dim)


def spread_points(
    n_actions: int, dim: int, distance: float, *, seed: int
) -> Float32[Tensor, "{n_actions} {dim}"]:
    """Points of which any two are more than `distance` apart.

    They are drawn one after the other, and who comes too near to an earlier one draws again.

    Raises:
        ValueError: no room was found for all actions.
    """
    generator = torch.Generator().manual_seed(seed)
    placed = torch.empty((n_actions, dim), dtype=torch.float64)
    n_placed, n_drawn = 0, 0
    while n_placed < n_actions:
        if n_drawn > DRAWS * n_actions:
            raise ValueError(
                f"{n_actions} points in {dim} dimensions do not fit more than {distance:g} apart: "
                f"{n_placed} found room in {n_drawn} draws; take a smaller distance "
                f"({roomy_distance(n_actions, dim):.3g} leaves room) or more dimensions"
            )
        drawn = torch.rand((_block(n_actions), dim), generator=generator).double() * 2 - 1
        n_drawn += len(drawn)
        near = torch.cdist(drawn, placed[:n_placed], p=1.0) <= distance
        drawn = drawn[~near.any(dim=1)]
        near = (torch.cdist(drawn, drawn, p=1.0) <= distance).tril(-1)
        drawn = drawn[~near.any(dim=1)][: n_actions - n_placed]
        placed[n_placed : n_placed + len(drawn)] = drawn
        n_placed += len(drawn)
    return placed.float()


def _block(n_actions: int) -> int:
    """How many points to draw at once."""
    return min(n_actions, max(1, AT_ONCE // n_actions))
