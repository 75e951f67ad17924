"""Grouped convolutions of which the groups have lost different numbers of channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from upscale_onnx.export.recipes import recipes
from upscale_onnx.types import Array, BoolArray

GROUPS = 4
PER_IN, PER_OUT = 3, 4


def network(
    op: str, read: BoolArray, made: BoolArray, rng: np.random.Generator, padded: bool = True
) -> onnx.ModelProto:
    """A producer, a grouped convolution and its reader. read, made: the channels that are left of its inputs (others
    have a constant row, half of them of zeros) and of its outputs (others are not read)."""

    def drawn(*shape: int) -> Array:
        return (rng.integers(1, 4, shape) * rng.choice([-1, 1], shape)).astype(np.float32)

    inputs, outputs = read.size, made.size
    first, last = drawn(inputs, 2, 1, 1), drawn(3, outputs, 1, 1)
    first[~read], last[:, ~made] = 0, 0
    bias = drawn(inputs) * (read | (rng.random(inputs) < 0.5))
    shape = (outputs, PER_IN, 3, 3) if op == "Conv" else (inputs, PER_OUT, 3, 3)
    middle = [helper.make_node(op, ["a", "w", "b"], ["m"], "grouped", group=GROUPS, pads=[int(padded)] * 4)]
    constants = {"first": first, "bias": bias, "w": drawn(*shape), "b": drawn(outputs), "last": last}
    nodes = [
        helper.make_node("Conv", ["x", "first", "bias"], ["p"]),
        helper.make_node("Relu", ["p"], ["a"]),
        *middle,
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("Conv", ["r", "last"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 7, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return onnx.shape_inference.infer_shapes(model)


def sizes(model: onnx.ModelProto) -> Mapping[str, int]:
    """The elements of all weights of convolutions, and the number of convolutions."""
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    weights = [node.input[1] for node in model.graph.node if node.op_type.startswith("Conv")]
    return {"elements": sum(int(np.prod(dims[name])) for name in weights), "nodes": len(weights)}


def left(read: BoolArray, made: BoolArray) -> tuple[int, set[tuple[int, int]]]:
    """The elements of weights that the masks leave, and the sizes of the groups that are left."""
    each = list(zip(read.reshape(GROUPS, -1).sum(1).tolist(), made.reshape(GROUPS, -1).sum(1).tolist(), strict=True))
    used = [(i, o) for i, o in each if i and o]
    inputs, outputs = sum(i for i, _ in used), sum(o for _, o in used)
    return 2 * inputs + sum(9 * i * o for i, o in used) + 3 * outputs, set(used)


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_of_uneven_groups_is_all_that_is_stored(op: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    read, made = rng.random(GROUPS * PER_IN) < 0.8, rng.random(GROUPS * PER_OUT) < 0.6
    read[0] = read[PER_IN] = True
    made[:PER_OUT] = [False, seed > 1, False, seed > 1]
    made[PER_OUT] = True
    model = network(op, read, made, rng)
    # Constants other than zero cannot leave a padded convolution, so that they count as read.
    bias = numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == "bias"))
    held = read | (bias > 0)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    elements, kinds = left(held, made)
    assert sizes(result.model)["elements"] <= elements
    assert sizes(result.model)["nodes"] <= 2 + len(kinds)


@pytest.mark.parametrize("export", sorted(recipes(1)))
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_uneven_groups_are_exact(export: str, padded: bool, seed: int) -> None:
    rng = np.random.default_rng(10 + seed)
    read, made = rng.random(GROUPS * PER_IN) < 0.6, rng.random(GROUPS * PER_OUT) < 0.5
    read[0] = made[0] = True
    model = network("Conv", read, made, rng, padded)
    result = upscale_onnx.compile(model, export=export, align=1 if seed else 4, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal


def test_constants_of_an_unpadded_convolution_move_into_the_bias() -> None:
    rng = np.random.default_rng(5)
    read, made = np.ones(GROUPS * PER_IN, bool), np.ones(GROUPS * PER_OUT, bool)
    read[[1, 2, 4]] = False
    made[[3, 9]] = False
    model = network("Conv", read, made, rng, padded=False)
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert sizes(result.model)["elements"] == left(read, made)[0]


def test_groups_of_one_size_are_computed_by_one_node_where_their_order_is_free() -> None:
    """The first and the third group lose a channel, so that without a new order there were four nodes."""
    made = np.ones(GROUPS * PER_OUT, bool)
    made[[0, 9]] = False
    read = np.ones(GROUPS * PER_IN, bool)
    result = upscale_onnx.compile(network("Conv", read, made, np.random.default_rng(0)), export="gather", race=False)
    assert sizes(result.model) == {"elements": left(read, made)[0], "nodes": 4}


def test_groups_of_a_value_that_the_graph_returns_keep_their_order() -> None:
    made = np.ones(GROUPS * PER_OUT, bool)
    made[[0, 9]] = False
    read = np.ones(GROUPS * PER_IN, bool)
    model = network("Conv", read, made, np.random.default_rng(0))
    model.graph.output.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, GROUPS * PER_IN, 7, 7]))
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert sizes(result.model) == {"elements": left(read, made)[0], "nodes": 6}


def test_uneven_groups_of_a_quantised_convolution_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    made = np.ones(GROUPS * PER_OUT, bool)
    made[[0, 1, 6]] = False
    last = rng.integers(1, 9, (3, GROUPS * PER_OUT, 1, 1))
    last[:, ~made] = 0
    scale, point = np.float32(0.05), np.uint8(7)
    constants = {
        "s": np.asarray(scale), "z": np.asarray(point), "zw": np.asarray(0, np.int8),
        "w0": rng.integers(-9, 9, (GROUPS * PER_IN, 2, 1, 1)).astype(np.int8),
        "w1": rng.integers(1, 9, (GROUPS * PER_OUT, PER_IN, 3, 3)).astype(np.int8),
        "w2": last.astype(np.int8),
    }  # fmt: skip
    point_of = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *point_of], ["q"]),
        helper.make_node("QLinearConv", ["q", *point_of, "w0", "s", "zw", *point_of], ["a"]),
        helper.make_node("QLinearConv", ["a", *point_of, "w1", "s", "zw", *point_of], ["m"], group=GROUPS),
        helper.make_node("QLinearConv", ["m", *point_of, "w2", "s", "zw", *point_of], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 7, 7])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 3, 5, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    stored = [
        int(np.prod(t.dims)) for t in result.model.graph.initializer if t.data_type == TensorProto.INT8 and t.dims
    ]
    assert sum(stored) == 2 * 12 + 9 * PER_IN * int(made.sum()) + 3 * int(made.sum())


def test_narrow_groups_share_blocks_where_that_is_faster() -> None:
    """Groups of four channels fill half a block of eight; the weights between two of them are zeros."""
    rng = np.random.default_rng(0)
    count, width, size = 16, 4, 56
    first, middle = rng.normal(size=(count * width, 64, 1, 1)), rng.normal(size=(count * width, width, 3, 3))
    last = rng.normal(size=(64, count * width, 1, 1))
    last[:, : 4 * width] = 0
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first"], ["a"]),
            helper.make_node("Conv", ["a", "middle"], ["b"], "grouped", group=count, pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["b", "last"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, size, size])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in (("first", first), ("middle", middle), ("last", last))
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    result = upscale_onnx.compile(model, export="keep", target="cpu-avx2", race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    dims = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert [dims[node.input[1]] for node in result.model.graph.node][1] == (48, 8, 3, 3)


def test_blocks_that_groups_share_may_take_more_bytes_than_the_groups() -> None:
    """Of 26 groups of eight channels, 24 are left: twelve blocks of sixteen."""
    rng = np.random.default_rng(1)
    count, width, size = 26, 8, 14
    channels, gone = count * width, 2 * width
    constants = {
        "first": rng.normal(size=(channels, 64, 1, 1)), "middle": rng.normal(size=(channels, width, 3, 3)),
        "last": rng.normal(size=(64, channels, 1, 1)),
    }  # fmt: skip
    constants["last"][:, :gone] = 0
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first"], ["a"]),
            helper.make_node("Conv", ["a", "middle"], ["b"], "grouped", group=count, pads=[1, 1, 1, 1]),
            helper.make_node("Conv", ["b", "last"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64, size, size])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    # A compiled file may not be larger than its input.
    model.graph.initializer.append(numpy_helper.from_array(np.ones(40_000, np.float32), "spare"))
    result = upscale_onnx.compile(model, export="keep", target="cpu-avx512", race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    dims = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert [dims[node.input[1]] for node in result.model.graph.node][1] == (192, 16, 3, 3)
