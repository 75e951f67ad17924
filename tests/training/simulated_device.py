"""A device that PyTorch takes for a GPU: its tensors hold those of the processor, and it refuses to mix them with
others, as GPUs do. So what would fail on a GPU fails here, and all else computes the same numbers."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils import backend_registration as registration

_MOVES = frozenset({"copy_", "_to_copy"})
_NAME = "simulated"


@functools.cache
def simulated_device() -> Any:
    """The device. It is made once in each process, which PyTorch does not forget."""
    registration._setup_privateuseone_for_python_backend(_NAME, _module())
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "PrivateUse1")
    library.impl("empty_strided", _empty_strided, "PrivateUse1")
    library.impl("_copy_from", _copy_from, "PrivateUse1")
    simulated_device.library = library  # type: ignore[attr-defined]  # what it has registered goes with it
    return torch.device(_NAME)


def _module() -> Any:
    """What PyTorch asks of a device."""

    class Module(registration._DummyBackendModule):  # type: ignore[misc, name-defined]
        def get_amp_supported_dtype(self) -> list[Any]:
            return [torch.bfloat16]

    return Module()


class OnDevice(torch.Tensor):  # type: ignore[misc, name-defined]
    """A tensor of the device. plain: the tensor of the processor that holds its numbers."""

    plain: Any

    @staticmethod
    def __new__(cls, plain: Any) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            plain.shape,
            strides=plain.stride(),
            storage_offset=plain.storage_offset(),
            dtype=plain.dtype,
            device=f"{_NAME}:0",
        )
        made.plain = plain
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        del types
        given = kwargs or {}
        for value in pytree.tree_leaves((args, given)):
            moves = function.overloadpacket.__name__ in _MOVES
            if isinstance(value, torch.Tensor) and not isinstance(value, OnDevice) and value.ndim and not moves:
                raise RuntimeError(f"{function}: expected all tensors to be on one device")
        made = function(*pytree.tree_map(_plain, args), **pytree.tree_map(_plain, given))
        if function._schema.is_mutable and isinstance(args[0], torch.Tensor):
            return args[0]
        target = given.get("device")
        if target is not None and torch.device(target).type == "cpu":
            return made
        return pytree.tree_map(lambda value: OnDevice(value) if isinstance(value, torch.Tensor) else value, made)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return value.plain if isinstance(value, OnDevice) else value


def _empty(size: Any, dtype: Any = None, memory_format: Any = None, **_: Any) -> OnDevice:
    return OnDevice(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size: Any, stride: Any, dtype: Any = None, **_: Any) -> OnDevice:
    return OnDevice(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Any, target: Any, non_blocking: bool = False) -> Any:
    del non_blocking
    _plain(target).copy_(_plain(source))
    return target
