"""Whether what a rule says of a node fits the node: its outputs, and their inferred shapes."""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.channels.flow import Flow
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason


def completed(op: Op, flow: Flow) -> Flow:
    """The flow with None for outputs that the rule says nothing of. Raises `Refused` where one of them is used."""
    others = op.used[len(flow.outputs) :]
    if any(others):
        raise Refused(Reason.UNSUPPORTED_FORM, "a second output is used")
    return replace(flow, outputs=(*flow.outputs, *[None] * len(others))) if others else flow


def check_outputs(op: Op, flow: Flow) -> None:
    """Raise `Refused` where the rule and shape inference disagree."""
    for found, dims in zip(flow.outputs, op.out_dims, strict=True):
        if found is not None and 0 in found.shape:
            raise Refused(Reason.UNSUPPORTED_FORM, "a result has no elements")
        if found is None or dims is None:
            continue
        fits = found.rank == len(dims) and all(
            size == 1 or not isinstance(dim, int) or dim == size for size, dim in zip(found.shape, dims, strict=True)
        )
        if not fits:
            raise Refused(
                Reason.UNSUPPORTED_FORM, f"a channel map of shape {found.shape} does not fit a value of shape {dims}"
            )
