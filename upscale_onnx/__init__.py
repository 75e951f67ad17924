"""A compiler that makes channel-pruned ONNX models smaller and faster, and proves that nothing else changed.

`compile` runs it; `Options` says what to do; `Result` is what comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upscale_onnx.errors import (
    ArgumentError,
    InternalError,
    ModelError,
    NotEquivalentError,
    ProviderError,
    Reason,
    UnchangedError,
    UpscaleError,
)
from upscale_onnx.options import Options
from upscale_onnx.results import Report, Result

if TYPE_CHECKING:
    from upscale_onnx.compat import MaskingManager, PruningManager
    from upscale_onnx.pipeline import compile

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "InternalError",
    "MaskingManager",
    "ModelError",
    "NotEquivalentError",
    "Options",
    "ProviderError",
    "PruningManager",
    "Reason",
    "Report",
    "Result",
    "UnchangedError",
    "UpscaleError",
    "compile",
]


def __getattr__(name: str) -> Any:
    """The names whose import is slow (onnxruntime takes a third of a second), loaded on first use."""
    if name == "compile":
        from upscale_onnx.pipeline import compile

        return compile
    if name in ("MaskingManager", "PruningManager"):
        from upscale_onnx import compat

        return getattr(compat, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
