"""A device beside the CPU that computes on the CPU, for machines without a GPU.

It refuses what a GPU refuses: a tensor of the CPU in a product with one of its own, a generator
of the CPU, a look at its memory by numpy. What it computes is what the CPU computes, to the bit,
so that a result that came by way of it must equal the CPU's. Its random numbers come from torch's
global generator.
"""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "standin"
COPIES = {"aten::copy_", "aten::_copy_from", "aten::_to_copy"}
"""What may see both sides."""
INDEXED = {"aten::index", "aten::index_put_", "aten::_index_put_impl_"}
"""What may be told places from the CPU."""


class Away(torch.Tensor):
    """A tensor on the device.

    Attributes:
        here: the same, on the CPU; views of one are views of the other.
    """

    here: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> "Away":
        dense = here.layout == torch.strided
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            here.shape,
            strides=here.stride() if dense else None,
            storage_offset=here.storage_offset() if dense else None,
            dtype=here.dtype,
            layout=here.layout,
            device=torch.device(NAME, 0),
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(op, *args, **(kwargs or {}))


class Count:
    """How many operations ran on the device."""

    operations = 0


def run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """One operation on the device."""
    Count.operations += 1
    name = op._schema.name
    if name == "aten::_copy_from":
        source, target = (getattr(tensor, "here", tensor) for tensor in args[:2])
        target.copy_(source)
        return args[1]
    known: dict[int, torch.Tensor] = {}

    def inside(value: Any) -> Any:
        if isinstance(value, Away):
            known[id(value.here)] = value
            return value.here
        if isinstance(value, torch.Generator):
            raise RuntimeError(f"{name}: a generator of the CPU cannot draw on {NAME}")
        if isinstance(value, torch.Tensor) and value.dim() and name not in COPIES | INDEXED:
            raise RuntimeError(f"{name}: expected all tensors on {NAME}, found one on the CPU")
        return torch.device("cpu") if isinstance(value, torch.device) else value

    def outside(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else Away(value)

    found = op(*tree_map(inside, args), **tree_map(inside, kwargs))
    leaves = name == "aten::_to_copy" and getattr(kwargs.get("device"), "type", NAME) == "cpu"
    return found if leaves else tree_map(outside, found)


@functools.cache
def register() -> torch.library.Library:
    """Once a process, before its first backward pass; kept, or torch forgets it."""

    class Module:
        get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16])
        is_available = staticmethod(lambda: False)
        _is_in_bad_fork = staticmethod(lambda: False)
        manual_seed_all = staticmethod(lambda seed: None)

    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    library = torch.library.Library("_", "IMPL")
    library.fallback(run, "PrivateUse1")
    return library


@contextmanager
def standin() -> Iterator[type[Count]]:
    """The device by its name; `torch.tensor` is taught it, which otherwise goes its own way."""
    register()
    Count.operations = 0
    plain = torch.tensor

    def tensor(data: Any, *, device: Any = None, **kwargs: Any) -> torch.Tensor:
        made = plain(data, **kwargs)
        return made if device is None else made.to(device)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "tensor", tensor)
        yield Count
