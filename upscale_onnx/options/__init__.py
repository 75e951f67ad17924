"""What a compile is asked to do: the options, what values they take, and the check that they do."""

from __future__ import annotations

from upscale_onnx.options.options import (
    Export,
    Masks,
    Method,
    Options,
    Prefer,
    Proof,
    Provider,
    Repair,
    Schedule,
    Scope,
    Side,
)

__all__ = [
    "Export",
    "Masks",
    "Method",
    "Options",
    "Prefer",
    "Proof",
    "Provider",
    "Repair",
    "Schedule",
    "Scope",
    "Side",
]
