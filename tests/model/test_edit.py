from __future__ import annotations

import time

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from upscale_onnx.errors import InternalError
from upscale_onnx.model import captured_names, cleanup, export_graph, import_graph, set_input, sort_nodes

# Both branches name a value alike, so they stay parts of their node.
BRANCHES = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[4] x, bool flag) => (float[4] y)
<float[4] w = {1, 2, 3, 4}>
{
    dead1 = Neg (x)
    dead2 = Add (dead1, w)
    outer = Abs (x)
    deep = Exp (x)
    y = If (flag) <
        then_branch = a () => (float[4] t) { t = Add (outer, w) },
        else_branch = b () => (float[4] t) {
            t = If (flag) <then_branch = c () => (float[4] v) { v = Identity (deep) },
                           else_branch = d () => (float[4] s) { k = Neg (x)
                                                               s = Identity (k) }>
        }
    >
}
"""


def chain(length: int, shared: bool = False) -> gs.Graph:
    x = gs.Variable("x", np.float32, (1,))
    bias = gs.Constant("bias", np.ones(1, np.float32))
    nodes, value = [], x
    for index in range(length):
        out = gs.Variable(f"v{index}", np.float32, (1,))
        nodes.append(gs.Node("Add", f"n{index}", inputs=[x if shared else value, bias], outputs=[out]))
        value = out
    return gs.Graph(nodes, [x], [value], opset=17)


def test_captured_names_are_those_read_from_outside_only() -> None:
    model = onnx.parser.parse_model(BRANCHES)
    assert captured_names(model.graph.node) == {"outer", "w", "flag", "deep", "x"}


def test_cleanup_removes_dead_nodes_and_keeps_captures() -> None:
    model = onnx.parser.parse_model(BRANCHES)
    graph = import_graph(model)
    assert cleanup(graph) == 2
    assert [node.op for node in graph.nodes] == ["Abs", "Exp", "If"]
    back = export_graph(graph, model)
    assert [tensor.name for tensor in back.graph.initializer] == ["w"], "read by a branch only"
    onnx.checker.check_model(back, full_check=True)


def test_cleanup_unlinks_what_it_removes() -> None:
    graph = import_graph(onnx.parser.parse_model(BRANCHES))
    x = graph.inputs[0]
    cleanup(graph)
    assert {node.op for node in x.outputs} == {"Abs", "Captured", "Exp"}, "one reader is left inside a branch"
    assert cleanup(graph) == 0


def test_cleanup_keeps_a_node_for_one_used_output() -> None:
    graph = import_graph(
        onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[4] x) => (float[2] b) { a, b = Split <axis = 0> (x) }
    """)
    )
    assert cleanup(graph) == 0
    assert [value.name for value in graph.nodes[0].outputs] == ["a", "b"]


def test_setting_an_input_moves_one_link() -> None:
    graph = chain(2)
    first, second = graph.nodes
    bias = first.inputs[1]
    set_input(second, 0, bias)
    assert [value.name for value in second.inputs] == ["bias", "bias"]
    assert [node.name for node in bias.outputs] == ["n0", "n1", "n1"]
    assert list(first.outputs[0].outputs) == []
    set_input(second, 1, first.outputs[0])
    assert [node.name for node in bias.outputs] == ["n0", "n1"]
    assert [node.name for node in first.outputs[0].outputs] == ["n1"]


def test_sorting_moves_only_what_must_move() -> None:
    graph = chain(5)
    graph.nodes.append(graph.nodes.pop(1))
    sort_nodes(graph)
    assert [node.name for node in graph.nodes] == ["n0", "n1", "n2", "n3", "n4"]
    before = list(graph.nodes)
    sort_nodes(graph)
    assert all(a is b for a, b in zip(graph.nodes, before, strict=True))


def test_sorting_sees_what_branches_read() -> None:
    model = onnx.parser.parse_model(BRANCHES)
    graph = import_graph(model)
    graph.nodes.insert(0, graph.nodes.pop())
    sort_nodes(graph)
    onnx.checker.check_model(export_graph(graph, model), full_check=True)
    assert [node.op for node in graph.nodes] == ["Neg", "Add", "Abs", "Exp", "If"]


def test_a_cycle_is_our_bug() -> None:
    graph = chain(3)
    graph.nodes[0].inputs[0] = graph.nodes[2].outputs[0]
    with pytest.raises(InternalError, match="cycle"):
        sort_nodes(graph)


@pytest.mark.parametrize("shared", [False, True])
def test_ten_thousand_layers_take_no_recursion_and_linear_time(shared: bool) -> None:
    def seconds(length: int) -> float:
        graph = chain(length, shared)
        graph.outputs = [graph.nodes[0].outputs[0]]
        graph.nodes.reverse()
        started = time.process_time()
        sort_nodes(graph)
        assert cleanup(graph) == length - 1
        return time.process_time() - started

    short = min(seconds(1000) for _ in range(3))
    assert min(seconds(10_000) for _ in range(2)) < 40 * short  # quadratic time would be 100 times as long
