"""The options of a compile, the values that they take, and the check of given values."""

from __future__ import annotations

from upscale_onnx.options.groups import (
    Export,
    ExportOptions,
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
from upscale_onnx.options.values import Profile, Samples

__all__ = [
    "Export",
    "ExportOptions",
    "Method",
    "Options",
    "Prefer",
    "Profile",
    "Proof",
    "ProofOptions",
    "Provider",
    "PruneOptions",
    "Repair",
    "Samples",
    "Schedule",
    "Scope",
    "Side",
    "TargetOptions",
]
