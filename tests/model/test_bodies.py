"""Which bodies are parts of the flat graph, and where nodes go back to."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from upscale_onnx.model import export_graph, import_graph
from upscale_onnx.model.bodies import opened_nodes

LOOP = """<ir_version: 10, opset_import: ["" : 17]>
g (float[4] x, int64 n, bool c) => (float[4] y, float[k,4] z) <float[4] w = {1, 2, 3, 4}> {
  y, z = Loop (n, c, x) <body = b (int64 i, bool go, float[4] h) => (bool more, float[4] next, float[4] seen) {
    more = Identity(go)
    next = Add(h, w)
    seen = Neg(next)
  }>
}"""
IF = """<ir_version: 10, opset_import: ["" : 17]>
g (float[4] x, bool c) => (float[4] y) {
  a = Abs(x)
  y = If (c) <then_branch = p () => (float[4] r) { s = Neg(a) r = Exp(s) },
              else_branch = q () => (float[4] t) { u = Neg(a) t = Sin(u) }>
}"""


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        (LOOP, True),
        (IF, True),
        (IF.replace("u", "s"), False),  # one name for two values
        (IF.replace("s = Neg(a) r = Exp(s)", "r = Exp(s) s = Neg(a)"), False),  # out of order
        (IF.replace('"" : 17', '"" : 6'), False),
        (LOOP.replace("float[4] seen)", "float[4] seen, float[4] next)"), False),
        (LOOP.replace("y, z = Loop (n, c, x)", "y, z = Loop (n, c, )"), False),
    ],
)
def test_a_body_is_part_of_the_graph_unless_it_is_unusual(text: str, opened: bool) -> None:
    model = onnx.parser.parse_model(text)
    assert bool(opened_nodes(model)) == opened
    assert export_graph(import_graph(model), model) == model


def test_a_node_that_both_branches_read_moves_in_front_of_them() -> None:
    model = onnx.parser.parse_model(IF)
    graph = import_graph(model)
    nodes = {node.outputs[0].name: node for node in graph.nodes}
    nodes["t"].inputs[0] = nodes["s"].outputs[0]
    graph.nodes.remove(nodes["u"])
    back = export_graph(graph, model)
    onnx.checker.check_model(back, full_check=True)
    assert [node.op_type for node in back.graph.node] == ["Abs", "Neg", "If"]


def test_a_new_node_stands_with_its_reader_and_a_new_constant_outside() -> None:
    model = onnx.parser.parse_model(IF)
    graph = import_graph(model)
    exp = next(node for node in graph.nodes if node.op == "Exp")
    new = gs.Variable("new", np.float32, [4])
    made = gs.Node("Add", inputs=[exp.inputs[0], gs.Constant("one", np.ones(4, np.float32))], outputs=[new])
    exp.inputs[0] = new
    graph.nodes.insert(graph.nodes.index(exp), made)
    back = export_graph(graph, model)
    onnx.checker.check_model(back, full_check=True)
    assert [node.op_type for node in back.graph.node[-1].attribute[0].g.node] == ["Neg", "Add", "Exp"]
    assert [tensor.name for tensor in back.graph.initializer] == ["one"]


def test_a_body_returns_a_copy_of_what_is_not_its_own() -> None:
    model = onnx.parser.parse_model(IF)
    graph = import_graph(model)
    nodes = {node.outputs[0].name: node for node in graph.nodes}
    nodes["y"].inputs[1] = nodes["a"].outputs[0]
    graph.nodes.remove(nodes["r"])
    graph.nodes.remove(nodes["s"])
    back = export_graph(graph, model)
    onnx.checker.check_model(back, full_check=True)
    assert [node.op_type for node in back.graph.node[-1].attribute[0].g.node] == ["Identity"]
