"""Two critics: their errors by hand, the step they take, targets that follow."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from offline_actrep.offline.heads import adam
from offline_actrep.offline.twin_critics import follow, regress, twins, values


def test_both_move_towards_the_target_by_the_sum_of_their_squared_errors(make_batch: Any) -> None:
    torch.manual_seed(0)
    critics = twins(3, 2, (8,))
    batch = replace(make_batch(0, 4), actions=torch.rand(16, 2))
    wanted = torch.linspace(-1, 1, 16)
    first = [(value - wanted).square().mean().item() for value in values(critics, *seen(batch))]
    assert first[0] != first[1]
    optimiser = adam(critics.parameters(), 0.01)
    assert regress(critics, optimiser, batch, wanted) == pytest.approx(sum(first), abs=1e-6)
    for _ in range(20):
        regress(critics, optimiser, batch, wanted)
    later = [(value - wanted).square().mean().item() for value in values(critics, *seen(batch))]
    assert all(new < old for new, old in zip(later, first, strict=True))


def seen(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return batch.features, batch.actions


def test_a_target_takes_its_share() -> None:
    target, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(target.weight, 1.0)
    nn.init.constant_(network.weight, 5.0)
    follow(target, network, 0.25)
    assert (target.weight.item(), network.weight.item()) == (2.0, 5.0)
