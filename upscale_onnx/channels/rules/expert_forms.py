"""The forms in which nodes hold the weights of experts: MoE as floating-point numbers, QMoE as integers of few bits."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.expert_weights import BYTE, FewBits, Floats, Weights
from upscale_onnx.errors import Reason
from upscale_onnx.model.packing import unpacked
from upscale_onnx.types import Array

Three = tuple[Weights, Weights, Weights | None]
"""The layer that makes hidden neurons, the one that reads them, and a second one that makes them, if there is one."""


def of_floats(op: Op) -> Three:
    """The weights of a MoE. Raises `Refused`."""
    up, down = (_floats(op, at) for at in (2, 4))
    return up, down, _floats(op, 6) if op.has(6) else None


def _floats(op: Op, at: int) -> Weights:
    content, bias = op.constant(at), op.constant(at + 1)
    if content is None or content.ndim != 3:
        raise Refused(Reason.UNSUPPORTED_FORM, "weights of experts without three axes")
    if not np.isfinite(content).all() or (bias is not None and not np.isfinite(bias).all()):
        raise Refused(Reason.UNSUPPORTED_FORM, "a weight is no finite number")
    return Floats(at, at + 1, _checked(bias, content.shape[:2]), content)


def of_few_bits(op: Op) -> Three:
    """The weights of a QMoE of integers. Raises `Refused`."""
    kind = op.attrs.get("quant_type", "int")
    if kind not in ("int", b"int") or int(op.attrs.get("weights_prepacked", -1)) == 1:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weights of type {kind}, or in an order of their own")
    up, down = _few_bits(op, 2, 11, "fc1"), _few_bits(op, 5, 12, "fc2")
    return up, down, _few_bits(op, 8, 13, "fc3") if op.has(8) else None


def _few_bits(op: Op, at: int, points_at: int, name: str) -> Weights:
    bits = int(op.attrs.get(f"{name}_expert_weight_bits", 0)) or int(op.attrs.get("expert_weight_bits", 4))
    content, scales, bias, points = (op.constant(index) for index in (at, at + 1, at + 2, points_at))
    if content is None or scales is None or content.ndim != 3 or content.dtype != np.uint8 or bits not in (2, 4, 8):
        raise Refused(Reason.UNSUPPORTED_FORM, f"weights of experts of {bits} bits in another form")
    experts, outputs, size = content.shape
    inputs, block = size * BYTE // bits, int(op.attrs.get("block_size", 0))
    blocks = inputs // block if block > 0 else 1
    wanted = (experts, outputs, blocks) if block > 0 else (experts, outputs)
    if scales.shape != wanted or (block > 0 and inputs % block) or not np.isfinite(scales).all():
        raise Refused(Reason.UNSUPPORTED_FORM, f"scales of shape {scales.shape} for weights {content.shape}")
    if points is not None:
        points = _checked(points, (*wanted[:-1], -(-wanted[-1] * bits // BYTE)))
        points = None if points is None else unpacked(points, bits, wanted[-1]).reshape(experts, outputs, blocks)
    return FewBits(
        at,
        at + 2,
        _checked(bias, (experts, outputs)),
        content,
        bits,
        block if block > 0 else inputs,
        scales.reshape(experts, outputs, blocks),
        points,
        {"scales": at + 1, "points": points_at, "rank": len(wanted)},
    )


def _checked(array: Array | None, shape: tuple[int, ...]) -> Array | None:
    if array is not None and array.shape != shape:
        raise Refused(Reason.UNSUPPORTED_FORM, f"an array of shape {array.shape} in place of {shape}")
    return array
