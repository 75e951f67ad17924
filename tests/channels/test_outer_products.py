"""Values whose channels lie on different axes, and steps of a recurrence that was written out."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from upscale_onnx.types import Array

WIDTH, STATES = 6, 4
DEAD = [1, 4]


def sizes_of(text: str, constants: dict[str, Array]) -> dict[str, int]:
    """How many elements the weights have that a compile of a graph from x `(b, 5)` leaves, which computes the same."""
    graph = f"g (float[b,5] x) => (float[b,3] y) {{ {text} }}"
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {graph}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    result = compiled(model)
    feeds = {"x": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)}
    expected, actual = (Engine(each).run(feeds)[0] for each in (model, result.model))
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
    return {name[:2]: size for name, size in result.weight_sizes().items() if name.startswith("w")}


def weights(*shapes: tuple[int, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(1)
    return {f"w{i}": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)}


def test_rows_of_an_outer_product_leave_and_its_columns_are_read_whole() -> None:
    constants = weights((5, WIDTH), (5, STATES), (5, STATES), (WIDTH, 3))
    constants["w0"][:, DEAD] = 0
    constants["w1"][:, 0] = 0
    constants |= {"last": np.array([-1]), "middle": np.array([1])}
    text = "a = MatMul(x, w0) b = MatMul(x, w1) c = MatMul(x, w2) rows = Unsqueeze(a, last) "
    text += "columns = Unsqueeze(b, middle) state = Mul(rows, columns) "
    text += "reader = Unsqueeze(c, last) read = MatMul(state, reader) "
    sizes = sizes_of(text + "s = Squeeze(read, last) y = MatMul(s, w3)", constants)
    assert sizes == {"w0": 5 * (WIDTH - 2), "w1": 5 * STATES, "w2": 5 * STATES, "w3": (WIDTH - 2) * 3}


def test_an_axis_of_steps_that_are_alike_needs_no_channels() -> None:
    constants = weights((5, WIDTH), (5, WIDTH), (WIDTH, 3))
    constants["w0"][:, DEAD] = 0
    constants |= {"last": np.array([-1]), "half": np.float32(0.5)}
    text = "a = MatMul(x, w0) first = Relu(a) second = Mul(first, half) one = Unsqueeze(first, last) "
    text += "two = Unsqueeze(second, last) steps = Concat<axis=-1>(one, two) gate = MatMul(x, w1) "
    text += "wide = Unsqueeze(gate, last) gated = Mul(steps, wide) sum = ReduceSum<keepdims=0>(gated, last) "
    sizes = sizes_of(text + "y = MatMul(sum, w2)", constants)
    assert sizes == {"w0": 5 * (WIDTH - 2), "w1": 5 * (WIDTH - 2), "w2": (WIDTH - 2) * 3}
