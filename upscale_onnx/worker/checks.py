"""onnx's checker and shape inference. They are native code that has crashed on models, so they run in the worker."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError, EncodeError

from upscale_onnx.worker.dispatch import in_worker

_REFUSALS = (DecodeError, EncodeError, ValueError, TypeError, RuntimeError)


@in_worker
def check(model: bytes) -> str | None:
    """The error that onnx's checker finds in a serialised model; None if it finds none."""
    try:
        onnx.checker.check_model(model, full_check=False)
    except (onnx.checker.ValidationError, *_REFUSALS) as error:
        return str(error) or type(error).__name__
    return None


@in_worker
def infer(model: bytes, strict: bool = False) -> onnx.ModelProto | str:
    """A serialised model with the shapes that onnx infers, or the error message if inference fails."""
    try:
        found = onnx.shape_inference.infer_shapes(model, check_type=strict, strict_mode=strict, data_prop=True)
    except (onnx.shape_inference.InferenceError, *_REFUSALS) as error:
        return str(error) or type(error).__name__
    return found


@in_worker
def inline(model: bytes, kept: Sequence[tuple[str, str]]) -> onnx.ModelProto | str:
    """A serialised model with its functions written out, except those `kept` (domain and name), or the error message
    if onnx cannot do it."""
    try:
        parsed = onnx.ModelProto()
        parsed.ParseFromString(model)
        return onnx.inliner.inline_selected_functions(parsed, list(kept), exclude=True)
    except _REFUSALS as error:
        return str(error) or type(error).__name__
