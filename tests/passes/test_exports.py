"""All passes together: what no export may leave behind."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import check, golden, indices, parse, show, weight
from tests.passes.test_determinism import MODEL
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes

RECIPES = sorted(recipes(1))


def excess(model: onnx.ModelProto) -> list[str]:
    """Nodes that select everything, or the same as another."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    shapes, outputs = infer_shapes(model), {value.name for value in model.graph.output}
    seen: set[tuple[object, ...]] = set()
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Identity", "Slice", "Gather"):
            continue
        same_shape = shapes[node.input[0]].dims == shapes[node.output[0]].dims
        ordered = node.op_type != "Gather" or bool((np.diff(constants[node.input[1]]) == 1).all())
        attributes = tuple(attribute.SerializeToString() for attribute in node.attribute)
        key = (node.op_type, node.input[0], attributes, *(constants[name].tobytes() for name in node.input[1:]))
        if not outputs & set(node.output) and ((same_shape and ordered) or key in seen):
            found.append(node.output[0])
        seen.add(key)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_no_excess_is_left(name: str) -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u, float[1,3,2,4] v) {
            a = Conv(x, w1)
            i = Gather<axis=1>(a, all)
            s = Slice(i, zero, six, one)
            g = Gather<axis=1>(s, picks)
            h = Gather<axis=1>(a, picks)
            k = Gather<axis=1>(g, again)
            l = Identity(k)
            y = Conv(g, w2)
            z = Conv(h, w2)
            u = Conv(l, w3)
            v1 = Slice(x, zero, two, two)
            v2 = Slice(x, zero, two, two)
            v = Add(v1, v2)
        }""",
        w1=weight(6, 3, 1, 1),
        all=indices(0, 1, 2, 3, 4, 5),
        zero=indices(0),
        one=indices(1),
        two=indices(2),
        six=indices(6),
        picks=indices(0, 2, 5),
        again=indices(2, 0),
        w2=weight(2, 3, 1, 1),
        w3=weight(2, 2, 1, 1),
    )
    assert excess(model) == ["i", "s", "l", "v2"]
    after = make(recipes(1)[name], model, infer_shapes(model))
    check(model, after)
    assert excess(after) == []
    selections = [node.op_type for node in after.graph.node if node.op_type in ("Slice", "Gather", "Identity")]
    assert len(selections) == 2  # of two rows of x, and of two of the three channels of a that are read


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("block", [1, 4])
def test_a_graph_of_many_ties(name: str, block: int) -> None:
    after = make(recipes(block)[name], MODEL, infer_shapes(MODEL))
    check(MODEL, after)
    assert excess(after) == []


@pytest.mark.parametrize("name", RECIPES)
def test_an_export_of_an_export_changes_nothing(name: str) -> None:
    once = make(recipes(1)[name], MODEL, infer_shapes(MODEL))
    twice = make(recipes(1)[name], once, infer_shapes(once))
    check(once, twice)
    assert len(twice.graph.node) <= len(once.graph.node)
    assert sum(len(t.raw_data) for t in twice.graph.initializer) <= sum(len(t.raw_data) for t in once.graph.initializer)


def test_upscale_reads_ranges_where_gather_picks() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            y = Conv(a, w2)
            z = Conv(a, w3)
        }""",
        w1=weight(6, 3, 1, 1),
        w2=weight(2, 6, 1, 1, columns=[1, 3]),
        w3=weight(2, 6, 1, 1, columns=[0, 2]),
    )
    shapes = infer_shapes(model)
    assert show(make(recipes(1)["upscale"], model, shapes)) == golden(
        """a = Conv(x, w1{6x3x1x1})
        a_selected = Slice(a, [0], [4], [1])
        y = Conv(a_selected, w2{2x4x1x1})
        a_selected_1 = Slice(a, [2], [6], [1])
        z = Conv(a_selected_1, w3{2x4x1x1})"""
    )
    assert show(make(recipes(1)["gather"], model, shapes)) == golden(
        """a = Conv(x, w1{6x3x1x1})
        a_selected = Gather<axis=1>(a, [0,2,4,5])
        y = Conv(a_selected, w2{2x4x1x1})
        a_selected_1 = Gather<axis=1>(a, [1,3,4,5])
        z = Conv(a_selected_1, w3{2x4x1x1})"""
    )
