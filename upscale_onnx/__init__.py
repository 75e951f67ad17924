"""A compiler that makes channel-pruned ONNX models smaller and faster, and proves that nothing else changed.

`compile` runs it, `Options` says what to do, and `Result` is what `compile` returns. Other commands
are functions as well; docs/python.md shows them all.
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
    from upscale_onnx.measures.accuracy import Preprocessing, evaluate
    from upscale_onnx.options import ExportOptions, Options, ProofOptions, PruneOptions, TargetOptions
    from upscale_onnx.pipeline import compile, inspect
    from upscale_onnx.proof.verifying import verify
    from upscale_onnx.results import (
        Accuracy,
        Bench,
        Calibration,
        Finetuned,
        Front,
        Inspection,
        PrunedInTraining,
        Report,
        Result,
        Sensitivity,
        Sparsified,
        Verification,
    )
    from upscale_onnx.searching.search import search
    from upscale_onnx.searching.settings import Searching
    from upscale_onnx.sensitivity.scanning import scan
    from upscale_onnx.timing.calibration import calibrate
    from upscale_onnx.timing.races import race
    from upscale_onnx.training.compiled import prune
    from upscale_onnx.training.finetune import finetune
    from upscale_onnx.training.pruning import Pruning
    from upscale_onnx.training.settings import Training
    from upscale_onnx.unstructured.sparsify import Sparsifying, sparsify

__version__ = "0.1.0"

__all__ = [
    "Accuracy",
    "ArgumentError",
    "Bench",
    "Calibration",
    "ExportOptions",
    "Finetuned",
    "Front",
    "Inspection",
    "InternalError",
    "LossError",
    "MaskingManager",
    "ModelError",
    "NotEquivalentError",
    "Options",
    "Preprocessing",
    "ProofOptions",
    "ProviderError",
    "PruneOptions",
    "PrunedInTraining",
    "Pruning",
    "PruningManager",
    "Reason",
    "Report",
    "Result",
    "Searching",
    "Sensitivity",
    "Sparsified",
    "Sparsifying",
    "TargetOptions",
    "Training",
    "UnchangedError",
    "UpscaleError",
    "Verification",
    "calibrate",
    "compile",
    "evaluate",
    "finetune",
    "inspect",
    "prune",
    "race",
    "scan",
    "search",
    "sparsify",
    "verify",
]

# The modules that hold the public names. Names that are not listed are in `errors`.
_HOMES = {
    "Accuracy": "results",
    "Bench": "results",
    "Calibration": "results",
    "ExportOptions": "options",
    "Finetuned": "results",
    "Front": "results",
    "Inspection": "results",
    "MaskingManager": "compat",
    "Options": "options",
    "Preprocessing": "measures.accuracy",
    "ProofOptions": "options",
    "PruneOptions": "options",
    "PrunedInTraining": "results",
    "Pruning": "training.pruning",
    "PruningManager": "compat",
    "Report": "results",
    "Result": "results",
    "Searching": "searching.settings",
    "Sensitivity": "results",
    "Sparsified": "results",
    "Sparsifying": "unstructured.sparsify",
    "TargetOptions": "options",
    "Training": "training.settings",
    "Verification": "results",
    "calibrate": "timing.calibration",
    "compile": "pipeline",
    "evaluate": "measures.accuracy",
    "finetune": "training.finetune",
    "inspect": "pipeline",
    "prune": "training.compiled",
    "race": "timing.races",
    "scan": "sensitivity.scanning",
    "search": "searching.search",
    "sparsify": "unstructured.sparsify",
    "verify": "proof.verifying",
}


def __getattr__(name: str) -> Any:
    """The object with the public name `name`. It is imported on first use, because onnxruntime is slow to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
