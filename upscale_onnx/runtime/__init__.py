"""Everything that runs models: sessions, inputs, verification and races. Nothing else imports onnxruntime."""

from __future__ import annotations

from upscale_onnx.runtime.bench import race
from upscale_onnx.runtime.profile import operator_totals, profile_operators
from upscale_onnx.runtime.providers import Device, describe, resolve_provider
from upscale_onnx.runtime.tolerance import tolerance
from upscale_onnx.runtime.user_inputs import load_inputs
from upscale_onnx.runtime.verify import verify

__all__ = [
    "Device",
    "describe",
    "load_inputs",
    "operator_totals",
    "profile_operators",
    "race",
    "resolve_provider",
    "tolerance",
    "verify",
]
