"""The local proof: it proves what compiles claim, and sees each kind of fault that is planted in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.graphs import bias, indices, parse, weight
from tests.traps.net import net
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import infer_shapes
from upscale_onnx.proof.by_claims import prove
from upscale_onnx.proof.compare import fault_of
from upscale_onnx.proof.regions import Network
from upscale_onnx.proof.replaced import replaced
from upscale_onnx.results import Claim
from upscale_onnx.types import Array

# Two branches read one value, each some of its channels; a third of the channels is dead, one is a constant.
MODEL = parse(
    """(float[1,3,12,12] x) => (float[1,4,12,12] y, float[1,5] scores) {
        c = Conv(x, w, b)
        r = Relu(c)
        left = Conv<pads=[1,1,1,1]>(r, wl)
        right = Conv(r, wr)
        y = Add(left, right)
        pooled = GlobalAveragePool(r)
        flat = Flatten(pooled)
        scores = Gemm<transB=1>(flat, wg, bg)
    }""",
    w=weight(9, 3, 1, 1, rows=(0, 4, 7)),
    b=bias(0, 1, -1, 2, 3, 1, -2, 0, 1),
    wl=weight(4, 9, 3, 3, columns=(0, 1, 4, 7)),
    wr=weight(4, 9, 1, 1, columns=(0, 2, 3, 7)),
    wg=weight(5, 9, columns=(0, 7, 8)),
    bg=bias(1, 2, 3, 4, 5),
)
FEED = {"x": np.zeros((1, 3, 12, 12), np.float32)}
EXPORTS = ("keep", "gather", "upscale", "planned")


def exported(name: str, model: onnx.ModelProto = MODEL, alone: frozenset[str] = frozenset()) -> Exported:
    """An export of the model, with nothing rounded up."""
    return export(Making(recipes(1)[name]), Draft(model, infer_shapes(model), alone=alone))


def weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def edited(model: onnx.ModelProto, value: str, index: int, change: Callable[[Array], Array]) -> onnx.ModelProto:
    """A copy in which the constant at input `index` of the node that makes `value` is another one."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    name = next(node for node in copy.graph.node if value in node.output).input[index]
    tensor = weights(copy)[name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return copy


def without(index: int, axis: int = 0) -> Callable[[Array], Array]:
    """Zero one entry along an axis."""

    def change(values: Array) -> Array:
        np.moveaxis(values, axis, 0)[index] = 0
        return values

    return change


@pytest.mark.parametrize("name", EXPORTS)
def test_every_export_is_proven(name: str) -> None:
    made = exported(name)
    proof = prove(MODEL, made.model, made.claims, FEED)
    assert proof.complete
    assert proof.proven == proof.regions > 4


def test_what_is_claimed_is_that_channels_are_gone() -> None:
    claims = exported("upscale").claims
    assert claims["r"].sizes == (1, 9, 1, 1)
    assert claims["r"].held is not None
    assert set(claims["r"].held.ravel()) == {1, 2, 3, 5, 6, 8}
    assert claims["r"].constants is not None
    assert claims["r"].constants.ravel()[[0, 4, 7]].tolist() == [0, 3, 0]


FAULTS: Mapping[str, tuple[str, int, Callable[[Array], Array]]] = {
    "a channel is made of nothing": ("c", 1, without(2)),
    "one input of one channel is not read": ("left", 1, without(1, axis=1)),
    "one bias is lost": ("c", 2, without(1)),
    "the bias of a dense layer is off by a thousandth": ("scores", 2, lambda b: b * np.float32(1.001)),
    "two channels are exchanged": ("right", 1, lambda w: w[[1, 0, 2, 3]]),
    "one weight has the wrong sign": (
        "scores",
        1,
        lambda w: w * np.where(np.arange(w.size) == 3, -1, 1).reshape(w.shape),
    ),
    "a weight is lost that is a millionth of the others": ("right", 1, without(0)),
    "weights are rounded": ("left", 1, lambda w: w + np.float32(1e-4)),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["gather", "upscale"])
def test_a_planted_fault_is_seen_in_its_region(fault: str, name: str) -> None:
    value, index, change = FAULTS[fault]
    model = MODEL
    if "millionth" in fault:
        model = edited(MODEL, "right", 1, lambda w: w * np.asarray([1e-6, 1, 1, 1], np.float32).reshape(4, 1, 1, 1))
    made = exported(name, model)
    assert prove(model, made.model, made.claims, FEED).complete
    proof = prove(model, edited(made.model, value, index, change), made.claims, FEED)
    assert [entry.value for entry in proof.refuted] == [value]


def test_a_wrong_order_is_seen() -> None:
    made = exported("upscale")
    held = made.claims["r"].held
    assert held is not None
    claims = {**made.claims, "r": Claim((1, 9, 1, 1), held[:, ::-1])}
    assert {"r", "left", "right"} & {entry.value for entry in prove(MODEL, made.model, claims, FEED).refuted}


def test_a_wrong_constant_is_seen() -> None:
    made = exported("gather")
    claim = made.claims["c"]
    assert claim.constants is not None
    claims = {**made.claims, "c": Claim(claim.sizes, claim.held, claim.constants + 1)}
    assert "c" in {entry.value for entry in prove(MODEL, made.model, claims, FEED).refuted}


def test_channels_that_nothing_is_claimed_of_must_not_be_read() -> None:
    made = exported("keep")
    held = np.arange(9).reshape(1, 9, 1, 1) if made.claims["r"].held is None else made.claims["r"].held.copy()
    held[0, 1] = -1
    claims = {**made.claims, "r": Claim((1, 9, 1, 1), held)}
    refuted = {entry.value for entry in prove(MODEL, made.model, claims, FEED).refuted}
    assert refuted & {"left", "right", "scores", "pooled", "flat"}
    assert "c" not in refuted


@pytest.mark.parametrize(
    ("value", "attribute"),
    [("left", helper.make_attribute("pads", [0, 0, 2, 2])), ("c", helper.make_attribute("strides", [2, 2]))],
    ids=["padding", "strides"],
)
def test_a_changed_attribute_is_seen(value: str, attribute: onnx.AttributeProto) -> None:
    made = exported("gather")
    node = next(node for node in made.model.graph.node if value in node.output)
    kept = [old for old in node.attribute if old.name != attribute.name]
    del node.attribute[:]
    node.attribute.extend([*kept, attribute])
    assert value in {entry.value for entry in prove(MODEL, made.model, made.claims, FEED).refuted}


def test_a_region_that_cannot_run_is_no_proof() -> None:
    made = exported("gather")
    broken = edited(made.model, "left", 1, lambda w: w[:, :-1])
    assert "the compiled region fails" in prove(MODEL, broken, made.claims, FEED).refuted[0].detail


def test_a_region_that_only_makes_nan_is_no_proof() -> None:
    model = parse(
        """(float[1,2,4,4] x) => (float[1,2,4,4] y) {
            n = Neg(x)
            a = Abs(n)
            m = Sub(z, a)
            y = Log(m)
        }""",
        z=bias(-1),
    )
    proof = prove(model, model, {}, {"x": np.zeros((1, 2, 4, 4), np.float32)})
    assert [entry.value for entry in proof.unrunnable] == ["y"]
    assert not proof.complete


def test_inputs_that_no_draw_of_both_signs_suits_are_drawn_positive() -> None:
    model = parse("(float[1] x) => (float[1] y) { a = Neg(x)  b = Neg(a)  y = Log(b) }")
    assert prove(model, model, {"b": Claim((1,))}, {"x": np.ones(1, np.float32)}).complete


def test_nodes_that_are_left_alone_are_whole_in_every_export() -> None:
    for name in EXPORTS:
        made = exported(name, alone=frozenset({"left"}))
        shapes = {tensor.name: list(tensor.dims) for tensor in made.model.graph.initializer}
        node = next(node for node in made.model.graph.node if "left" in node.output)
        assert shapes[node.input[1]] == [4, 9, 3, 3]
        assert prove(MODEL, made.model, made.claims, FEED).complete


def test_integers_reach_every_row_of_what_they_index() -> None:
    model = parse(
        "(int64[1,64] ids) => (float[1,64,3] y) { h = Gather(table, ids)  y = MatMul(h, w) }",
        table=weight(1000, 4),
        w=weight(4, 3),
    )
    feed = {"ids": np.zeros((1, 64), np.int64)}
    assert prove(model, model, {"h": Claim((1, 1, 1))}, feed).complete

    def damaged(table: Array) -> Array:
        table[300:] = 0
        return table

    assert not prove(model, edited(model, "h", 0, damaged), {"h": Claim((1, 1, 1))}, feed).complete


def test_a_branch_of_a_subgraph_is_a_region_like_any_other() -> None:
    model = parse(
        """(bool flag, float[1,4] x) => (float[1,4] y) {
            h = Relu(x)
            y = If(flag) <
                then_branch = t () => (float[1,4] a) { a = Mul(h, w) },
                else_branch = e () => (float[1,4] b) { b = Neg(h) }
            >
        }""",
        w=bias(1, 2, 3, 4),
    )
    feed = {"flag": np.asarray(True), "x": np.zeros((1, 4), np.float32)}
    claims = {"h": Claim((1, 1))}
    assert prove(model, model, claims, feed).complete
    wrong = onnx.ModelProto()
    wrong.CopyFrom(model)
    weights(wrong)["w"].CopyFrom(numpy_helper.from_array(bias(1, 2, 3, 5), "w"))
    assert [entry.value for entry in prove(model, wrong, claims, feed).refuted] == ["y"]


def test_sizes_computed_at_run_time_are_no_obstacle() -> None:
    model = parse(
        """(float[N,6,H,W] x) => (float[N,K] y) {
            c = Conv(x, w)
            s = Shape<start=0, end=1>(c)
            t = Concat<axis=0>(s, rest)
            y = Reshape(c, t)
        }""",
        w=weight(8, 6, 1, 1, rows=(1, 2)),
        rest=indices(-1),
    )
    made = exported("gather", model)
    assert prove(model, made.model, made.claims, {"x": np.zeros((2, 6, 3, 5), np.float32)}).complete


def test_a_number_that_is_a_size_may_move() -> None:
    text = "(float[1,3,9,9] x, float[4] s) => (float[a,b,c,d] y) { z = Conv(x, w) y = Resize(z, , s) }"
    model = parse(text, w=weight(5, 3, 1, 1, seed=1))
    feed = {"x": np.zeros((1, 3, 9, 9), np.float32), "s": np.asarray([1, 1, 2, 2], np.float32)}
    made = exported("keep", model)
    assert prove(model, made.model, made.claims, feed).complete
    wrong = edited(made.model, "z", 1, without(2))
    assert [entry.value for entry in prove(model, wrong, made.claims, feed).refuted] == ["z"]


@pytest.mark.parametrize("name", EXPORTS)
def test_nothing_is_claimed_of_a_value_that_is_gone(name: str) -> None:
    text = """(float[1,3,4,4] x) => (float[1,3,4,4] p, float[1,3,4,4] q) {
        a = Conv(x, w)
        p, q, r = Split<axis=1, num_outputs=3>(a)
    }"""
    model = parse(text, w=weight(7, 3, 1, 1))
    made = exported(name, model)
    assert "r" not in made.claims
    assert prove(model, made.model, made.claims, {"x": np.zeros((1, 3, 4, 4), np.float32)}).complete


@pytest.mark.parametrize("sizes", [(), (1, 1, 1, 1, 1)])
def test_a_wrong_rank_is_no_fault_where_all_of_the_value_is_there(sizes: tuple[int, ...]) -> None:
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert fault_of(value, [], value.copy(), Claim(sizes)) == ""
    assert fault_of(value, [], value + np.float32(1), Claim(sizes))
    assert "has no channels" in fault_of(value, [], value.copy(), Claim(sizes, np.zeros((1,) * len(sizes), np.int64)))


def test_units_that_saturate_are_drawn_until_they_do_not() -> None:
    """A unit of a recurrent layer whose gates are shut tells nothing, and one draw shuts many."""
    noise = np.random.default_rng(0)
    hidden = 96
    shapes = {"w": (1, 4 * hidden, 8), "r": (1, 4 * hidden, hidden)}
    weights = {name: 10 * noise.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("LSTM", ["x", "w", "r"], ["y", "h"], hidden_size=hidden),
        helper.make_node("Relu", ["h"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 1, 8))],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (1, 1, hidden))],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    made = exported("keep", model)
    feed = {"x": np.zeros((1, 1, 8), np.float32)}
    assert prove(model, made.model, made.claims, feed).complete

    def silent(unit: int) -> Callable[[Array], Array]:
        return lambda w: np.where((np.arange(4 * hidden) % hidden == unit)[None, :, None], np.float32(0), w)

    missed = [
        unit for unit in range(0, hidden, 2)
        if not prove(model, edited(made.model, "h", 1, silent(unit)), made.claims, feed).refuted
    ]  # fmt: skip
    assert missed == []


def test_a_constant_counts_where_anything_else_is_finite() -> None:
    """Behind a division by zero, all of the first row is lost; in the second row, one channel is finite."""
    inf, nan = np.inf, np.nan
    claim = Claim((1, 3), np.asarray([[0, 2]]), np.asarray([[nan, 0.0, nan]]))
    lost = np.asarray([[inf, nan, nan], [1, 0, 2]], np.float32)
    assert fault_of(lost, [], lost[:, [0, 2]], claim) == ""
    seen = np.asarray([[inf, nan, 3], [1, 0, 2]], np.float32)
    assert "not the constants" in fault_of(seen, [], seen[:, [0, 2]], claim)
    untold = Claim((1, 3), np.asarray([[-1, -1]]), claim.constants)
    assert "not the constants" in fault_of(lost, [], lost[:, [0, 2]], untold)
    other = np.asarray([[inf, 5, nan], [1, 0, 2]], np.float32)
    assert "not the constants" in fault_of(other, [], other[:, [0, 2]], claim)
    assert "not the constants" in fault_of(lost, [], lost[:, [0, 2]], claim, replaced=True)


def test_values_whose_infinities_are_replaced_are_told() -> None:
    model = net(
        "(float[1,4] x) => (float[1,4] y, float[1,4] z)",
        """a = Reciprocal(x)
        b = Add(a, a)
        c = IsNaN(b)
        y = Where(c, x, x)
        d = Reciprocal(x)
        e = MatMul(d, w)
        z = Max(e, x)""",
        w=np.eye(4, dtype=np.float32),
    )  # fmt: skip
    assert replaced(Network(model)) == {"a", "b", "c", "e", "x"}
