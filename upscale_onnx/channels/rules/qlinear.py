"""onnxruntime's QLinear operators that are no contractions: each dequantises, computes as another operator, and
quantises the result. Channels flow as they do through that operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register, rule_for
from upscale_onnx.channels.rules.quantise import zero_point
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

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
        points = [0.0] * self.plain + [zero_point(op, index + 2) for index in data[self.plain :]]
        shifted = tuple(_shifted(maps[index], point) for index, point in zip(data, points, strict=True))
        constants = [
            None if (array := op.constant(index)) is None else array.astype(np.float32) - np.float32(point)
            for index, point in zip(data, points, strict=True)
        ]
        flow = self._rule().flow(self._inner(op, data, constants), shifted, fresh)
        reads = tuple(replace(read, input=data[read.input]) for read in flow.reads)
        made = zero_point(op, self.point)
        return replace(flow, reads=reads, outputs=tuple(_made(found, made) for found in flow.outputs))

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


def _shifted(found: ChannelMap | None, point: float) -> ChannelMap | None:
    """The map with zero for channels that hold the zero point. Other constants are not followed: kernels may round
    them to either of two steps."""
    if found is None:
        return None
    return found.with_state(np.where(found.state == point, 0.0, np.where(is_wild(found.state), WILD, VARYING)))


def _made(found: ChannelMap | None, point: float) -> ChannelMap | None:
    if found is None:
        return None
    return found.with_state(np.where(found.state == 0, point, np.where(is_wild(found.state), WILD, VARYING)))


register(Quantised("Add", 2, 7), "QLinearAdd", domain=RUNTIME_DOMAIN)
register(Quantised("Mul", 2, 7), "QLinearMul", domain=RUNTIME_DOMAIN)
register(Quantised("LeakyRelu", 1, 4), "QLinearLeakyRelu", domain=RUNTIME_DOMAIN)
register(Quantised("Sigmoid", 1, 4), "QLinearSigmoid", domain=RUNTIME_DOMAIN)
register(Quantised("Softmax", 1, 4), "QLinearSoftmax", domain=RUNTIME_DOMAIN)
register(Quantised("Where", 2, 8, 1, 1), "QLinearWhere", domain=RUNTIME_DOMAIN)
register(Quantised("Concat", None, 1, 2), "QLinearConcat", domain=RUNTIME_DOMAIN)
