"""A stream of channels that every layer normalises, reads and adds to: some of its channels are zero everywhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, operators, sizes

WIDTH, DEAD = 16, (1, 4, 7, 11)
TWO, EPSILON = np.float32(2), np.float32(1e-3)
# Of each form: the opset, and the nodes from {x} to {y}.
FORMS = {
    "RMSNormalization": (23, "{y} = RMSNormalization<epsilon=1e-3>({x}, scale)"),
    "LayerNormalization": (20, "{y} = LayerNormalization<epsilon=1e-3>({x}, scale, shift)"),
    "LayerNormalization without bias": (17, "{y} = LayerNormalization<epsilon=1e-3>({x}, scale)"),
    "separate nodes": (
        18,
        """{y}a = Pow({x}, two)
        {y}b = ReduceMean({y}a, last)
        {y}c = Add({y}b, epsilon)
        {y}d = Sqrt({y}c)
        {y}e = Div({x}, {y}d)
        {y} = Mul({y}e, scale)""",
    ),
    "separate nodes, older": (
        13,
        """{y}a = Mul({x}, {x})
        {y}b = ReduceMean<axes=[-1]>({y}a)
        {y}c = Add({y}b, epsilon)
        {y}d = Sqrt({y}c)
        {y}e = Reciprocal({y}d)
        {y}f = Mul({x}, {y}e)
        {y} = Mul({y}f, scale)""",
    ),
    "LayerNormalization of separate nodes": (
        18,
        """{y}a = ReduceMean({x}, last)
        {y}b = Sub({x}, {y}a)
        {y}c = Pow({y}b, two)
        {y}d = ReduceMean({y}c, last)
        {y}e = Add({y}d, epsilon)
        {y}f = Sqrt({y}e)
        {y}g = Div({y}b, {y}f)
        {y}h = Mul({y}g, scale)
        {y} = Add({y}h, shift)""",
    ),
    "LayerNormalization of separate nodes, older": (
        11,
        """{y}a = ReduceMean<axes=[-1]>({x})
        {y}b = Sub({y}a, {x})
        {y}n = Neg({y}b)
        {y}c = Mul({y}b, {y}n)
        {y}d = ReduceMean<axes=[-1],keepdims=0>({y}c)
        {y}m = Neg({y}d)
        {y}e = Add({y}m, epsilon)
        {y}f = Sqrt({y}e)
        {y}r = Unsqueeze<axes=[2]>({y}f)
        {y}g = Div({y}n, {y}r)
        {y} = Mul({y}g, scale)""",
    ),
}
APART = [name for name in FORMS if name.startswith("LayerNormalization of")]


def stream(
    form: str, dead: tuple[int, ...] = DEAD, read: tuple[int, ...] = DEAD, scaled: bool = True
) -> onnx.ModelProto:
    """Two blocks on the embeddings of tokens. Channels `dead` of the stream are zero, and `read` are not read. If not
    `scaled`, the scale of the normalisations is zero in these channels, too."""
    opset, norm = FORMS[form]
    scale = vector(WIDTH)
    scale[list(() if scaled else dead)] = 0
    return net(
        "(int64[N,T] x) => (float[N,T,5] y)",
        f"""e = Gather(table, x)
        {norm.format(x="e", y="m")}
        h = MatMul(m, w1)
        r = Relu(h)
        k = MatMul(r, w2)
        s = Add(k, e)
        {norm.format(x="s", y="n")}
        y = MatMul(n, w3)""",
        opset=opset, table=weight(9, WIDTH, dead=dead), scale=scale, shift=vector(WIDTH)[::-1],
        w1=weight(WIDTH, 24, into=0, out=1, dead=read), w2=weight(24, WIDTH, into=0, out=1, silent=dead),
        w3=weight(WIDTH, 5, into=0, out=1, dead=read), two=TWO, epsilon=EPSILON, last=ints(-1),
    )  # fmt: skip


def table(model: onnx.ModelProto) -> tuple[int, ...]:
    """The shape of the table from which `e` is gathered."""
    (node,) = [node for node in model.graph.node if node.output[0] == "e"]
    return next(tuple(tensor.dims) for tensor in model.graph.initializer if tensor.name == node.input[0])


@pytest.mark.parametrize("form", FORMS)
def test_dead_channels_of_a_stream_leave(form: str, target: Target) -> None:
    small = check(stream(form), target, tolerance=1e-5, feeds={"x": np.arange(9).reshape(3, 3)})
    shapes = sizes(small)
    left = 12 if target.tight else WIDTH
    assert (table(small)[1], shapes["h"][0], shapes["k"][1], shapes["y"][0]) == (left,) * 4


def test_what_a_layer_reads_of_a_normalised_dead_channel_stays(target: Target) -> None:
    """Behind a LayerNormalization, a channel of zeros varies. Channel 4 is read."""
    model = stream("LayerNormalization", read=(1, 7, 11))
    small = check(model, target, tolerance=1e-5, feeds={"x": np.arange(9).reshape(3, 3)})
    assert sizes(small)["h"][0] == (13 if target.tight else WIDTH)


@pytest.mark.parametrize("form", APART)
def test_a_channel_that_is_read_once_its_mean_is_taken_off_stays(form: str, target: Target) -> None:
    """It counts for the variance by itself; the other three are made up for."""
    small = check(stream(form, read=(1, 7, 11)), target, tolerance=1e-5, feeds={"x": np.arange(9).reshape(3, 3)})
    assert sizes(small)["h"][0] == (13 if target.tight else WIDTH)


@pytest.mark.parametrize("form", APART)
def test_separate_nodes_keep_a_single_channel(form: str) -> None:
    """Runtimes make one node of them, unless they make up for channels."""
    result = upscale_onnx.compile(stream(form, dead=(4,), read=(4,)), export="keep", align=1, race=False)
    assert table(result.model)[1] == WIDTH


def test_a_layer_normalization_stays_one_for_a_single_channel() -> None:
    """The nodes that would make up for it take longer than the channel."""
    result = upscale_onnx.compile(
        stream("LayerNormalization", dead=(4,), read=(4,)), export="keep", align=1, race=False
    )
    assert operators(result.model).count("LayerNormalization") == 2
    result = upscale_onnx.compile(stream("RMSNormalization", dead=(4,), read=(4,)), export="keep", align=1, race=False)
    assert table(result.model)[1] == WIDTH - 1


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_the_stream_is_shown_equal(form: str, scaled: bool) -> None:
    report = upscale_onnx.compile(stream(form, scaled=scaled), export="keep", align=1, race=False).report
    assert report.refusals == ()
    assert report.verification is not None
    assert report.verification.equal


def test_a_tied_table_stays_one(target: Target) -> None:
    """It embeds tokens, and its transpose scores them."""
    model = net(
        "(int64[N,T] x) => (float[N,T,9] y)",
        """e = Gather(table, x)
        h = MatMul(e, w1)
        r = Relu(h)
        k = MatMul(r, w2)
        s = Add(k, e)
        scores = Transpose<perm=[1,0]>(table)
        y = MatMul(s, scores)""",
        table=weight(9, WIDTH, dead=DEAD), w1=weight(WIDTH, 24, into=0, out=1, dead=DEAD),
        w2=weight(24, WIDTH, into=0, out=1, silent=DEAD),
    )  # fmt: skip
    small = check(model, target, feeds={"x": np.arange(9).reshape(3, 3)})
    assert sum(9 in tensor.dims for tensor in small.graph.initializer) == 1
    assert table(small) == (9, 12 if target.tight else WIDTH)


@pytest.mark.parametrize("index", ["x", "i"])
def test_columns_that_are_the_same_in_all_rows_are_constants(index: str, target: Target) -> None:
    """Columns 2 and 5 hold 3 in all rows: the bias behind takes them over."""
    values = weight(9, 8)
    values[:, [2, 5]] = 3
    model = net(
        "(int64[N,T] x) => (float[N,T,4] y)",
        f"""i = Abs(x)
        e = Gather(table, {index})
        k = MatMul(e, w)
        y = Add(k, b)""",
        table=values, w=weight(8, 4, into=0, out=1, dead=(0,)), b=vector(4),
    )  # fmt: skip
    small = check(model, target, feeds={"x": np.arange(9).reshape(3, 3)})
    assert table(small) == (9, 5 if target.tight else 8)


# Of each form: the opset, and the operator with its parameters.
FUSED = {
    "simplified": (21, "SkipSimplifiedLayerNormalization<epsilon=1e-3>({x}, scale)"),
    "simplified, bias of zeros": (21, "SkipSimplifiedLayerNormalization<epsilon=1e-3>({x}, scale, zeros)"),
    "scale": (17, "SkipLayerNormalization<epsilon=1e-3>({x}, scale)"),
    "scale, shift and bias": (21, "SkipLayerNormalization<epsilon=1e-3>({x}, scale, shift, bias)"),
}


def fused(form: str, results: str = "n, a, b, s") -> onnx.ModelProto:
    """A block whose sum and normalisation are one node; what it makes is read, and the sum if it is a result."""
    opset, norm = FUSED[form]
    bias = vector(WIDTH)
    bias[list(DEAD)] = 0
    return net(
        "(int64[N,T] x) => (float[N,T,5] y)",
        f"""e = Gather(table, x)
        h = MatMul(e, w1)
        r = Relu(h)
        k = MatMul(r, w2)
        {results} = com.microsoft.{norm.format(x="k, e")}
        t = Add(n, {results[-1]})
        y = MatMul(t, w3)""",
        opset=opset, domains='"com.microsoft" : 1', table=weight(9, WIDTH, dead=DEAD), scale=vector(WIDTH),
        shift=vector(WIDTH)[::-1], bias=bias, zeros=0 * vector(WIDTH), w1=weight(WIDTH, 24, into=0, out=1, dead=DEAD),
        w2=weight(24, WIDTH, into=0, out=1, silent=DEAD), w3=weight(WIDTH, 5, into=0, out=1, dead=DEAD),
    )  # fmt: skip


@pytest.mark.parametrize("results", ["n", "n, a, b, s"])
@pytest.mark.parametrize("form", FUSED)
def test_dead_channels_leave_a_fused_sum_and_normalization(form: str, results: str, target: Target) -> None:
    feeds = {"x": np.arange(9).reshape(3, 3)}
    small = check(fused(form, results), target, tolerance=1e-5, feeds=feeds)
    assert (table(small)[1], sizes(small)["k"][1]) == ((12, 12) if target.tight else (16, 16))


def test_a_fused_normalization_stays_one_for_a_single_channel() -> None:
    model = fused("scale")
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        axis = {"table": 1, "w2": 1}.get(tensor.name)
        if axis is not None:
            values[:, [channel for channel in DEAD if channel != DEAD[0]]] = 1
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    result = upscale_onnx.compile(model, export="keep", align=1, race=False)
    assert operators(result.model).count("SkipLayerNormalization") == 1
    assert table(result.model)[1] == WIDTH


@pytest.mark.parametrize("order", ["k, z", "z, k"])
@pytest.mark.parametrize("form", FUSED)
def test_a_stream_that_begins_with_zeros_of_a_size_at_run_time_leaves(form: str, order: str, target: Target) -> None:
    opset, norm = FUSED[form]
    bias = vector(WIDTH)
    bias[list(DEAD)] = 0
    model = net(
        "(float[N,T,5] x) => (float[N,T,5] y)",
        f"""b = Shape<start=0, end=2>(x)
        size = Concat<axis=0>(b, width)
        z = ConstantOfShape(size)
        k = MatMul(x, w1)
        n = com.microsoft.{norm.format(x=order)}
        y = MatMul(n, w2)""",
        opset=opset, domains='"com.microsoft" : 1', width=ints(WIDTH), scale=vector(WIDTH),
        shift=vector(WIDTH)[::-1], bias=bias, zeros=0 * vector(WIDTH), w1=weight(5, WIDTH, into=0, out=1, silent=DEAD),
        w2=weight(WIDTH, 5, into=0, out=1, dead=DEAD),
    )  # fmt: skip
    small = check(model, target, tolerance=1e-5)
    assert sizes(small)["k"][1] == (12 if target.tight else 16)


@pytest.mark.parametrize(
    "norm", ["RMSNormalization({x}, scale)", "LayerNormalization({x}, scale, shift)", "Identity({x})"]
)
def test_dead_channels_of_a_stream_that_is_a_result_are_restored(norm: str, target: Target) -> None:
    """In both results, the dead channels are zeros, or what the shift is."""
    scale, shift = vector(WIDTH), vector(WIDTH)
    scale[list(DEAD)] = 0
    model = net(
        f"(int64[N,T] x) => (float[N,T,{WIDTH}] y, float[N,T,{WIDTH}] z)",
        f"""e = Gather(table, x)
        z = {norm.format(x="e")}
        h = MatMul(z, w1)
        r = Relu(h)
        k = MatMul(r, w2)
        s = Add(k, e)
        y = {norm.format(x="s")}""",
        opset=23, table=weight(9, WIDTH, dead=DEAD), scale=scale, shift=shift,
        w1=weight(WIDTH, 24, into=0, out=1, dead=DEAD), w2=weight(24, WIDTH, into=0, out=1, silent=DEAD),
    )  # fmt: skip
    small = check(model, target, tolerance=1e-5, feeds={"x": np.arange(9).reshape(3, 3)})
    left = 12 if target.tight else WIDTH
    assert (table(small)[1], sizes(small)["h"][0], sizes(small)["k"][1]) == (left,) * 3


def test_what_one_layer_makes_of_a_result_stays_there(target: Target) -> None:
    """It computes its constant channels faster than they are restored."""
    model = net("(float[N,3] x) => (float[N,8] y)", "y = MatMul(x, w)", w=weight(3, 8, into=0, out=1, silent=(0, 3)))
    assert operators(check(model, target)) == ["MatMul"]
