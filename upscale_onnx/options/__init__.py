"""What a compile is asked to do: the options, what values they take, and the check that they do."""

from __future__ import annotations

from upscale_onnx.options.groups import (
    Export,
    ExportOptions,
    Masks,
    Method,
    Prefer,
    Proof,
    ProofOptions,
    Provider,
    PruneOptions,
    Repair,
    Schedule,
    Scope,
    Side,
    TargetOptions,
)
from upscale_onnx.options.options import Options

__all__ = [
    "Export",
    "ExportOptions",
    "Masks",
    "Method",
    "Options",
    "Prefer",
    "Proof",
    "ProofOptions",
    "Provider",
    "PruneOptions",
    "Repair",
    "Schedule",
    "Scope",
    "Side",
    "TargetOptions",
]
