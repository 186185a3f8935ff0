"""Two critics of a point, fitted to one target; targets that follow them (Fujimoto et al. 2018)."""

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.learner import Batch


def twins(n_features: int, dim: int, hidden: tuple[int, ...]) -> nn.ModuleList:
    """Two networks of state and point, with first weights of their own."""
    return nn.ModuleList(mlp([n_features + dim, *hidden, 1]) for _ in range(2))


def values(
    critics: nn.ModuleList, features: Float32[Tensor, "B F"], points: Float32[Tensor, "B E"]
) -> list[Float32[Tensor, " B"]]:
    """Q of each critic."""
    together = torch.cat([features, points], dim=1)
    return [critic(together)[:, 0] for critic in critics]


def lower_values(
    critics: nn.ModuleList, features: Float32[Tensor, "B F"], points: Float32[Tensor, "B K E"]
) -> Float32[Tensor, "B K"]:
    """The lowest Q of any critic, of each of K points a row."""
    count = points.shape[1]
    seen = features.repeat_interleave(count, dim=0)
    found = torch.stack(values(critics, seen, points.flatten(0, 1)))
    return found.amin(dim=0).view(-1, count)


def regress(
    critics: nn.ModuleList,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    wanted: Float32[Tensor, " B"],
) -> float:
    """One step of both towards the target, in squares; the sum of their errors before it."""
    found = values(critics, batch.features, batch.actions)
    loss = sum(functional.mse_loss(value, wanted) for value in found)
    assert isinstance(loss, Tensor)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@torch.no_grad()
def follow(target: nn.Module, network: nn.Module, share: float) -> None:
    """The target takes a share of the network's weights."""
    for old, new in zip(target.parameters(), network.parameters(), strict=True):
        old.lerp_(new, share)
