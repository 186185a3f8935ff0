"""Adam on touched rows: torch's own sparse rule, and nothing else moves."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from offline_actrep.nets.row_adam import RowAdam, rows_of


def table(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("shape", [(50, 7), (50,), (50, 2, 3)])
def test_it_moves_as_torchs_sparse_adam(shape: tuple[int, ...]) -> None:
    ours, theirs = table(*shape), table(*shape)
    made = {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-6}
    steps = RowAdam([ours], **made), torch.optim.SparseAdam([theirs], **made)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        rows = torch.randint(25, (30,), generator=generator)  # most of them twice
        wanted = torch.randn((30, *shape[1:]), generator=generator)
        for weights, optimiser in zip((ours, theirs), steps, strict=True):
            optimiser.zero_grad()
            ((rows_of(weights, rows, sparse=True) - wanted) ** 2).sum().backward()
            optimiser.step()
    assert_close(ours, theirs, atol=2e-6, rtol=1e-5)
    assert torch.equal(ours[25:], table(*shape)[25:])
    assert (ours[:25] != table(*shape)[:25]).any()


def test_a_sparse_gradient_is_the_dense_one() -> None:
    rows = torch.tensor([3, 1, 3])
    for shape in ((5, 2), (5,)):
        grads = []
        for sparse in (True, False):
            weights = table(*shape)
            (rows_of(weights, rows, sparse=sparse) ** 3).sum().backward()
            assert weights.grad is not None and weights.grad.is_sparse == sparse
            grads.append(weights.grad.to_dense())
        assert_close(*grads)


def test_a_row_rests_until_it_is_touched_again() -> None:
    """Dense Adam would go on moving it by momentum."""
    weights = table(4, 3)
    optimiser = RowAdam([weights], lr=0.1)
    seen = []
    for row in (2, 0, 0):
        optimiser.zero_grad()
        rows_of(weights, torch.tensor([row]), sparse=True).sum().backward()
        optimiser.step()
        seen.append(weights[2].detach().clone())
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[0], table(4, 3)[2])


def test_without_a_gradient_nothing_moves() -> None:
    weights = table(4, 3)
    RowAdam([weights], lr=0.1).step()
    assert torch.equal(weights, table(4, 3))
