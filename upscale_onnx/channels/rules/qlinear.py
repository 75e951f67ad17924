"""onnxruntime's QLinear operators that are no contractions: each dequantises, computes as another operator, and
quantises the result. Channels flow as they do through that operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register, rule_for
from upscale_onnx.channels.rules.quantise import zero_point
from upscale_onnx.channels.rules.steps import rounded
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray

_OPSET = 21
_FLOAT = 1
# Each operand has a scale and a zero point behind it.
_PER_OPERAND = 3


@dataclass(frozen=True)
class Quantised(Rule):
    """The rule of an operator that computes as `like` does.

    operands: how many there are, None for any number. first: the index of the first one. point: the index of the
    result's zero point. plain: inputs in front of them that are not quantised.
    """

    like: str
    operands: int | None
    point: int
    first: int = 0
    plain: int = 0
    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        data = self._data(op)
        dynamic = [i for i in range(len(op.present)) if i not in data and op.is_dynamic(i)]
        if dynamic:
            raise Refused(Reason.UNSUPPORTED_FORM, "scales that are computed")
        plain, steps = data[: self.plain], [_steps(op, index + 1) for index in data[self.plain :]]
        given = [maps[index] for index in plain] + [
            None if (found := maps[index]) is None else found.with_state(_dequantised(found.state, *step))
            for index, step in zip(data[self.plain :], steps, strict=True)
        ]
        constants = [op.constant(index) for index in plain] + [
            None if (array := op.constant(index)) is None else _dequantised(array, *step).astype(np.float32)
            for index, step in zip(data[self.plain :], steps, strict=True)
        ]
        flow = self._rule().flow(self._inner(op, data, constants), tuple(given), fresh)
        reads = tuple(replace(read, input=data[read.input]) for read in flow.reads)
        made = _steps(op, self.point - 1)
        outputs = (None if found is None else found.with_state(rounded(found.state, *made)) for found in flow.outputs)
        return replace(flow, reads=reads, outputs=tuple(outputs))

    def resize(self, op: Op, request: Request) -> Resize:
        data = self._data(op)
        inner = replace(
            request,
            maps=tuple(request.maps[index] for index in data),
            emissions=tuple(request.emissions[index] for index in data),
        )
        done = self._rule().resize(self._inner(op, data, [op.constant(index) for index in data]), inner)
        # An operand that is left alone is quantised anew, so that it cannot stand for the result.
        drop = done.drop if done.alias is None else tuple(i for i in range(len(data)) if i != done.alias)
        return replace(
            done,
            constants={data[index]: array for index, array in done.constants.items()},
            drop=tuple(data[index] + part for index in drop for part in range(_PER_OPERAND)),
            alias=None,
        )

    def _rule(self) -> Rule:
        rule = rule_for("", self.like, _OPSET)
        assert rule is not None, self.like
        return rule

    def _data(self, op: Op) -> list[int]:
        count = (len(op.present) - self.first) // _PER_OPERAND if self.operands is None else self.operands
        return [*range(self.plain), *(self.first + _PER_OPERAND * number for number in range(count))]

    def _inner(self, op: Op, data: list[int], constants: Sequence[Array | None]) -> Op:
        """The node as one of the operator that it computes as."""
        return Op(
            self.like,
            int(op.attrs.get("opset", _OPSET)),
            name=op.name,
            attrs=op.attrs,
            constants=constants,
            present=tuple(op.has(index) for index in data),
            in_dims=tuple(op.in_dims[index] for index in data),
            out_dims=op.out_dims,
            shape_values=(None,) * len(data),
            dtypes=(_FLOAT,) * len(data),
            used=op.used,
        )


def _steps(op: Op, index: int) -> tuple[Array, Array]:
    """The scale at input `index` and the zero point behind it, both of one entry.

    Raises: Refused where there are several entries.
    """
    scale, point = op.constant(index), op.constant(index + 1)
    if scale is None or scale.size != 1:
        raise Refused(Reason.UNSUPPORTED_FORM, "several scales")
    zero = zero_point(op, index + 1)
    return scale.ravel()[0], np.asarray(zero, np.uint8 if point is None else point.dtype)


def _dequantised(steps: Array, scale: Array, point: Array) -> FloatArray:
    """The numbers that integers stand for; what is not constant stays."""
    found: FloatArray = (steps.astype(np.float64) - point) * scale.astype(np.float64)
    return found


register(Quantised("Add", 2, 7), "QLinearAdd", domain=RUNTIME_DOMAIN)
register(Quantised("Mul", 2, 7), "QLinearMul", domain=RUNTIME_DOMAIN)
register(Quantised("LeakyRelu", 1, 4), "QLinearLeakyRelu", domain=RUNTIME_DOMAIN)
register(Quantised("Sigmoid", 1, 4), "QLinearSigmoid", domain=RUNTIME_DOMAIN)
register(Quantised("Softmax", 1, 4), "QLinearSoftmax", domain=RUNTIME_DOMAIN)
register(Quantised("Where", 2, 8, 1, 1), "QLinearWhere", domain=RUNTIME_DOMAIN)
register(Quantised("Concat", None, 1, 2), "QLinearConcat", domain=RUNTIME_DOMAIN)
