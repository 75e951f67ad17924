"""What training needs beside the core of the package."""

from __future__ import annotations

from upscale_onnx.errors import ArgumentError


def check_torch() -> None:
    """Raises: ArgumentError where PyTorch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise ArgumentError("training needs PyTorch: pip install 'upscale-onnx[torch]'") from error
