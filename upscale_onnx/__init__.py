"""A compiler that makes channel-pruned ONNX models smaller and faster, and proves that nothing else changed.

`compile` runs it; `Options` says what to do; `Result` is what comes back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from upscale_onnx.compat import MaskingManager, PruningManager
    from upscale_onnx.errors import (
        ArgumentError,
        InternalError,
        LossError,
        ModelError,
        NotEquivalentError,
        ProviderError,
        Reason,
        UnchangedError,
        UpscaleError,
    )
    from upscale_onnx.options import ExportOptions, Options, ProofOptions, PruneOptions, TargetOptions
    from upscale_onnx.pipeline import compile
    from upscale_onnx.results import Report, Result

__version__ = "0.1.0"

__all__ = [
    "ArgumentError",
    "ExportOptions",
    "InternalError",
    "LossError",
    "MaskingManager",
    "ModelError",
    "NotEquivalentError",
    "Options",
    "ProofOptions",
    "ProviderError",
    "PruneOptions",
    "PruningManager",
    "Reason",
    "Report",
    "Result",
    "TargetOptions",
    "UnchangedError",
    "UpscaleError",
    "compile",
]


# The modules of the names that are no errors.
_HOMES = {
    "ExportOptions": "options",
    "MaskingManager": "compat",
    "Options": "options",
    "ProofOptions": "options",
    "PruneOptions": "options",
    "PruningManager": "compat",
    "Report": "results",
    "Result": "results",
    "TargetOptions": "options",
    "compile": "pipeline",
}


def __getattr__(name: str) -> Any:
    """A public name, loaded on first use: onnxruntime takes a third of a second."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
