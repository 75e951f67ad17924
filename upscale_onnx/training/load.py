"""The entry to training, where PyTorch is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from upscale_onnx.errors import ArgumentError

if TYPE_CHECKING:
    from upscale_onnx.training.finetune import Finetuned


def finetune_function() -> Callable[..., Finetuned]:
    """The function `finetune`.

    Raises: ArgumentError where PyTorch is not installed.
    """
    try:
        from upscale_onnx.training.finetune import finetune
    except ImportError as error:
        raise ArgumentError("training needs PyTorch: pip install 'upscale-onnx[torch]'") from error
    return finetune
