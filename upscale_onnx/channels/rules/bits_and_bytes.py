"""onnxruntime's MatMulBnb4: a weight of floating-point numbers of four bits, as bitsandbytes writes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.block_quantised import Blocks, MatMulNBits
from upscale_onnx.errors import Reason
from upscale_onnx.model.packing import unpacked
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

_WEIGHT, _SCALES = 1, 2
_BITS, _EACH = 4, 2
_ZEROS = {0: (0, 8), 1: (7,)}
"""The codes of zero by type: 0 for FP4, of both signs, and 1 for NF4."""


@dataclass(frozen=True, eq=False)
class _Floats(Blocks):
    """zeros: the codes of zero. The first of two numbers is in the higher bits of a byte."""

    zeros: tuple[int, ...] = ()

    def values(self) -> Array:
        """Ones where the weight is not zero: there is no bias that sums could move into."""
        turned = self.content << _BITS | self.content >> _BITS
        codes = unpacked(turned, _BITS, self.size)
        known = ~np.isin(codes, self.zeros) & (self.scales[..., None] != 0)
        ones: Array = known.reshape(len(known), -1).astype(self.scales.dtype)
        return ones


class MatMulBnb4(MatMulNBits):
    """The rule of A `(…, K)`, the weight as bytes one behind the other, and a scale for each block, where blocks end
    with the rows of the weight."""

    def blocks(self, op: Op) -> Blocks:
        outputs, inputs, size = (int(op.attrs.get(name, 0)) for name in ("N", "K", "block_size"))
        content, scales = op.constant(_WEIGHT), op.constant(_SCALES)
        if content is None or scales is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "weight or scales are computed at run time")
        zeros = _ZEROS.get(int(op.attrs.get("quant_type", -1)))
        if zeros is None or not op.attrs.get("transB", 1) or min(outputs, inputs, size) < 1 or inputs % size:
            raise Refused(Reason.UNSUPPORTED_FORM, f"{inputs} inputs in blocks of {size}, or a weight that is turned")
        count = inputs // size
        if content.size * _EACH != outputs * inputs or scales.size != outputs * count or size % _EACH:
            raise Refused(Reason.UNSUPPORTED_FORM, f"a weight of {content.size} bytes for {outputs} by {inputs}")
        rows = content.reshape(outputs, count, size // _EACH)
        return _Floats(_BITS, size, inputs, rows, scales.reshape(outputs, count), None, zeros)


register(MatMulBnb4(), "MatMulBnb4", domain=RUNTIME_DOMAIN)
