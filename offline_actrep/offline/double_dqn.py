"""Double DQN over ids: two networks of Q, the second a copy made now and then.

Formula (van Hasselt et al. 2016): `y = r + gamma Q'(s', b)`, where b is chosen by Q, not by Q'.
"""

from copy import deepcopy
from typing import final

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from offline_actrep.nets.mlp import mlp
from offline_actrep.offline.heads import at
from offline_actrep.offline.learner import Batch


@final
class DoubleQ(nn.Module):
    """Q and its frozen copy: hidden layers and one output an id each.

    Args:
        sizes: F, the widths of the hidden layers, A.
    """

    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        *body, head = mlp(sizes)
        assert isinstance(head, nn.Linear)
        self.body, self.head = nn.Sequential(*body), head
        self.frozen_body, self.frozen_head = deepcopy(self.body), deepcopy(self.head)
        self.updates = 0

    def forward(self, features: Float32[Tensor, "B F"]) -> Float32[Tensor, "B A"]:
        """Q of every id."""
        return self.head(self.body(features))

    @torch.no_grad()
    def target(
        self, batch: Batch, best: Int64[Tensor, " B"], gamma: float
    ) -> Float32[Tensor, " B"]:
        """`r + gamma Q'(s', best)`; r alone where the episode terminated."""
        ahead = at(self.frozen_head, self.frozen_body(batch.next_features), best)
        return batch.rewards + gamma * (1 - batch.terminals) * ahead

    def value(
        self, features: Float32[Tensor, "B F"], actions: Int64[Tensor, " B"]
    ) -> Float32[Tensor, " B"]:
        """Q of one id a row."""
        return at(self.head, self.body(features), actions)

    def updated(self, interval: int) -> None:
        """Counts an update; after the first, and every `interval` from there, the copy is anew."""
        if self.updates % interval == 0:
            self.frozen_body.load_state_dict(self.body.state_dict())
            self.frozen_head.load_state_dict(self.head.state_dict())
        self.updates += 1

    def trained(self) -> list[nn.Parameter]:
        """All weights but the copy's."""
        return [*self.body.parameters(), *self.head.parameters()]
