"""Units of pruning: heads, neurons of experts and hidden units go as a whole, and reports name them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse
from tests.masks.aware.test_network import network_of
from upscale_onnx import compile
from upscale_onnx.costs.costs import PresetCosts
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.aware.allocator import allocator
from upscale_onnx.model import infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.report.rows import units_pruned
from upscale_onnx.results import Report

HEADS, WIDTH, MODEL, LENGTH = 8, 4, 16, 5


def attention(groups: int, heads: int = HEADS, width: int = WIDTH) -> onnx.ModelProto:
    """Attention of so many heads, of which each `groups`-th part has one head of keys and values, behind a layer."""
    rng, inner, owned = np.random.default_rng(0), heads * width, groups * width
    shapes = {"first": (6, MODEL), "wq": (MODEL, inner), "wk": (MODEL, owned), "wv": (MODEL, owned), "wo": (inner, 10)}
    text = "h = MatMul(x, first)"
    for part, count in (("q", heads), ("k", groups), ("v", groups)):
        text += f" m{part} = MatMul(h, w{part}) r{part} = Reshape(m{part}, s{count})"
        text += f" t{part} = Transpose<perm=[0,2,1,3]>(r{part})"
        if count != heads:
            text += (
                f" u{part} = Unsqueeze(t{part}, two) e{part} = Expand(u{part}, wide) a{part} = Reshape(e{part}, all)"
            )
        else:
            text += f" a{part} = Identity(t{part})"
    text += " kt = Transpose<perm=[0,1,3,2]>(ak) s = MatMul(aq, kt) p = Softmax<axis=-1>(s) o = MatMul(p, av)"
    text += " ot = Transpose<perm=[0,2,1,3]>(o) j = Reshape(ot, join) y = MatMul(j, wo)"
    vectors = {"two": [2], "wide": [2, groups, heads // groups, LENGTH, width], "all": [2, heads, LENGTH, width]}
    vectors |= {f"s{count}": [2, LENGTH, count, width] for count in (heads, groups)} | {"join": [2, LENGTH, inner]}
    used = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    constants = {name: np.asarray(values, np.int64) for name, values in vectors.items() if name in used}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return parse(f"(float[2,{LENGTH},6] x) => (float[2,{LENGTH},10] y) {{ {text} }}", **constants, **weights)


def pruned(model: onnx.ModelProto, amount: float, side: Side = "input") -> tuple[Report, dict[str, tuple[int, ...]]]:
    """The report, and the shapes of the weights by the node that reads them."""
    result = compile(
        model, amount=amount, method="constrained", side=side, masks="flat", export="gather", align=1, race=False
    )
    assert result.report.verification is not None
    assert result.report.verification.equal
    dims = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    read = {node.output[0]: [dims[name] for name in node.input if name in dims] for node in result.model.graph.node}
    return result.report, {name: shapes[0] for name, shapes in read.items() if shapes and len(shapes[0]) > 1}


def units(report: Report) -> list[tuple[str, int, int]]:
    return [(kept.unit, kept.kept, kept.channels) for kept in report.profile]


@pytest.mark.parametrize("side", ["input", "output"])
def test_whole_heads_go_with_their_queries_keys_and_values(side: Side) -> None:
    report, shapes = pruned(attention(HEADS), 0.25, side)
    assert ("heads", 6, 8) in units(report)
    assert [shapes[name][1] for name in ("mq", "mk", "mv")] == [6 * WIDTH] * 3
    assert shapes["y"] == (6 * WIDTH, 10)
    assert "2 of 8 heads" in units_pruned(report.profile)


def test_the_heads_with_the_least_score_go() -> None:
    model = attention(HEADS)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "wo")
    values = np.array(numpy_helper.to_array(tensor))
    # Single rows of head 3 are the largest of all, the head as a whole is the least but head 5.
    values[3 * WIDTH : 4 * WIDTH] *= 0.01
    values[5 * WIDTH : 6 * WIDTH] *= 0.001
    tensor.CopyFrom(numpy_helper.from_array(values, "wo"))
    masked = compile(model, amount=0.25, method="constrained", masks="flat", race=False).masked
    after = next(numpy_helper.to_array(tensor) for tensor in masked.graph.initializer if tensor.name == "wo")
    gone = np.flatnonzero(~after.any(1))
    assert gone.tolist() == [*range(3 * WIDTH, 4 * WIDTH), *range(5 * WIDTH, 6 * WIDTH)]


def test_heads_go_for_the_time_that_they_take() -> None:
    scores = {"y": np.repeat(np.arange(1.0, HEADS + 1), WIDTH)}
    network = network_of(attention(HEADS), **scores)
    assert [bundle.size for bundle in network.bundles] == [HEADS]
    masks = (
        allocator(
            prepared_analysis(attention(HEADS), infer_shapes(attention(HEADS))),
            PresetCosts(align=8, macs_per_ms=1e3),
            {"y": ("wo", scores["y"])},
        )
        .for_latency(0.8)
        .masks
    )
    assert masks["wo"].reshape(HEADS, WIDTH).all(1).tolist() == [False] * 2 + [True] * 6


def test_heads_that_share_keys_and_values_are_one_unit() -> None:
    report, shapes = pruned(attention(4), 0.25)
    assert ("heads", 3, 4) in units(report)
    assert [shapes[name][1] for name in ("mq", "mk", "mv")] == [6 * WIDTH, 3 * WIDTH, 3 * WIDTH]


def test_channels_go_one_by_one_where_all_heads_share_keys_and_values() -> None:
    report, shapes = pruned(attention(1), 0.25)
    assert [unit for unit, *_ in units(report)] == ["channels", "channels"]
    assert shapes["mv"][1] == WIDTH - 1


def test_channels_of_a_single_head_go_one_by_one() -> None:
    report, shapes = pruned(attention(1, heads=1, width=16), 0.25)
    assert units(report) == [("channels", 12, 16)] * 2
    assert shapes["y"] == (12, 10)


def test_a_neuron_goes_from_all_experts() -> None:
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in _EXPERTS.items()}
    model = parse(
        "(float[5,6] x) => (float[5,10] y) { h = MatMul(x, first) g = MatMul(h, gate) p = Softmax<axis=-1>(g)"
        " up = MatMul(h, wu) a = Relu(up) down = MatMul(a, wd) pt = Transpose<perm=[1,0]>(p) pu = Unsqueeze(pt, two)"
        " m = Mul(down, pu) r = ReduceSum<keepdims=0>(m, zero) y = MatMul(r, last) }",
        two=np.asarray([2]), zero=np.asarray([0]), **weights,
    )  # fmt: skip
    report, shapes = pruned(model, 0.25)
    assert ("neurons", 24, 32) in units(report)
    assert (shapes["up"], shapes["down"]) == ((3, 12, 24), (3, 24, 12))
    assert ("channels", 12, 16) in units(report)  # the router and the experts agree on what they read


_EXPERTS = {"first": (6, 16), "gate": (16, 3), "wu": (3, 16, 32), "wd": (3, 32, 16), "last": (16, 10)}


@pytest.mark.parametrize("directions", [1, 2])
def test_hidden_units_go_from_all_gates_and_directions(directions: int) -> None:
    report, shapes = pruned(_lstm(directions), 0.25)
    assert units(report) == [("hidden units", 12, 16)]
    assert shapes == {"s": (directions, 48, 6), "y": (12 * directions, 10)}
    assert units_pruned(report.profile) == "4 of 16 hidden units"


@pytest.mark.parametrize("directions", [1, 2])
def test_an_amount_alone_takes_hidden_units(directions: int) -> None:
    report = compile(_lstm(directions), amount=0.25, align=1, race=False).report
    # Four gates of 16 units in each direction, of which 4 go.
    assert report.before.parameters - report.after.parameters == directions * (4 * (16 * 24 - 12 * 20) + 4 * 10)


def _lstm(directions: int) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {
        "w": (directions, 64, 6),
        "r": (directions, 64, 16),
        "b": (directions, 128),
        "last": (16 * directions, 10),
    }
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    kind = "forward" if directions == 1 else "bidirectional"
    return parse(
        f'(float[4,2,6] x) => (float[4,2,10] y) {{ s = LSTM<hidden_size=16,direction="{kind}">(x, w, r, b)'
        " t = Transpose<perm=[0,2,1,3]>(s) h = Reshape(t, flat) y = MatMul(h, last) }",
        flat=np.asarray([4, 2, 16 * directions]), **weights,
    )  # fmt: skip
