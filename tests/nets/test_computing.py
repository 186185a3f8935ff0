"""Threads and precision inside a fit, and the caller's own afterwards."""

import pytest
import torch

from offline_actrep.nets.computing import products_in, torch_threads
from offline_actrep.nets.seeding import seeded


def test_threads_hold_inside_and_the_callers_come_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="stop"), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise RuntimeError("stop")
    assert torch.get_num_threads() == before


def test_no_thread_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"), torch_threads(0):
        pass


def test_layers_multiply_in_the_precision_asked_for_and_only_inside() -> None:
    with seeded(0):
        layer, x = torch.nn.Linear(64, 8), torch.randn(5, 64)
    plain = layer(x)
    with products_in("float32"):
        assert torch.equal(layer(x), plain)
    with products_in("bfloat16"):
        rough = layer(x)
    assert rough.dtype == torch.bfloat16 and layer(x).dtype == torch.float32
    torch.testing.assert_close(rough.float(), plain, atol=0.03, rtol=0)
    rough.float().sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.dtype == torch.float32
