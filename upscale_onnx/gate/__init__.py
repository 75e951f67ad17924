"""The gate: whether a compile of a model holds bounds. `check` compiles and judges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from upscale_onnx.gate.bounds import Bounds
from upscale_onnx.results import Finding, Verdict

if TYPE_CHECKING:
    from upscale_onnx.gate.checking import check

__all__ = ["Bounds", "Finding", "Verdict", "check"]


def __getattr__(name: str) -> Any:
    """`check`, which is imported on first use, because a compile needs much that the command line's help does not."""
    if name != "check":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from upscale_onnx.gate.checking import check

    return check
