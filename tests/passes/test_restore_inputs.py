"""Constant channels in front of nodes that need them: what makes them loses their weights, and nodes put them back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.graphs import bias, indices, parse, show, weight
from tests.masks.test_normalised_groups import FORMS
from tests.passes.apply import applied
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes
from upscale_onnx.passes.restore_inputs import RestoreInputs
from upscale_onnx.types import Array

INPUTS, WIDTH = 32, 8
DEAD = (1, 2, 5, 7)
KEPT = WIDTH - len(DEAD)
IMAGE = f"float[1,{INPUTS},6,6]"


def first(*dead: int, seed: int = 0) -> Array:
    """The weight of a layer of which some rows are zeros, large enough to be worth four nodes."""
    return weight(WIDTH, INPUTS, 3, 3, rows=dead, seed=seed)


def restored(model: onnx.ModelProto) -> onnx.ModelProto:
    """The export with restored channels. It is checked that each value is exactly the same."""
    applied(model, RestoreInputs())
    return make(recipes(1)["restore"], model, infer_shapes(model))


def rows(model: onnx.ModelProto, layer: str) -> int:
    """How many channels the layer that is called so makes."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    node = next(node for node in model.graph.node if node.output[0].startswith(layer) and node.input[1] in held)
    return int(held[node.input[1]].dims[0])


@pytest.mark.parametrize("width", [2, 4, 8])
@pytest.mark.parametrize("form", FORMS)
def test_zeros_that_are_a_part_of_a_group_leave_in_front_of_its_normalisation(form: str, width: int) -> None:
    groups, columns = WIDTH // width, [channel for channel in range(WIDTH) if channel not in DEAD]
    rng = np.random.default_rng(0)
    shape = (WIDTH,) if form in ("operator", "fused") else (WIDTH, 1, 1)
    last = rng.normal(size=(2, WIDTH, 1, 1)).astype(np.float32)
    last[:, list(DEAD)] = 0
    constants = {
        "first": first(*DEAD), "last": last, "epsilon": np.asarray(1e-5, np.float32),
        "scale": rng.normal(size=shape).astype(np.float32), "shift": rng.normal(size=shape).astype(np.float32),
        "axes": indices(2, 3, 4), "whole": indices(1, WIDTH, 4, 4),
        f"split{groups}": indices(0, groups, -1), f"grid{groups}": indices(1, groups, -1, 4, 4),
        f"ones{groups}": np.ones(groups, np.float32), f"zeros{groups}": np.zeros(groups, np.float32),
    }  # fmt: skip
    text = f"h = Conv(x, first) {FORMS[form].format(x='h', y='n', g=groups)} a = Relu(n) y = Conv(a, last)"
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> '
        f"tiny ({IMAGE} x) => (float[1,2,4,4] y) {{ {text} }}"
    )
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    if form == "fused":  # shapes of this operator are not inferred, and no processor runs it
        model.graph.value_info.append(onnx.helper.make_tensor_value_info("nn", 1, (1, 4, 4, WIDTH)))
        small = make(recipes(1)["restore"], model, infer_shapes(model))
    else:
        result = upscale_onnx.compile(model, prefer="size")
        # A mean over all channels is corrected for zeros where it stands in nodes of its own.
        assert result.report.export == ("upscale" if (form, groups) == ("separate", 1) else "restore")
        assert result.report.verification is not None
        assert result.report.verification.equal
        small = result.model
    # Whole groups of zeros leave as before.
    assert rows(small, "h") == KEPT
    held = {tensor.name: tensor.dims for tensor in small.graph.initializer}
    assert held[small.graph.node[-1].input[1]][1] == len(columns)


def test_a_sum_is_filled_up_behind_both_of_its_layers() -> None:
    model = parse(
        f"({IMAGE} x) => (float[1,2,4,4] y) {{ a = Conv(x, wa) b = Conv(x, wb) s = Add(a, b) y = Conv(s, wy) }}",
        wa=first(0, 1, 2, 3), wb=first(4, 5, 6, 7), wy=weight(2, WIDTH, 1, 1),
    )  # fmt: skip
    small = restored(model)
    assert (rows(small, "a"), rows(small, "b")) == (4, 4)
    assert show(small).count("Pad(") == 2


def test_channels_of_other_constants_are_restored_with_them() -> None:
    """Rows of zeros with a bias: the Softmax counts them, and an Add says what they hold."""
    level = bias(*(float(channel) for channel in range(WIDTH)))
    model = parse(
        f"({IMAGE} x) => (float[1,{WIDTH},4,4] y) {{ h = Conv(x, w, b) y = Softmax<axis=1>(h) }}",
        w=first(*DEAD), b=level,
    )  # fmt: skip
    small = restored(model)
    assert rows(small, "h") == KEPT
    assert [node.op_type for node in small.graph.node] == ["Conv", "Pad", "Gather", "Add", "Softmax"]


@pytest.mark.parametrize(
    ("given", "reader", "made"),
    [
        ("", "y = ArgMax<axis=1>(h)", "int64[1,1,4,4] y"),
        ("", "y = Unique(h)", "float[U] y"),
        (f", float[{WIDTH}] k", "q = Abs(k) y = BatchNormalization(h, one, zero, zero, q)", f"float[1,{WIDTH},4,4] y"),
    ],
)
def test_nodes_that_no_rule_looks_through_are_given_all_channels(given: str, reader: str, made: str) -> None:
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    model = parse(f"({IMAGE} x{given}) => ({made}) {{ h = Conv(x, w) {reader} }}", w=first(*DEAD), one=ones, zero=zeros)
    assert rows(restored(model), "h") == KEPT


def test_a_group_that_nobody_reads_leaves_with_its_zeros() -> None:
    last = weight(2, WIDTH, 1, 1, columns=(0, 1, 2, 3, 5, 7))
    model = parse(
        f"({IMAGE} x) => (float[1,2,4,4] y) {{"
        " h = Conv(x, first) n = GroupNormalization<num_groups=2>(h, scale, shift) y = Conv(n, last) }",
        opset=21, first=first(*DEAD), last=last, scale=np.ones(WIDTH, np.float32), shift=np.zeros(WIDTH, np.float32),
    )  # fmt: skip
    small = make(recipes(1)["restore"], model, infer_shapes(model))
    assert rows(small, "h") == 2
    assert "num_groups=1" in show(small)


def test_weights_that_take_fewer_bytes_than_the_nodes_stay() -> None:
    model = parse(
        f"(float[1,2,4,4] x) => (float[1,{WIDTH},4,4] y) {{ h = Conv(x, w) y = Softmax<axis=1>(h) }}",
        w=weight(WIDTH, 2, 1, 1, rows=DEAD),
    )  # fmt: skip
    assert [node.op_type for node in restored(model).graph.node] == ["Conv", "Softmax"]


@pytest.mark.parametrize(("dead", "left"), [(DEAD, KEPT), ((), WIDTH)])
def test_results_are_restored_behind_one_layer(dead: tuple[int, ...], left: int) -> None:
    model = parse(f"({IMAGE} x) => (float[1,{WIDTH},4,4] y) {{ y = Conv(x, w) }}", w=first(*dead))
    assert rows(restored(model), "y") == left


def test_results_of_small_layers_stay() -> None:
    model = parse(
        f"(float[1,2,4,4] x) => (float[1,{WIDTH},4,4] y) {{ y = Conv(x, w) }}", w=weight(WIDTH, 2, 1, 1, rows=DEAD)
    )
    assert [node.op_type for node in restored(model).graph.node] == ["Conv"]


def test_nothing_is_restored_where_another_reader_keeps_the_weights() -> None:
    """The second reader takes the channels in two halves of the width: they stand along no single axis there."""
    model = parse(
        f"({IMAGE} x) => (float[1,{WIDTH},4,4] y, float[1,{WIDTH},4,4] z)"
        " { h = Conv(x, w) y = Softmax<axis=1>(h) z = Identity(h) }",
        w=first(*DEAD),
    )  # fmt: skip
    assert applied(model, RestoreInputs()).graph.node == model.graph.node


def test_channels_are_restored_within_a_body() -> None:
    def body(name: str, node: str) -> onnx.GraphProto:
        return onnx.parser.parse_graph(f"{name} () => (float[1,{WIDTH},4,4] {name}) {{ {node} }}")

    model = parse(f"({IMAGE} x, bool c) => (float[1,{WIDTH},4,4] y) {{ h = Conv(x, w) y = Abs(h) }}", w=first(*DEAD))
    branches = {
        "then_branch": body("p", "p = Softmax<axis=1>(h)"), "else_branch": body("q", "q = LogSoftmax<axis=1>(h)"),
    }  # fmt: skip
    model.graph.node[1].CopyFrom(onnx.helper.make_node("If", ["c"], ["y"], "y", **branches))
    result = upscale_onnx.compile(model, prefer="size")
    assert rows(result.model, "h") == KEPT
    assert result.report.verification is not None
    assert result.report.verification.equal
