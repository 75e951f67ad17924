"""Units where groups of channels are normalised: they leave as a whole, in all forms of the normalisation."""

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
from upscale_onnx.options import Method
from upscale_onnx.report.rows import units_pruned
from upscale_onnx.results import Report
from upscale_onnx.types import Array

WIDTH, SIZE = 48, 4
_SCALED = " {y}m = Mul({y}r, scale) {y} = Add({y}m, shift)"
FORMS = {
    "operator": "{y} = GroupNormalization<num_groups={g}>({x}, scale, shift)",
    "reshaped": "{y}g = Reshape({x}, split{g}) {y}i = InstanceNormalization({y}g, ones{g}, zeros{g})"
    " {y}r = Reshape({y}i, whole)" + _SCALED,
    "dynamo": "{y}g = Reshape({x}, split{g}) {y}i = InstanceNormalization({y}g, ones{g}, zeros{g})"
    " {y}s = Shape({x}) {y}r = Reshape({y}i, {y}s)" + _SCALED,
    "separate": "{y}g = Reshape({x}, grid{g}) {y}a = ReduceMean({y}g, axes) {y}d = Sub({y}g, {y}a)"
    " {y}q = Mul({y}d, {y}d) {y}v = ReduceMean({y}q, axes) {y}e = Add({y}v, epsilon) {y}l = Sqrt({y}e)"
    " {y}n = Div({y}d, {y}l) {y}r = Reshape({y}n, whole)" + _SCALED,
    "fused": "{y}t = Transpose<perm=[0,2,3,1]>({x})"
    " {y}n = com.microsoft.GroupNorm<groups={g},channels_last=1,activation=0,epsilon=1e-5>({y}t, scale, shift)"
    " {y} = Transpose<perm=[0,3,1,2]>({y}n)",
}


def group_norm(form: str, *groups: int) -> onnx.ModelProto:
    """Convolutions around normalisations of a stream, each in so many groups."""
    rng = np.random.default_rng(0)
    steps = [FORMS[form].format(x="h" if not n else f"n{n}", y=f"n{n + 1}", g=g) for n, g in enumerate(groups)]
    text = f"h = Conv(x, first) {' '.join(steps)} a = Relu(n{len(groups)}) y = Conv(a, last)"
    shape = () if form in ("operator", "fused") else (1, 1)
    constants: dict[str, Array] = {
        "first": rng.normal(size=(WIDTH, 3, 1, 1)), "last": rng.normal(size=(2, WIDTH, 1, 1)),
        "scale": rng.normal(size=(WIDTH, *shape)), "shift": rng.normal(size=(WIDTH, *shape)),
        "epsilon": np.asarray(1e-5),
    }  # fmt: skip
    constants = {name: value.astype(np.float32) for name, value in constants.items()}
    constants |= {"axes": np.asarray([2, 3, 4]), "whole": np.asarray([1, WIDTH, SIZE, SIZE])}
    for g in groups:
        constants[f"split{g}"], constants[f"grid{g}"] = (np.asarray(v) for v in ([0, g, -1], [1, g, -1, SIZE, SIZE]))
        constants[f"ones{g}"], constants[f"zeros{g}"] = np.ones(g, np.float32), np.zeros(g, np.float32)
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]> '
        f"tiny (float[1,3,{SIZE},{SIZE}] x) => (float[1,2,{SIZE},{SIZE}] y) {{ {text} }}"
    )
    if form == "fused":  # shapes of this operator are not inferred
        made = [f"n{n + 1}n" for n in range(len(groups))]
        dims = [1, SIZE, SIZE, WIDTH]
        model.graph.value_info.extend(onnx.helper.make_tensor_value_info(name, 1, dims) for name in made)
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items() if name in used)
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def pruned(model: onnx.ModelProto, amount: float, **options: str) -> tuple[Report, dict[str, tuple[int, ...]]]:
    """The report, and the shapes of the weights."""
    result = compile(model, amount=amount, align=1, race=False, **options)
    assert result.report.verification is not None
    assert result.report.verification.equal
    return result.report, {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"fused"}))
def test_groups_leave_with_what_creates_them(form: str) -> None:
    report, shapes = pruned(group_norm(form, 8), 0.5, method="constrained")
    assert units_pruned(report.profile) == "4 of 8 groups of channels"
    assert (shapes["first"][0], shapes["last"][1]) == (WIDTH // 2, WIDTH // 2)


@pytest.mark.parametrize("form", ["operator", "reshaped"])
def test_the_groups_with_the_least_score_go(form: str) -> None:
    model = group_norm(form, 4)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "last")
    values = np.array(numpy_helper.to_array(tensor))
    values[:] = 1
    # One channel of group 2 is the largest of all, the group as a whole is the least but group 0.
    values[:, 24:36], values[:, 24] = 0.01, 3
    values[:, :12] = 0.1
    tensor.CopyFrom(numpy_helper.from_array(values, "last"))
    masked = compile(model, amount=0.5, method="constrained", masks="flat", race=False).masked
    after = next(numpy_helper.to_array(tensor) for tensor in masked.graph.initializer if tensor.name == "last")
    assert np.flatnonzero(~after.any((0, 2, 3))).tolist() == [*range(12), *range(24, 36)]


@pytest.mark.parametrize("form", sorted(FORMS))
def test_groups_go_for_the_time_that_they_take(form: str) -> None:
    model, scores = group_norm(form, 4), np.repeat(np.arange(1.0, 5), WIDTH // 4)
    network = network_of(model, y=scores)
    assert [bundle.size for bundle in network.bundles] == [4]
    analysis = prepared_analysis(model, infer_shapes(model))
    chosen = allocator(analysis, PresetCosts(align=1, macs_per_ms=1e3), {"y": ("last", scores)}).for_latency(0.8)
    assert chosen.latency <= 0.8
    assert chosen.masks["last"].reshape(4, -1).all(1).tolist() == [False, True, True, True]


def test_by_default_groups_leave() -> None:
    _, shapes = pruned(group_norm("operator", 16), 0.5)
    assert shapes["first"][0] < WIDTH
    assert shapes["first"][0] == shapes["last"][1]


def test_groups_of_several_sizes_leave_where_they_end_at_the_same_channels() -> None:
    report, shapes = pruned(group_norm("operator", 8, 4), 0.5, method="constrained")
    assert units_pruned(report.profile) == "2 of 4 groups of channels"
    assert shapes["first"][0] == WIDTH // 2


@pytest.mark.parametrize("groups", [(16, 3), (1,), (8, 1)])
def test_channels_go_one_by_one_where_a_unit_would_be_all_of_them(groups: tuple[int, ...]) -> None:
    model = group_norm("operator", *groups)
    assert network_of(model, y=np.ones(WIDTH)).layers[-1].atoms.size == WIDTH
    report, shapes = pruned(model, 0.25, method="constrained", export="gather")
    assert units_pruned(report.profile) == "12 of 48 channels"
    assert (shapes["first"][0], shapes["last"][1]) == (WIDTH, WIDTH - 12)


def residual(groups: int) -> onnx.ModelProto:
    """A ResNet of two stages of two blocks, with 32 and 64 channels, whose normalisations have so many groups."""
    rng, nodes = np.random.default_rng(0), list[str]()
    constants: dict[str, Array] = {"fc": rng.normal(size=(10, 64)) / 8}

    def layer(name: str, x: str, made: int, read: int, kernel: int, stride: int = 1) -> str:
        constants[f"w{name}"] = rng.normal(size=(made, read, kernel, kernel)) / np.sqrt(read * kernel**2)
        constants[f"g{name}"], constants[f"b{name}"] = rng.normal(1, 0.2, made), rng.normal(0, 0.1, made)
        sizes = f"pads={[kernel // 2] * 4}, strides={[stride] * 2}"
        nodes.append(f"c{name} = Conv<{sizes}>({x}, w{name})")
        nodes.append(f"n{name} = GroupNormalization<num_groups={groups}>(c{name}, g{name}, b{name})")
        return f"n{name}"

    nodes.append(f"s0 = Relu({layer('s', 'x', 32, 3, 3)})")
    for block, (made, read, stride) in enumerate([(32, 32, 1), (32, 32, 1), (64, 32, 2), (64, 64, 1)]):
        first = layer(f"{block}p", f"s{block}", made, read, 3, stride)
        nodes.append(f"m{block} = Relu({first})")
        second = layer(f"{block}q", f"m{block}", made, made, 3)
        beside = f"s{block}" if made == read else layer(f"{block}r", f"s{block}", made, read, 1, stride)
        nodes.append(f"a{block} = Add({second}, {beside}) s{block + 1} = Relu(a{block})")
    text = f"{' '.join(nodes)} p = GlobalAveragePool(s4) f = Flatten(p) y = Gemm<transB=1>(f, fc)"
    weights = {name: value.astype(np.float32) for name, value in constants.items()}
    return parse(f"(float[1,3,16,16] x) => (float[1,10] y) {{ {text} }}", 21, **weights)


@pytest.mark.parametrize(("method", "left"), [("unconstrained", 0.52), ("constrained", 0.25)])
def test_a_residual_network_keeps_this_share_of_its_parameters(method: Method, left: float) -> None:
    report = compile(residual(8), amount=0.5, method=method, race=False).report
    assert report.after.parameters / report.before.parameters == pytest.approx(left, abs=0.03)
