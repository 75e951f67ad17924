"""Values and weights with several readers: tied weights, outputs from the middle, subgraphs, barriers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, operators, sizes


def test_tied_weights_with_different_demands(target: Target) -> None:
    """One weight, two nodes: one reads a full value, the other one of which two channels are zero."""
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        """a = Conv(x, w1)
        b = Conv(x, w2)
        c = Conv<pads=[1,1,1,1]>(a, w)
        d = Conv<pads=[1,1,1,1]>(b, w)
        y = Conv(c, w3)
        z = Conv(d, w4)""",
        w1=weight(8, 3, 3, 3), w2=weight(8, 3, 3, 3, silent=(0, 5), seed=1), w=weight(8, 8, 3, 3, dead=(3,)),
        w3=weight(4, 8, 1, 1, dead=(1, 2)), w4=weight(4, 8, 1, 1, dead=(7,)),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.selects:
        assert (small["a"][0], small["b"][0]) == (7, 5)
        assert (small["c"][:2], small["d"][:2]) == ((6, 7), (7, 5))
    elif target.tight:  # two cuts of the weight would take more than the whole
        assert (small["a"][0], small["b"][0]) == (8, 8)


def test_a_tied_embedding(target: Target) -> None:
    """The table that is gathered from is the head's weight, transposed."""
    model = net(
        "(int64[N,T] x) => (float y)",
        """e = Gather<axis=0>(table, x)
        h = MatMul(e, w1)
        r = Relu(h)
        d = MatMul(r, w2)
        t = Transpose<perm=[1,0]>(table)
        y = MatMul(d, t)""",
        table=weight(9, 8, silent=(0,), dead=(2,)), w1=weight(8, 12, into=0, out=1, dead=(1,), silent=(5,)),
        w2=weight(12, 8, into=0, out=1, dead=(0, 3)),
    )  # fmt: skip
    small = sizes(check(model, target, feeds={"x": np.array([[1, 2, 0], [8, 3, 4]])}, dims=(2,)))
    assert small["h"][1] == (9 if target.tight else 12)


def test_one_node_reads_a_value_twice(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        s = Mul(h, h)
        c = Concat<axis=1>(h, s, h)
        y = Conv(c, w2)""",
        w1=weight(6, 3, 3, 3, silent=(4,)), w2=weight(4, 18, 1, 1, dead=(0, 6, 12, 1, 13)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == (4 if target.tight else 6)


def test_an_intermediate_that_is_also_an_output(target: Target) -> None:
    """What is shown to the world stays whole; what comes behind it shrinks."""
    model = net(
        "(float[N,3,6,6] x) => (float y, float r)",
        """h = Conv(x, w1)
        r = Relu(h)
        k = Conv<pads=[1,1,1,1]>(r, w2)
        y = Conv(k, w3)""",
        w1=weight(8, 3, 3, 3, silent=(5,)), w2=weight(8, 8, 3, 3, dead=(1, 2)), w3=weight(4, 8, 1, 1, dead=(0, 6)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["h"][0] == 8
    assert small["k"][0] == (6 if target.tight else 8)
    assert small["k"][1] == (5 if target.selects else 8)


def test_the_output_is_a_convolution(target: Target) -> None:
    """Rows of zeros at the end are part of the result."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        y = Conv(h, w2, b2)""",
        w1=weight(8, 3, 3, 3), w2=weight(6, 8, 3, 3, dead=(0, 3), silent=(1, 4)), b2=vector(6, c1=0),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["y"][0] == 6
    assert small["h"][0] == (6 if target.tight else 8)


def test_several_inputs_and_outputs(target: Target) -> None:
    """Two towers that meet, each with a head; an input goes straight into the join, an output is an input."""
    model = net(
        "(float[N,3,6,6] x, float[N,2,6,6] z, float[N,4,6,6] u) => (float y, float w, float[N,4,6,6] v)",
        """a = Conv(x, w1)
        b = Conv(z, w2)
        s = Add(a, b)
        w = Conv(s, w3)
        c = Concat<axis=1>(s, u)
        y = Conv<pads=[1,1,1,1]>(c, w4)
        v = Identity(u)""",
        w1=weight(8, 3, 1, 1), w2=weight(8, 2, 1, 1), w3=weight(5, 8, 1, 1, dead=(0, 1, 2)),
        w4=weight(5, 12, 3, 3, dead=(0, 7, 8, 9)),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["a"][0] == small["b"][0] == (7 if target.tight else 8)
    assert small["w"][1] == (5 if target.selects else small["a"][0])


def test_dynamic_sizes_in_a_computed_reshape(target: Target) -> None:
    """Batch, height and width are known at run time only: to (N, H·W, C) and back by Shape, Gather and Concat."""
    model = net(
        "(float[N,3,H,W] x) => (float y)",
        """h = Conv<pads=[1,1,1,1]>(x, w1)
        d = Shape(h)
        n = Gather(d, i0)
        c = Gather(d, i1)
        hh = Gather(d, i2)
        ww = Gather(d, i3)
        to = Concat<axis=0>(n, c, minus)
        f = Reshape(h, to)
        t = Transpose<perm=[0,2,1]>(f)
        m = MatMul(t, w2)
        u = Transpose<perm=[0,2,1]>(m)
        back = Concat<axis=0>(n, minus, hh, ww)
        g = Reshape(u, back)
        y = Conv<pads=[1,1,1,1]>(g, w3)""",
        w1=weight(8, 3, 3, 3, silent=(2,)), w2=weight(8, 6, into=0, out=1, dead=(1, 5)),
        w3=weight(4, 6, 3, 3, dead=(0,)),
        i0=ints(0), i1=ints(1), i2=ints(2), i3=ints(3), minus=ints(-1),
    )  # fmt: skip
    small = sizes(check(model, target, dims=(3, 4)))
    assert small["m"][0] <= 8


def _branches(captured: str, weight_name: str) -> dict[str, onnx.GraphProto]:
    """A branch that reads a value and a weight of the outer graph, and one that makes zeros of the value."""
    out = helper.make_tensor_value_info("i", TensorProto.FLOAT, None)
    inner = helper.make_node("Conv", [captured, weight_name], ["i"], name="inner")
    then = helper.make_graph([inner], "then", [], [out])
    other = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    orelse = helper.make_graph(
        [
            helper.make_node("Conv", [captured, weight_name], ["o0"], name="other"),
            helper.make_node("Sub", ["o0", "o0"], ["o"], name="nothing"),
        ],
        "else", [], [other],
    )  # fmt: skip
    return {"then_branch": then, "else_branch": orelse}


@pytest.mark.parametrize("flag", [True, False])
def test_an_if_that_captures_a_value(target: Target, flag: bool) -> None:
    """Channels 0 and 3 are dead for the outer reader and for the weight in the branches."""
    model = net(
        "(float[N,3,6,6] x, bool flag) => (float[N,4,4,4] y)",
        """h = Conv(x, w1)
        k = Conv(h, w2)
        y = Conv(k, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(6, 8, 1, 1, dead=(0, 3)), w3=weight(4, 6, 1, 1, dead=(5,)),
        wi=weight(4, 8, 1, 1, dead=(0, 3)),
    )  # fmt: skip
    model.graph.node[-1].output[0] = "z"
    model.graph.node.append(helper.make_node("If", ["flag"], ["c"], name="choice", **_branches("h", "wi")))
    model.graph.node.append(helper.make_node("Add", ["z", "c"], ["y"], name="sum"))
    onnx.checker.check_model(model, full_check=True)
    small = sizes(check(model, target, feeds={"flag": np.asarray(flag)}))
    assert small["h"][0] == (6 if target.tight else 8)
    assert small["k"][0] == (5 if target.tight else 6)
    assert small["k"][1] == small["h"][0]


def test_a_loop_that_captures_a_value(target: Target) -> None:
    """The body adds the captured value to what is carried around; what nobody reads behind the loop goes."""
    body = helper.make_graph(
        [helper.make_node("Add", ["carried", "h"], ["next"]), helper.make_node("Identity", ["cond"], ["go"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("cond", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )  # fmt: skip
    model = net(
        "(float[N,3,6,6] x) => (float[N,4,4,4] y)",
        """a = Conv(x, w0)
        h = Conv(a, w1)
        y = Conv(h, w2)""",
        w0=weight(8, 3, 3, 3), w1=weight(6, 8, 1, 1, dead=(0, 3)), w2=weight(4, 6, 1, 1, dead=(5,)),
        times=np.asarray(3), yes=np.asarray(True),
    )  # fmt: skip
    model.graph.node[-1].input[0] = "l"
    model.graph.node.insert(2, helper.make_node("Loop", ["times", "yes", "h"], ["l"], name="loop", body=body))
    onnx.checker.check_model(model, full_check=True)
    small = sizes(check(model, target))
    assert small["a"][0] == (6 if target.tight else 8)
    assert small["h"][0] == (5 if target.tight else 6)


DOUBLED = """<domain: "example", opset_import: ["" : 21]>
Mirror (v) => (m) {
    two = Constant<value_float=2.0>()
    m = Mul(v, two)
}"""


def test_a_function_is_looked_into(target: Target) -> None:
    """Channels pass what it does, which is a multiplication by 2."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w0)
        h = Conv(a, w1)
        m = example.Mirror(h)
        k = Conv(m, w2)
        y = Conv(k, w3)""",
        domains='"example" : 1', functions=DOUBLED, w0=weight(8, 3, 3, 3, silent=(1,)),
        w1=weight(6, 8, 1, 1, silent=(2,)),
        w2=weight(8, 6, 1, 1, dead=(0, 2)), w3=weight(4, 8, 1, 1, dead=(3,)),
    )  # fmt: skip
    model.graph.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 4, 4, 4]))
    compiled = check(model, target)
    small = sizes(compiled)
    assert not compiled.functions
    assert small["a"][0] == (7 if target.tight else 8)
    assert small["h"][0] == (4 if target.tight else 6)
    assert small["k"][0] == (7 if target.tight else 8)


def test_an_operator_without_a_rule_is_a_barrier(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """a = Conv(x, w0)
        h = Conv(a, w1)
        m = CumSum(h, one)
        k = Conv(m, w2)
        y = Conv(k, w3)""",
        w0=weight(8, 3, 3, 3, silent=(1,)), w1=weight(6, 8, 1, 1, silent=(2,)),
        w2=weight(8, 6, 1, 1, dead=(0, 2)), w3=weight(4, 8, 1, 1, dead=(3,)), one=ints(1),
    )  # fmt: skip
    small = sizes(check(model, target))
    assert small["a"][0] == (7 if target.tight else 8)
    assert small["h"][0] == 6


def test_weights_behind_identity_and_constant_nodes(target: Target) -> None:
    """Exporters hand weights through Identity, Constant and Transpose."""
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """w = Identity(w2)
        h = Conv(x, w1)
        k = Conv(h, w)
        r = Relu(k)
        p = GlobalMaxPool(r)
        f = Flatten(p)
        t = Transpose<perm=[1,0]>(w3)
        g = MatMul(f, t)
        bias = Constant<value_floats=[1.0, 2.0, 3.0, 4.0]>()
        y = Add(g, bias)""",
        w1=weight(8, 3, 3, 3), w2=weight(6, 8, 1, 1, dead=(0, 3)), w3=weight(4, 6, dead=(1,)),
    )  # fmt: skip
    compiled = check(model, target)
    small = sizes(compiled)
    assert small["h"][0] == (6 if target.tight else 8)
    assert small["k"][0] == (5 if target.tight else 6)
    if target.tight:  # stored as it was, behind the Transpose
        assert next(list(t.dims) for t in compiled.graph.initializer if t.name == "w3") == [4, 5]


def test_an_unused_branch_and_unused_weights_go(target: Target) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)",
        """h = Conv(x, w1)
        idle = Conv(h, w2)
        y = Conv(h, w3)""",
        w1=weight(8, 3, 3, 3), w2=weight(6, 8, 1, 1), w3=weight(4, 8, 1, 1, dead=(2,)), lost=weight(4, 4),
    )  # fmt: skip
    compiled = check(model, target)
    assert sizes(compiled)["h"][0] == (7 if target.tight else 8)
    assert operators(compiled) == ["Conv", "Conv"]


def test_a_computed_constant_that_nothing_is_cut_from_stays_computed(target: Target) -> None:
    """The sum has more entries than its two operands; only the other part of the Concat shrinks."""
    model = net(
        "(float[1,6,4] x) => (float y)",
        """h = MatMul(x, w1)
        t = Add(rows, columns)
        c = Concat<axis=2>(h, t)
        y = MatMul(c, w2)""",
        w1=weight(4, 8, into=0, out=1, silent=(3,)), rows=vector(6).reshape(1, 6, 1), columns=vector(8),
        w2=weight(16, 3, into=0, out=1),
    )  # fmt: skip
    assert "Add" in operators(check(model, target))
