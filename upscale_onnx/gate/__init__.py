"""The gate: whether a compile of a model holds bounds. `check` compiles and judges."""

from __future__ import annotations

from upscale_onnx.gate.bounds import Bounds
from upscale_onnx.gate.check import check
from upscale_onnx.gate.verdict import Finding, Verdict

__all__ = ["Bounds", "Finding", "Verdict", "check"]
