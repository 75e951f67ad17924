from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model import load_model
from upscale_onnx.runtime import tolerance, verify


def cnn(dtype: type = np.float32, layers: int = 3, name: str = "y") -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    onnx_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes, weights, value = [], [], "x"
    for index in range(layers):
        scale = 1 / np.sqrt(8 * 9)
        weights.append(numpy_helper.from_array((rng.normal(size=(8, 8, 3, 3)) * scale).astype(dtype), f"w{index}"))
        out = name if index == layers - 1 else f"v{index}"
        nodes.append(helper.make_node("Conv", [value, f"w{index}"], [out], pads=[1, 1, 1, 1]))
        value = out
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx_type, ["n", 8, "h", "w"])],
        [helper.make_tensor_value_info(name, onnx_type, ["n", 8, "h", "w"])],
        weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def scaled(model: onnx.ModelProto, index: int, factor: Any) -> onnx.ModelProto:
    """A copy whose weight `index` is multiplied by `factor`."""
    result = copy.deepcopy(model)
    tensor = result.graph.initializer[index]
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((array * factor).astype(array.dtype), tensor.name))
    return result


def test_a_model_equals_itself_at_two_sizes_of_every_dynamic_dimension() -> None:
    found = verify(cnn(), cnn())
    assert found.equal
    assert found.trials >= 4
    first, second = (shapes["x"] for shapes in found.shapes[:2])
    assert all(first[axis] != second[axis] for axis in (0, 2, 3))
    assert found.outputs[0].relative == 0
    assert found.provider == "cpu"


def test_reordered_channels_are_equal_within_the_tolerance() -> None:
    model = cnn()
    order = np.random.default_rng(1).permutation(8)
    moved = copy.deepcopy(model)
    first, second = (numpy_helper.to_array(tensor) for tensor in moved.graph.initializer[:2])
    moved.graph.initializer[0].CopyFrom(numpy_helper.from_array(first[order].copy(), "w0"))
    moved.graph.initializer[1].CopyFrom(numpy_helper.from_array(second[:, order].copy(), "w1"))
    found = verify(model, moved)
    assert found.equal, found.detail
    assert 0 < found.outputs[0].relative < found.tolerance <= 1e-5


@pytest.mark.parametrize("kind", ["one weight", "a tiny factor"])
def test_a_wrong_weight_is_caught(kind: str) -> None:
    factor: Any = 1 + 3e-5
    if kind == "one weight":
        factor = np.ones((8, 8, 3, 3))
        factor[3, 4, 1, 1] = 1.001
    found = verify(cnn(), scaled(cnn(), 1, factor))
    assert not found.equal
    assert "output 'y' differs by" in found.detail
    assert "is allowed" in found.detail


def test_a_wrong_border_is_caught_though_the_middle_agrees() -> None:
    wrong = cnn(layers=1)
    wrong.graph.node[0].attribute[0].ints[:] = [0, 0, 0, 0]
    wrong.graph.node[0].output[0] = "inner"
    wrong.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"))
    wrong.graph.node.append(helper.make_node("Pad", ["inner", "pads"], ["y"], mode="edge"))
    assert not verify(cnn(layers=1), wrong).equal


def test_a_difference_in_the_users_inputs_only_is_caught() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[4] x) => (float[4] y)
              <float top = {%s}, float low = {-1000}> { y = Clip (x, low, top) }"""
    a, b = (onnx.parser.parse_model(text % top) for top in ("5000", "6000"))
    assert verify(a, b).equal
    odd = {"x": np.full(4, 5500, np.float32)}
    for given in ({"inputs": odd}, {"data": [odd]}):
        found = verify(a, b, trials=2, **given)
        assert not found.equal
        assert found.trials == 3


def test_the_users_inputs_must_fit() -> None:
    with pytest.raises(ArgumentError, match="lacks 'x'"):
        verify(cnn(), cnn(), inputs={})


def interface(edit: Callable[[onnx.GraphProto], object]) -> onnx.ModelProto:
    model = cnn()
    edit(model.graph)
    return model


def narrowed(graph: onnx.GraphProto) -> None:
    graph.node.append(helper.make_node("Cast", ["y"], ["z"], to=TensorProto.FLOAT16))
    graph.node[-2].output[0], graph.node[-1].input[0], graph.node[-1].output[0] = "t", "t", "y"
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("compiled", "message"),
    [
        (cnn(name="z"), "the outputs are z instead of y"),
        (interface(lambda g: g.input.add().CopyFrom(helper.make_tensor_value_info("q", 1, [1]))), "inputs are x, q"),
        (interface(narrowed), r"output 'y' is declared as float16\(n, 8, h, w\) instead of float\(n, 8, h, w\)"),
        (interface(lambda g: setattr(g.input[0].type.tensor_type.shape.dim[1], "dim_value", 7)), "input 'x' is decl"),
    ],
)
def test_a_changed_interface_is_not_equal(compiled: onnx.ModelProto, message: str) -> None:
    found = verify(cnn(), compiled)
    assert not found.equal
    assert found.trials == 0
    assert re.search(message, found.detail)


def test_a_compiled_model_that_does_not_run_is_not_equal() -> None:
    broken = scaled(cnn(), 1, 1)
    broken.graph.initializer[1].dims[1] = 4
    broken.graph.initializer[1].raw_data = broken.graph.initializer[1].raw_data[: 8 * 4 * 9 * 4]
    found = verify(cnn(), broken)
    assert not found.equal
    assert found.detail.startswith("the compiled model fails: ")
    assert "\n" not in found.detail


def test_an_original_that_does_not_run_is_a_model_error() -> None:
    broken = cnn()
    broken.graph.node[0].domain = "nowhere"
    broken.opset_import.add(domain="nowhere", version=1)
    with pytest.raises(ModelError, match="onnxruntime cannot load the model") as caught:
        verify(broken, cnn())
    assert "\n" not in str(caught.value)


def test_integer_outputs_must_be_exact() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[64] x) => (int64[64] y)
              <float s = {%s}> { a = Mul (x, s)
                                 y = Cast <to = 7> (a) }"""
    a, b = (onnx.parser.parse_model(text % s) for s in ("1000", "1000.5"))
    assert verify(a, a).equal
    found = verify(a, b, tolerance=1.0)
    assert not found.equal


def test_noise_of_the_original_itself_raises_the_tolerance_but_not_without_limit() -> None:
    """A steep function of a sum amplifies what onnxruntime's own optimisations change about the sum."""
    model = cnn(layers=2)
    graph = model.graph
    graph.node[-1].output[0] = "sum"
    graph.initializer.append(numpy_helper.from_array(np.array(200, np.float32), "steep"))
    graph.node.append(helper.make_node("Mul", ["sum", "steep"], ["wide"]))
    graph.node.append(helper.make_node("Sin", ["wide"], ["y"]))
    order = np.random.default_rng(1).permutation(8)
    moved = copy.deepcopy(model)
    first, second = (numpy_helper.to_array(tensor) for tensor in moved.graph.initializer[:2])
    moved.graph.initializer[0].CopyFrom(numpy_helper.from_array(first[order].copy(), "w0"))
    moved.graph.initializer[1].CopyFrom(numpy_helper.from_array(second[:, order].copy(), "w1"))
    found = verify(model, moved)
    assert found.equal, found.detail
    assert tolerance(model) < found.outputs[0].relative <= found.tolerance <= 1e-3
    wrong = verify(model, scaled(model, 0, 1.001))
    assert not wrong.equal
    assert wrong.tolerance <= 1e-3
    assert "rounding alone moves the original by" in wrong.detail


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.float32, 1e-6, 1e-5), (np.float64, 1e-15, 1e-13), (np.float16, 1e-3, 3e-2)],
)
def test_tolerances_follow_type_and_depth(dtype: type, low: float, high: float) -> None:
    shallow, deep, deepest = (tolerance(cnn(dtype, layers)) for layers in (2, 50, 500))
    assert low < shallow < deep < deepest <= high
    assert deep / shallow == pytest.approx(5)
    assert tolerance(cnn(dtype, 1000)) == deepest


def test_contractions_inside_branches_count() -> None:
    model = cnn(layers=4)
    flat = tolerance(model)
    branch = helper.make_graph([helper.make_node("MatMul", ["y", "y"], ["b"])], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["o"], then_branch=branch, else_branch=branch))
    model.graph.output[0].name = "o"
    assert tolerance(model) == pytest.approx(flat * np.sqrt(6 / 4))


def test_half_precision_models_are_compared() -> None:
    model = cnn(np.float16)
    assert verify(model, model).equal
    assert not verify(model, scaled(model, 1, 1.1)).equal


def test_trained_networks_equal_themselves_and_not_a_changed_copy(corpus: Path) -> None:
    for name in ("cifar10_resnet20", "dtln_1", "magika_standard_v3_3"):
        model = load_model(corpus / "trained" / f"{name}.onnx")
        assert verify(model, model).equal
        floats = [
            i for i, t in enumerate(model.graph.initializer) if t.data_type == TensorProto.FLOAT and len(t.dims) > 1
        ]
        found = verify(model, scaled(model, floats[-1], 1.01))
        assert not found.equal, name
