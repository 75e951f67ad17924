"""Where operands cannot line up, channels stay whole instead of the compile failing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx.parser

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.flow import Misaligned
from upscale_onnx.channels.step import Step
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.plan.plan import settled_plan

MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,2,4,4] x) => (float[1,2,4,4] y)
<float[6,2,1,1] w, float[2,6,1,1] v> { a = Conv(x, w)  b = Relu(a)  y = Conv(b, v) }"""


@dataclass
class _Stubborn:
    """A carrier that takes nothing but all of its channels."""

    inner: Any
    data_inputs: int | None = 1

    def resize(self, op: Any, request: Any) -> Any:
        found, emission = request.first_input()
        if emission.size < found.labels.size:
            raise Misaligned(found.labels)
        return self.inner.resize(op, request)


def _analysed() -> Analysis:
    model = onnx.parser.parse_model(MODEL)
    for name, shape in (("w", (6, 2, 1, 1)), ("v", (2, 6, 1, 1))):
        values = np.ones(shape, np.float32)
        if name == "v":
            values[:, :3] = 0
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return analyse(import_graph(model), infer_shapes(model))


def test_the_plan_is_the_smallest_where_everything_lines_up() -> None:
    assert settled_plan(_analysed()).emissions["b"].size == 3


def test_channels_stay_whole_around_a_node_that_does_not_line_up() -> None:
    analysis = _analysed()
    steps = tuple(_stubborn(step) if step.op.op_type == "Relu" else step for step in analysis.steps)
    assert settled_plan(_replace(analysis, steps)).emissions["b"].size == 6


def _stubborn(step: Step) -> Step:
    return replace(step, rule=_Stubborn(step.rule))  # type: ignore[arg-type]


def _replace(analysis: Analysis, steps: tuple[Step, ...]) -> Analysis:
    return replace(analysis, steps=steps)
