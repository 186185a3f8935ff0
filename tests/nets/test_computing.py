"""Threads and precision inside a fit, and the caller's own afterwards."""

import os
import platform

import pytest
import torch

from offline_actrep.nets.computing import (
    CPU,
    device_of,
    hardware,
    learning_on,
    products_in,
    torch_threads,
)
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


def test_a_gpu_is_taken_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of("auto") == device_of("cpu") == device_of("cpu:0") == CPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto") == device_of("cuda") == torch.device("cuda", 0)
    assert device_of("cuda:1") == torch.device("cuda", 1)
    assert device_of("cpu") == CPU


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"'cuda:2' is not there.*sees cpu, cuda:0, cuda:1"):
        device_of("cuda:2")
    with pytest.raises(ValueError, match="unknown device 'gpu': expected auto, cpu, cuda or"):
        device_of("gpu")


def test_a_gpu_is_asked_for_the_same_bits_and_only_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with learning_on(CPU):
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with pytest.raises(RuntimeError, match="stop"), learning_on(torch.device("cuda", 0)):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise RuntimeError("stop")
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_processor_is_named_where_torch_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    takes, cores = torch.backends.cpu.get_cpu_capability(), f"{os.cpu_count()} cores"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "AMD EPYC"})
    assert hardware() == f"x86_64 AMD EPYC {takes}, {cores}"
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert hardware() == f"x86_64 {takes}, {cores}"
