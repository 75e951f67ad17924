"""Whether onnxruntime can run a model."""

from __future__ import annotations

import re

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model.protos import skeleton
from upscale_onnx.runtime.inputs import feasible_inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.worker import in_worker

# What onnxruntime says of an operator that is not the standard's. Those that are, ONNX's reference may know.
_UNKNOWN = re.compile(r"(?<![\w.])(?!ai\.onnx)[\w.]+:\w+\(-?\d+\) is not a registered function/op")


def check_operators(model: ModelProto, provider: Device = "cpu") -> None:
    """Check that onnxruntime knows the operators of `model`, which is loaded without its weights: that takes little
    time and memory. What it knows but cannot run can still be proven by ONNX's reference.

    Raises:
        ModelError: it does not know one.
    """
    fault = _fault(skeleton(model), provider)
    if _UNKNOWN.search(fault):
        raise ModelError(fault)


@in_worker
def _fault(model: ModelProto, provider: Device) -> str:
    try:
        make_session(model, provider=provider, optimize=False)
    except ModelError as error:
        return str(error)
    return ""


@in_worker
def why_it_does_not_run(model: ModelProto) -> str:
    """Why onnxruntime can run `model` on no input that was tried; empty if it can."""
    try:
        session = make_session(model)
        feasible_inputs(lambda inputs: run(session, inputs), model)
    except ModelError as error:
        return str(error)
    except (MemoryError, ValueError) as error:  # inputs larger than numpy allows
        return f"no inputs can be made for it: {error}"
    return ""
