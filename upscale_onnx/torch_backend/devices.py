"""Where PyTorch computes."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

import torch

from upscale_onnx.errors import ArgumentError

CPU = torch.device("cpu")

# PyTorch asks for this, so that products of matrices on a GPU add up in one order. It is read with the first product.
_ONE_ORDER = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def device_of(name: str) -> torch.device:
    """The device called "cpu" or "cuda". "auto" is the GPU where PyTorch has one, else the processor.

    Raises: ArgumentError where "cuda" is asked for and PyTorch has no GPU.
    """
    has_gpu = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ArgumentError(
            "device cuda: PyTorch has no GPU here: leave the device out, or install PyTorch's build for CUDA and a "
            "driver"
        )
    return torch.device("cuda" if has_gpu else "cpu")


@contextlib.contextmanager
def computing_on(device: torch.device) -> Iterator[None]:
    """A context in which tensors are made on `device`, and the same is computed each time, where PyTorch can."""
    if device.type == "cpu":
        yield
        return
    os.environ.setdefault(*_ONE_ORDER)
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.device(device), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*deterministic", UserWarning)
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)
