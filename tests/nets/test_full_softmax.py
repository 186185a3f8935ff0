"""Cross-entropy in kept memory: torch's own, bit for bit, forwards and backwards."""

import pytest
import torch
from torch import nn

from offline_actrep.nets.full_softmax import FullSoftmax
from offline_actrep.nets.seeding import seeded


@pytest.mark.parametrize("n", [64, 33])
def test_values_and_gradients_are_those_of_torch_to_the_bit(n: int) -> None:
    with seeded(0):
        body, head = nn.Linear(5, 16), nn.Linear(16, 301)
        batches = [(torch.randn(n, 5), torch.randint(301, (n,))) for _ in range(3)]
    lean = FullSoftmax(head)
    for features, targets in batches:  # the second and third write over the first
        found = []
        for loss in (lean, lambda h, y: nn.functional.cross_entropy(head(h), y)):
            body.zero_grad()
            head.zero_grad()
            value = loss(body(features), targets)
            value.backward()
            weights = [*body.parameters(), *head.parameters()]
            found.append([value.detach(), *(w.grad.clone() for w in weights)])  # type: ignore[union-attr]
        for mine, theirs in zip(*found, strict=True):
            assert torch.equal(mine, theirs)
            assert mine.abs().sum() > 0


def test_batches_may_differ_in_length() -> None:
    with seeded(1):
        head = nn.Linear(4, 9)
        lean = FullSoftmax(head)
        for n in (6, 2, 6):
            hidden, targets = torch.randn(n, 4), torch.randint(9, (n,))
            wanted = nn.functional.cross_entropy(head(hidden), targets)
            assert torch.equal(lean(hidden, targets), wanted)
