"""Nodes that use one weight lose the same channels, and what other nodes read of them besides goes, too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse
from upscale_onnx import compile
from upscale_onnx.masks.unread import without_unread
from upscale_onnx.options import Method

FRAMES, CHANNELS, UNITS = 3, 16, 16


def random(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def conv_lstm() -> onnx.ModelProto:
    """A ConvLSTM, written out: one convolution for all steps, whose result is split into gates. Its state starts with
    zeros."""
    text = "h0 = Identity(zeros) c0 = Identity(zeros) "
    for step in range(1, FRAMES + 1):
        before = step - 1
        text += (
            f"x{step} = Slice(x, from{before}, from{step}, one) e{step} = Conv<pads=[1,1,1,1]>(x{step}, encode) "
            f"r{step} = Relu(e{step}) j{step} = Concat<axis=1>(r{step}, h{before}) "
            f"g{step} = Conv<pads=[1,1,1,1]>(j{step}, gates) "
            f"i{step}, f{step}, o{step}, n{step} = Split<axis=1, num_outputs=4>(g{step}) "
            f"si{step} = Sigmoid(i{step}) sf{step} = Sigmoid(f{step}) so{step} = Sigmoid(o{step}) "
            f"tn{step} = Tanh(n{step}) k{step} = Mul(sf{step}, c{before}) w{step} = Mul(si{step}, tn{step}) "
            f"c{step} = Add(k{step}, w{step}) t{step} = Tanh(c{step}) h{step} = Mul(so{step}, t{step}) "
        )
    weights = random(encode=(CHANNELS, 3, 3, 3), gates=(4 * UNITS, CHANNELS + UNITS, 3, 3), out=(4, UNITS, 1, 1))
    bounds = {f"from{step}": np.asarray([3 * step], np.int64) for step in range(FRAMES + 1)}
    zeros = np.zeros((1, UNITS, 6, 6), np.float32)
    return parse(
        f"(float[1,{3 * FRAMES},6,6] x) => (float[1,4,6,6] y) {{ {text} y = Conv(h{FRAMES}, out) }}",
        one=np.ones(1, np.int64), zeros=zeros, **weights, **bounds,
    )  # fmt: skip


def spatial_attention(shown: bool = False) -> onnx.ModelProto:
    """Attention by the mean and the largest of all channels at each place, as in CBAM. shown: whether its input is a
    result, too."""
    text = (
        "a = Conv<pads=[1,1,1,1]>(x, first) r = Relu(a) m = ReduceMean<keepdims=1>(r, one) "
        "n = ReduceMax<keepdims=1>(r, one) j = Concat<axis=1>(m, n) k = Conv<pads=[3,3,3,3]>(j, window) s = Sigmoid(k) "
        "t = Mul(r, s) b = Conv(t, second) u = Relu(b) y = Conv(u, third)"
    )
    weights = random(first=(16, 3, 3, 3), window=(1, 2, 7, 7), second=(16, 16, 1, 1), third=(4, 16, 1, 1))
    results = "float[1,4,6,6] y" + (", float[1,16,6,6] r" if shown else "")
    return parse(f"(float[1,3,6,6] x) => ({results}) {{ {text} }}", one=np.ones(1, np.int64), **weights)


def shapes(model: onnx.ModelProto, method: Method) -> dict[str, tuple[int, ...]]:
    """The first two sizes of each weight when half is pruned."""
    result = compile(model, amount=0.5, method=method, masks="filled", race=False, export="gather", align=1)
    assert result.report.verification is not None
    assert result.report.verification.equal
    return {tensor.name: tuple(tensor.dims[:2]) for tensor in result.model.graph.initializer if len(tensor.dims) == 4}


@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
def test_all_steps_of_a_conv_lstm_lose_the_same_units(method: Method) -> None:
    left = shapes(conv_lstm(), method)
    inputs, units = left["encode"][0], left["out"][1]
    assert inputs + units == (CHANNELS + UNITS) // 2
    # In the first step nothing is forgotten.
    assert max(sizes for name, sizes in left.items() if name.startswith("gates")) == (4 * units, inputs + units)


def test_a_shared_layer_and_its_readers_choose_together() -> None:
    """One layer behind two pools, as in the attention of CBAM over channels."""
    text = (
        "a = Conv<pads=[1,1,1,1]>(x, first) p = GlobalAveragePool(a) q = GlobalMaxPool(a) d = Conv(p, down) "
        "r = Relu(d) u = Conv(r, up) e = Conv(q, down) f = Relu(e) v = Conv(f, up) s = Add(u, v) g = Sigmoid(s) "
        "t = Mul(a, g) y = Conv(t, last)"
    )
    weights = random(first=(16, 3, 3, 3), down=(8, 16, 1, 1), up=(16, 8, 1, 1), last=(4, 16, 1, 1))
    left = shapes(parse(f"(float[1,3,6,6] x) => (float[1,4,6,6] y) {{ {text} }}", **weights), "unconstrained")
    assert left == {"first": (8, 3), "down": (4, 8), "up": (8, 4), "last": (4, 8)}


@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
def test_channels_that_only_a_maximum_reads_go_altogether(method: Method) -> None:
    left = shapes(spatial_attention(), method)
    assert left == {"first": (8, 3), "window": (1, 2), "second": (8, 8), "third": (4, 8)}


def test_channels_of_results_keep_their_rows() -> None:
    left = shapes(spatial_attention(shown=True), "constrained")
    assert left == {"first": (16, 3), "window": (1, 2), "second": (8, 8), "third": (4, 8)}


def test_only_what_masks_take_loses_its_rows() -> None:
    """Channel 0 is read by nothing but the attention, in the model as it is. The mask is about channel 1."""
    model = spatial_attention()
    second = next(tensor for tensor in model.graph.initializer if tensor.name == "second")
    values = np.array(numpy_helper.to_array(second))
    values[:, :2] = 0
    second.CopyFrom(numpy_helper.from_array(values, "second"))
    kept = np.ones(16, np.bool_)
    kept[1] = False
    first = next(t for t in without_unread(model, {"second": kept}).graph.initializer if t.name == "first")
    assert np.flatnonzero(~numpy_helper.to_array(first).any(axis=(1, 2, 3))).tolist() == [1]
