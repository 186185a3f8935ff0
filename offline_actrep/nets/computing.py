"""How torch computes while something learns: where, on how many threads, how precisely."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

CPU = torch.device("cpu")
"""Where whatever has learnt lies."""
Precision = Literal["float32", "bfloat16"]
"""Of the products in linear layers; losses, weights and what moves them stay in float32."""


def device_of(name: str) -> torch.device:
    """Where networks learn: `auto` is a GPU that CUDA knows if there is one, else the CPU.

    Args:
        name: `auto`, or a device as torch names it: `cpu`, `cuda`, `cuda:1`.

    Raises:
        ValueError: torch knows no such device, or it is not there.
    """
    n = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda", 0) if n else CPU
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {name!r}: expected auto, cpu, cuda or cuda:<number>"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= n:
        there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(n))])
        raise ValueError(
            f"device {name!r} is not there: torch {torch.__version__} sees {there}; take one of "
            "those, or auto"
        )
    return CPU if device.type == "cpu" else torch.device(device.type, device.index or 0)


def numbered(device: torch.device) -> str:
    """A device's name as d3rlpy takes it, with its number: `cpu:0`, `cuda:1`."""
    return f"{device.type}:{device.index or 0}"


def hardware() -> str:
    """Processor, the instructions that torch takes of it, cores and GPUs in one line.

    Sums are rounded otherwise on processors of another maker, whatever instructions they know.
    """
    gpus = (torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    known = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.5 cannot tell
    named = [platform.machine(), known.get("cpu_name"), torch.backends.cpu.get_cpu_capability()]
    return ", ".join([" ".join(filter(None, named)), f"{os.cpu_count()} cores", *gpus])


@contextmanager
def learning_on(device: torch.device) -> Iterator[None]:
    """On a GPU torch takes kernels that give the same bits every time, where it has any.

    Some of cuBLAS's want their workspace named before the first of them runs; a name that is set
    already stays.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    """Torch computes on n threads inside; the caller's number comes back.

    Networks of 64 to 256 units are slower on two threads than on one unless the machine is idle,
    and one thread is what makes a fit the same to the bit.

    Raises:
        ValueError: fewer than one thread.
    """
    if n < 1:
        raise ValueError(f"threads must be at least 1, got {n}")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def products_in(precision: Precision, device: torch.device = CPU) -> torch.autocast:
    """Layers inside multiply in this precision; what they give must be made `float()` again.

    For a forward pass; the backward pass follows it. In bfloat16 a step of 1,024 rows through
    layers of 256 took 23 ms against 37, one of 128 rows as long as before (a processor that knows
    bfloat16 products but has no matrix unit), and the points of the maze were as good: nearest
    points' effects differed by 0.114 and 0.102 of random ones' against 0.112 and 0.124 (two
    seeds).
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")
