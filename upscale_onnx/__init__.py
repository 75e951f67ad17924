"""A compiler that makes channel-pruned ONNX models smaller and faster, and proves that nothing else changed.

`compile` runs it, `Options` says what to do, and `Result` is what `compile` returns.
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
    from upscale_onnx.training.finetune import finetune
    from upscale_onnx.training.settings import Training

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
    "Training",
    "UnchangedError",
    "UpscaleError",
    "compile",
    "finetune",
]


# The modules of the public names. Names that are not listed are in `errors`.
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
    "Training": "training.settings",
    "compile": "pipeline",
    "finetune": "training.finetune",
}


def __getattr__(name: str) -> Any:
    """The object with the public name `name`. It is imported on first use, because onnxruntime is slow to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
