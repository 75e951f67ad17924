"""Goldens of RemoveChannels: what is dead goes, with the weights around it, and nothing else changes."""

from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import bias, golden, indices, parse, show, weight
from tests.passes.apply import remove
from upscale_onnx.types import Array

CASES: dict[str, tuple[str, dict[str, Array], str]] = {
    "nothing to do": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(2, 4, 1, 1)},
        """a = Conv(x, w1{4x3x1x1})
        y = Conv(a, w2{2x4x1x1})""",
    ),
    "through a carrier": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Relu(a)
            y = Conv(b, w2)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(2, 4, 1, 1, columns=[1, 3])},
        """a = Conv(x, w1_1{2x3x1x1})
        b = Relu(a)
        y = Conv(b, w2_1{2x2x1x1})""",
    ),
    "constant rows move into the bias behind": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1, b1)
            b = Relu(a)
            y = Conv(b, w2, b2)
        }""",
        {
            "w1": weight(4, 3, 1, 1, rows=[1, 2]),
            "b1": bias(1, 2, -3, 4),
            "w2": weight(2, 4, 1, 1),
            "b2": bias(5, 6),
        },
        """a = Conv(x, w1_1{2x3x1x1}, b1_1{2})
        b = Relu(a)
        y = Conv(b, w2_1{2x2x1x1}, b2_1{2})""",
    ),
    "constant beside zero padding stays": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1, b1)
            y = Conv<pads=[1,1,1,1]>(a, w2)
        }""",
        {"w1": weight(4, 3, 1, 1, rows=[1, 2]), "b1": bias(1, 2, 0, 4), "w2": weight(2, 4, 3, 3)},
        """a = Conv(x, w1_1{3x3x1x1}, b1_1{3})
        y = Conv<pads=[1,1,1,1]>(a, w2_1{2x3x3x3})""",
    ),
    "an Add ties its operands": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            n = BatchNormalization<epsilon=0.0>(b, scale, shift, mean, var)
            c = Add(a, n)
            y = Conv(c, w3)
        }""",
        {
            "w1": weight(4, 3, 1, 1),
            "w2": weight(4, 3, 1, 1, seed=1),
            "scale": bias(1, 2, 1, 2),
            "shift": bias(1, 2, 3, 4),
            "mean": bias(0, 1, 0, 1),
            "var": bias(1, 4, 1, 4),
            "w3": weight(2, 4, 1, 1, columns=[0]),
        },
        """a = Conv(x, w1_1{3x3x1x1})
        b = Conv(x, w2_1{3x3x1x1})
        n = BatchNormalization<epsilon=0.0>(b, scale_1{3}, shift_1{3}, mean_1{3}, var_1{3})
        c = Add(a, n)
        y = Conv(c, w3_1{2x3x1x1})""",
    ),
    "both parts of a Concat shrink": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Concat<axis=1>(a, b)
            y = Conv(c, w3)
        }""",
        {"w1": weight(3, 3, 1, 1), "w2": weight(3, 3, 1, 1, seed=1), "w3": weight(2, 6, 1, 1, columns=[0, 4, 5])},
        """a = Conv(x, w1_1{2x3x1x1})
        b = Conv(x, w2_1{1x3x1x1})
        c = Concat<axis=1>(a, b)
        y = Conv(c, w3_1{2x3x1x1})""",
    ),
    "a part that nobody reads goes, and the Concat with it": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Concat<axis=1>(a, b)
            y = Conv(c, w3)
        }""",
        {"w1": weight(3, 3, 1, 1), "w2": weight(3, 3, 1, 1, seed=1), "w3": weight(2, 6, 1, 1, columns=[3, 4, 5])},
        """a = Conv(x, w1{3x3x1x1})
        y = Conv(a, w3_1{2x3x1x1})""",
    ),
    "a Split is resized": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            p, q = Split<axis=1>(a, sizes)
            y = Conv(p, w2)
            z = Conv(q, w3)
        }""",
        {
            "w1": weight(6, 3, 1, 1),
            "sizes": indices(3, 3),
            "w2": weight(2, 3, 1, 1, columns=[0]),
            "w3": weight(2, 3, 1, 1, columns=[1, 2]),
        },
        """a = Conv(x, w1_1{3x3x1x1})
        p, q = Split<axis=1>(a, [2,1])
        y = Conv(p, w2_1{2x2x1x1})
        z = Conv(q, w3_1{2x1x1x1})""",
    ),
    "a Split of which one output is read becomes a Slice": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            p, q = Split<axis=1>(a, sizes)
            y = Conv(p, w2)
            z = Conv(a, w3)
        }""",
        {
            "w1": weight(6, 3, 1, 1),
            "sizes": indices(3, 3),
            "w2": weight(2, 3, 1, 1),
            "w3": weight(2, 6, 1, 1, columns=[4]),
        },
        """a = Conv(x, w1_1{5x3x1x1})
        p = Slice(a, [0], [3], [1])
        y = Conv(p, w2{2x3x1x1})
        z = Conv(a, w3_1{2x5x1x1})""",
    ),
    "a Split of which some outputs are read becomes a Slice each": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u) {
            a = Conv(x, w1)
            p, m, q = Split<axis=1>(a, sizes)
            y = Conv(p, w2)
            z = Conv(q, w2)
            u = Conv(a, w3)
        }""",
        {
            "w1": weight(6, 3, 1, 1),
            "sizes": indices(2, 2, 2),
            "w2": weight(2, 2, 1, 1),
            "w3": weight(2, 6, 1, 1, columns=[3]),
        },
        """a = Conv(x, w1_1{5x3x1x1})
        p = Slice(a, [0], [2], [1])
        q = Slice(a, [3], [5], [1])
        y = Conv(p, w2{2x2x1x1})
        z = Conv(q, w2{2x2x1x1})
        u = Conv(a, w3_1{2x5x1x1})""",
    ),
    "a selection that nothing is left of keeps the name of a graph output": (
        """(float[1,3,4,4] x) => (float[1,3,4,4] y, float[1,2,4,4] z) {
            a = Conv(x, w1)
            y = Slice(a, start, end, axis)
            z = Conv(y, w2)
        }""",
        {
            "w1": weight(6, 3, 1, 1),
            "start": indices(0),
            "end": indices(3),
            "axis": indices(1),
            "w2": weight(2, 3, 1, 1),
        },
        """a = Conv(x, w1_1{3x3x1x1})
        y = Identity(a)
        z = Conv(y, w2{2x3x1x1})""",
    ),
    "a shape is computed from the original size": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[6,4,4] z) {
            a = Conv(x, w1)
            b = Relu(a)
            s = Shape(a)
            n = Slice(s, one, four, zero)
            y = Conv(b, w2)
            m = Conv(x, w3)
            z = Reshape(m, n)
        }""",
        {
            "w1": weight(6, 3, 1, 1),
            "w2": weight(2, 6, 1, 1, columns=[0]),
            "w3": weight(6, 3, 1, 1),
            "zero": indices(0),
            "one": indices(1),
            "four": indices(4),
        },
        """a = Conv(x, w1_1{5x3x1x1})
        b = Relu(a)
        y = Conv(b, w2_1{2x5x1x1})
        m = Conv(x, w3{6x3x1x1})
        z = Reshape(m, [6,4,4])""",
    ),
    "depthwise weights follow": (
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            b = Conv<group=4>(a, w2)
            y = Conv(b, w3)
        }""",
        {"w1": weight(4, 3, 1, 1), "w2": weight(4, 1, 1, 1), "w3": weight(2, 4, 1, 1, columns=[0])},
        """a = Conv(x, w1_1{3x3x1x1})
        b = Conv<group=3>(a, w2_1{3x1x1x1})
        y = Conv(b, w3_1{2x3x1x1})""",
    ),
    "through a Flatten a channel is a run of columns": (
        """(float[1,3,2,2] x) => (float[1,2] y) {
            a = Conv(x, w1)
            f = Flatten<axis=1>(a)
            y = Gemm<transB=1>(f, w2, b2)
        }""",
        {"w1": weight(3, 3, 1, 1), "w2": weight(2, 12, columns=[4, 5, 6, 7]), "b2": bias(1, 2)},
        """a = Conv(x, w1_1{2x3x1x1})
        f = Flatten<axis=1>(a)
        y = Gemm<transB=1>(f, w2_1{2x8}, b2{2})""",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    text, constants, expected = CASES[name]
    assert show(remove(parse(text, **constants))) == golden(expected)


def test_blocks_are_filled_with_dead_channels() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        w1=weight(8, 3, 1, 1),
        w2=weight(2, 8, 1, 1, columns=[0, 1, 2, 5, 6]),
    )
    assert "w1_1{4x3x1x1}" in show(remove(model, align=4))
    assert "w1_1{3x3x1x1}" in show(remove(model, align=3))
    full = remove(model, align=8)
    assert "w1_1{8x3x1x1}" in show(full)
    # What only fills the block is computed from zeros: it can be nothing that overflows.
    rows = next(numpy_helper.to_array(t) for t in full.graph.initializer if t.name == "w1_1").any((1, 2, 3))
    assert rows.tolist() == [False, False, False, True, True, False, False, True]


def test_tied_weights_part_where_their_uses_do() -> None:
    model = parse(
        """(float[1,3,4,4] x) => (float[1,4,4,4] y, float[1,4,4,4] z) {
            a = Conv(x, w1)
            y = Conv(a, w2)
            b = Conv(x, w1)
            z = Conv(b, w3)
            c = Conv(x, w1)
            d = Conv(c, w3)
        }""",
        w1=weight(4, 3, 1, 1),
        w2=weight(4, 4, 1, 1, columns=[0]),
        w3=weight(4, 4, 1, 1),
    )
    after = remove(model)
    expected = """a = Conv(x, w1_1{3x3x1x1})
        y = Conv(a, w2_1{4x3x1x1})
        b = Conv(x, w1{4x3x1x1})
        z = Conv(b, w3{4x4x1x1})"""
    assert show(after) == golden(expected)
    before, kept = (next(t for t in m.graph.initializer if t.name == "w1") for m in (model, after))
    assert kept == before


def test_nodes_and_weights_keep_what_is_said_of_them() -> None:
    text, constants, _ = CASES["through a carrier"]
    model = parse(text, **constants)
    model.doc_string, model.graph.doc_string = "about the model", "about the graph"
    for node in model.graph.node:
        node.name, node.doc_string = f"layer/{node.output[0]}", f"about {node.output[0]}"
        node.metadata_props.add(key="origin", value=node.output[0])
    after = remove(model)
    assert (after.doc_string, after.graph.doc_string) == ("about the model", "about the graph")
    for old, new in zip(model.graph.node, after.graph.node, strict=True):
        assert (new.name, new.doc_string) == (old.name, old.doc_string)
        assert list(new.metadata_props) == list(old.metadata_props)


def test_no_stale_shape_is_declared() -> None:
    text, constants, _ = CASES["through a carrier"]
    model = onnx.shape_inference.infer_shapes(parse(text, **constants))
    assert {value.name for value in model.graph.value_info} == {"a", "b"}
    after = remove(model)
    assert not after.graph.value_info


@pytest.mark.parametrize("captured", ["s", "n"])
def test_a_value_that_a_subgraph_refers_to_stays(captured: str) -> None:
    """A Slice of everything and a Relu: what they become must go on under their names. The branches are parts of their
    node, since a name stands for a value of each."""
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        tiny (float[1,3,4,4] x, bool c) => (float[1,2,4,4] y, float[1,6,4,4] z) {{
            a = Conv(x, w1)
            s = Slice(a, start, end, axis)
            n = Relu(s)
            y = Conv(n, w2)
            z = If(c) <
                then_branch = yes () => (float[1,6,4,4] t) {{ t = Neg({captured}) }},
                else_branch = no () => (float[1,6,4,4] t) {{ t = Abs({captured}) }}
            >
        }}"""
    )
    constants = {"w1": weight(6, 3, 1, 1), "w2": weight(2, 6, 1, 1, columns=[1])}
    constants |= {"start": indices(0), "end": indices(6), "axis": indices(1)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    after = remove(model)
    assert any(captured in node.output for node in after.graph.node)
