"""Small graphs for tests: written as text with weights of small integers, printed one line a node, compared exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from upscale_onnx.types import Array

_SHOWN = 8


def weight(*shape: int, rows: Iterable[int] = (), columns: Iterable[int] = (), seed: int = 0) -> Array:
    """Small non-zero integers as float32, with zeros at `rows` (first axis) and `columns` (second axis)."""
    rng = np.random.default_rng([seed, *shape])
    values = (rng.integers(1, 4, shape) * rng.choice([-1, 1], shape)).astype(np.float32)
    values[list(rows)] = 0
    if len(shape) > 1:
        values[:, list(columns)] = 0
    return values


def bias(*values: float) -> Array:
    """A vector of these numbers as float32."""
    return np.asarray(values, np.float32)


def indices(*values: int) -> Array:
    """A vector of these integers as int64."""
    return np.asarray(values, np.int64)


def parse(text: str, opset: int = 18, **constants: Array) -> onnx.ModelProto:
    """A checked model from `(inputs) => (outputs) { nodes }`; `constants` are its initializers.

    Nodes get the name of their first output, which the text form has no place for.
    """
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> tiny {text}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.checker.check_model(model, full_check=True)
    return model


def show(model: onnx.ModelProto) -> str:
    """The nodes, one a line: `y = Conv<group=2>(x, w{4x3x1x1})`; integer constants by value, others by shape."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    return "\n".join(_line(node, constants) for node in model.graph.node)


def _line(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> str:
    attributes = ", ".join(f"{a.name}={_attribute(a)}" for a in sorted(node.attribute, key=lambda a: a.name))
    inputs = ", ".join(_constant(constants[name]) if name in constants else name for name in node.input)
    attributes = f"<{attributes}>" if attributes else ""
    return f"{', '.join(node.output)} = {node.op_type}{attributes}({inputs})"


def _attribute(attribute: AttributeProto) -> str:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else str(value).replace(" ", "")


def _constant(tensor: TensorProto) -> str:
    values = numpy_helper.to_array(tensor)
    if values.dtype.kind in "iu" and values.size <= _SHOWN:
        return str(values.tolist()).replace(" ", "")
    return f"{tensor.name}{{{'x'.join(map(str, values.shape))}}}"


def golden(text: str) -> str:
    """A text as `show` gives it, from an indented one."""
    return "\n".join(line.strip() for line in text.strip().splitlines())


def check(before: onnx.ModelProto, after: onnx.ModelProto, seed: int = 0) -> None:
    """What holds after every edit: a valid model, of the same interface, that computes exactly the same.

    Weights and inputs are small integers, so sums are exact in whatever order they are taken.
    """
    onnx.checker.check_model(after, full_check=True)
    onnx.shape_inference.infer_shapes(after, check_type=True, strict_mode=True, data_prop=True)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    produced = [name for node in after.graph.node for name in node.output if name]
    assert len(produced) == len(set(produced))
    rng = np.random.default_rng(seed)
    for _ in range(2):
        feeds = {value.name: _integers(value, rng) for value in before.graph.input}
        for value, expected, found in zip(before.graph.output, run(before, feeds), run(after, feeds), strict=True):
            np.testing.assert_array_equal(found, expected, err_msg=value.name)


def _integers(value: onnx.ValueInfoProto, rng: np.random.Generator) -> Array:
    tensor = value.type.tensor_type
    shape = [dim.dim_value or 2 for dim in tensor.shape.dim]
    return rng.integers(-4, 5, shape).astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))


def run(model: onnx.ModelProto, feeds: dict[str, Array]) -> Sequence[Array]:
    """The outputs by onnxruntime, which is not to optimise anything: both models should compute alike."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: Sequence[Array] = session.run(None, feeds)
    return outputs
