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

# What onnxruntime says where an operator or its types are not supported, whatever the weights are.
_OF_OPERATORS = re.compile("is not a registered function/op|Could not find an implementation|Type Error")


def check_loads(model: ModelProto, provider: Device = "cpu") -> None:
    """Check that onnxruntime can load `model`. It is loaded without its weights, which takes little time and memory, or
    with them where it may have failed for want of them.

    Raises:
        ModelError: onnxruntime cannot load it.
    """
    fault = _fault(skeleton(model), provider)
    if _OF_OPERATORS.search(fault):
        raise ModelError(fault)
    if fault:
        make_session(model, provider=provider, optimize=False, exact=True)


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
