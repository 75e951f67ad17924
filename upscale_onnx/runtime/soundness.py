"""Whether onnxruntime can run a model."""

from __future__ import annotations

from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.runtime.inputs import feasible_inputs
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.worker import in_worker


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
