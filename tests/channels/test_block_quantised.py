"""MatMulNBits between layers: outputs leave one by one, inputs in whole blocks, and no byte is computed anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from upscale_onnx.errors import ModelError
from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.types import Array

FEATURES, BLOCK, BLOCKS, WIDTH = 6, 16, 4, 24
INNER = BLOCK * BLOCKS


class Layer:
    """A weight `(outputs, inputs)` of few bits, as the operator takes it."""

    def __init__(self, name: str, outputs: int, inputs: int, bits: int, points: str = "", bias: bool = False) -> None:
        rng = np.random.default_rng(outputs)
        self.name, self.bits, self.inputs, self.outputs = name, bits, inputs, outputs
        self.blocks = -(-inputs // BLOCK)
        self.steps = rng.integers(0, 1 << bits, (outputs, self.blocks, BLOCK))
        self.scales = rng.uniform(0.01, 0.02, (outputs, self.blocks)).astype(np.float32)
        self.points = rng.integers(3, 12, (outputs, self.blocks)) if points else None
        self.kind, self.bias = points, rng.normal(size=outputs).astype(np.float32) if bias else None

    def zero(self, outputs: Any, inputs: Any = ()) -> None:
        """Make rows and columns of zeros."""
        point = np.full(self.scales.shape, 1 << self.bits - 1) if self.points is None else self.points
        whole = np.broadcast_to(point[..., None], self.steps.shape)
        self.steps[outputs] = whole[outputs]
        if self.bias is not None:
            self.bias[outputs] = 0
        for index in inputs:
            self.steps[:, index // BLOCK, index % BLOCK] = whole[:, index // BLOCK, index % BLOCK]

    def node(self, source: str, result: str) -> onnx.NodeProto:
        """The operator."""
        held = self.held()
        names = [source, *(f"{self.name}{part}" if f"{self.name}{part}" in held else "" for part in "wsp"), "", ""]
        names[5] = f"{self.name}b" if self.bias is not None else ""
        attrs = {"N": self.outputs, "K": self.inputs, "bits": self.bits, "block_size": BLOCK}
        while not names[-1]:
            names.pop()
        return helper.make_node("MatMulNBits", names, [result], domain="com.microsoft", **attrs)

    def held(self) -> dict[str, Array]:
        """The constants by name."""
        parts: dict[str, Array] = {"w": packed(self.steps, self.bits), "s": self.scales}
        if self.points is not None:
            parts["p"] = packed(self.points, self.bits) if self.kind == "bytes" else self.points.astype(np.float32)
        if self.bias is not None:
            parts["b"] = self.bias
        return {f"{self.name}{part}": array for part, array in parts.items()}


def model_of(*layers: Layer, activation: str = "Relu") -> onnx.ModelProto:
    """Layers one behind the other; the first one reads a producer, and a MatMul reads the last one."""
    rng = np.random.default_rng(0)
    first, last = layers[0].inputs, layers[-1].outputs
    held = {"w0": rng.normal(size=(FEATURES, first)), "wl": rng.normal(size=(last, 3))}
    held = {name: array.astype(np.float32) for name, array in held.items()}
    nodes, value = [helper.make_node("MatMul", ["x", "w0"], ["v"])], "v"
    for layer in layers:
        held |= layer.held()
        nodes.append(layer.node(value, f"{layer.name}y"))
        nodes.append(helper.make_node(activation, [f"{layer.name}y"], [f"{layer.name}a"]))
        value = f"{layer.name}a"
    nodes.append(helper.make_node("MatMul", [value, "wl"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5, FEATURES])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5, 3])
    weights = [numpy_helper.from_array(array, name) for name, array in held.items()]
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=opsets, ir_version=10)


def narrowed(model: onnx.ModelProto, align: int = 1) -> dict[str, Array]:
    """The constants of the compiled model, which is shown equal, under the names of those that they are cuts of."""
    small = compiled(model, align).model
    feed = {"x": np.random.default_rng(4).normal(size=(2, 5, FEATURES)).astype(np.float32)}
    np.testing.assert_allclose(Engine(small).run(feed)[0], Engine(model).run(feed)[0], rtol=1e-4, atol=1e-5)
    return {tensor.name.split("_")[0]: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}


KINDS = [(4, ""), (4, "bytes"), (4, "floats"), (8, ""), (8, "bytes")]
FORMS = [(bits, points, bias) for bits, points in KINDS for bias in (False, True)]


@pytest.mark.parametrize(("bits", "points", "bias"), FORMS)
def test_outputs_and_blocks_of_inputs_leave(bits: int, points: str, bias: bool) -> None:
    dead, gone = [1, 4, 5, 17], range(BLOCK, 2 * BLOCK)
    first = Layer("a", INNER, FEATURES * 4, bits, points, bias)
    first.zero([*gone, 3])
    second = Layer("b", WIDTH, INNER, bits, points, bias)
    second.zero(dead)
    held = narrowed(model_of(first, second))
    # Row 3 alone is zero in its block, so it stays; a block of them goes.
    rows = np.setdiff1d(np.arange(INNER), gone)
    np.testing.assert_array_equal(held["aw"], first.held()["aw"][rows])
    expected = np.delete(second.held()["bw"], dead, 0)
    np.testing.assert_array_equal(held["bw"], np.delete(expected, 1, 1))
    np.testing.assert_array_equal(held["bs"], np.delete(np.delete(second.scales, dead, 0), 1, 1))
    if points == "bytes":
        left = unpacked(held["bp"], bits, BLOCKS - 1)
        assert second.points is not None
        np.testing.assert_array_equal(left, np.delete(np.delete(second.points, dead, 0), 1, 1))
    assert held["wl"].shape == (WIDTH - len(dead), 3)


def test_a_last_block_of_fewer_inputs_leaves_or_stays() -> None:
    inner = INNER - 4
    for gone in (range(BLOCK), range(INNER - BLOCK, inner)):
        second = Layer("b", WIDTH, inner, 4, "bytes")
        second.zero([], gone)
        held = narrowed(model_of(second))
        assert held["w0"].shape == (FEATURES, inner - len(gone))
        assert held["bw"].shape == (WIDTH, BLOCKS - 1, BLOCK // 2)


def test_a_block_stays_whole_for_one_input() -> None:
    second = Layer("b", WIDTH, INNER, 4)
    second.zero([], [*range(BLOCK - 1), *range(2 * BLOCK, 3 * BLOCK)])
    held = narrowed(model_of(second))
    assert held["w0"].shape == (FEATURES, INNER - BLOCK)


def test_of_a_weight_of_zeros_a_block_is_left() -> None:
    """Nothing is demanded of its input, of which another reader holds a part of a block."""
    layer = Layer("b", 8, 2 * BLOCK, 4)
    layer.zero(slice(None))
    model = model_of(layer)
    model.graph.node.append(helper.make_node("MatMul", ["v", "side"], ["z"]))
    side = np.zeros((2 * BLOCK, 3), np.float32)
    side[[0, 8]] = 1
    model.graph.initializer.append(numpy_helper.from_array(side, "side"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 5, 3]))
    for export in ("upscale", "gather", "planned"):
        verification = upscale_onnx.compile(model, export=export, align=1, race=False).report.verification
        assert verification is not None
        assert verification.equal


def test_constant_inputs_move_into_the_bias() -> None:
    second = Layer("b", WIDTH, INNER, 8, "bytes", bias=True)
    first = Layer("a", INNER, FEATURES * 4, 8, bias=True)
    first.zero(list(range(BLOCK)))
    assert first.bias is not None
    assert second.bias is not None
    first.bias[:BLOCK] = 2.0
    before = second.bias.copy()
    held = narrowed(model_of(first, second))
    assert held["aw"].shape[0] == INNER - BLOCK
    assert not np.allclose(held["bb"], before)


def test_padding_rows_compute_nothing() -> None:
    second = Layer("b", WIDTH, INNER, 4)
    model = model_of(second)
    last = next(tensor for tensor in model.graph.initializer if tensor.name == "wl")
    values = numpy_helper.to_array(last).copy()
    values[5:] = 0
    last.CopyFrom(numpy_helper.from_array(values, "wl"))
    held = narrowed(model, align=8)
    assert held["bs"].shape == (8, BLOCKS)
    assert (held["bs"][5:] == 0).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_what_onnxruntime_quantises_shrinks(bits: int, symmetric: bool) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    rng = np.random.default_rng(3)
    weights = {"w1": rng.normal(size=(32, 128)), "w2": rng.normal(size=(128, 32))}
    gone = [*range(32, 64), 100]
    weights["w1"][:, gone] = 0
    weights["w2"][gone] = 0
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 32]) for name in "xy")
    nodes = [helper.make_node("MatMul", ["x", "w1"], ["h"]), helper.make_node("Relu", ["h"], ["r"])]
    nodes.append(helper.make_node("MatMul", ["r", "w2"], ["y"]))
    held = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=symmetric, bits=bits)
    quantiser = MatMulNBitsQuantizer(model, algo_config=config)
    quantiser.process()
    result = upscale_onnx.compile(quantiser.model.model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    attrs = [{a.name: a.i for a in node.attribute} for node in result.model.graph.node if node.domain]
    assert [(one["K"], one["N"]) for one in attrs] == [(32, 96), (96, 32)]


@pytest.mark.parametrize("change", [{"K": 60}, {"bits": 3}, {"block_size": 0}, {"N": 7}, {"bits": "four"}])
def test_weights_that_contradict_their_attributes_are_left_alone(change: dict[str, Any]) -> None:
    from upscale_onnx.channels.analysis import analyse
    from upscale_onnx.model import import_graph, infer_shapes

    model = model_of(Layer("b", WIDTH, INNER, 4))
    node = next(node for node in model.graph.node if node.domain)
    for name, value in change.items():
        kept = [one for one in node.attribute if one.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
    found = analyse(import_graph(model), infer_shapes(model))
    assert [refusal.op_type for refusal in found.refusals] == ["MatMulNBits"]


def test_too_few_scales_are_refused() -> None:
    layer = Layer("a", 8, INNER, 4)
    layer.scales = layer.scales.ravel()[:-1]
    with pytest.raises(ModelError, match="scales"):
        upscale_onnx.compile(model_of(layer), race=False)
