"""Two models without a certificate: equal ones are proven, and what inputs of the whole model leave asleep is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import bias, indices, parse, weight
from tests.proof.test_by_claims import EXPORTS, FEED, MODEL, exported
from upscale_onnx.proof.by_names import prove_by_names
from upscale_onnx.types import Array

IMAGE = {"x": np.zeros((1, 3, 16, 16), np.float32)}


def with_constant(model: onnx.ModelProto, name: str, values: Array) -> onnx.ModelProto:
    """A copy of the model in which a constant has other values."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    next(t for t in copy.graph.initializer if t.name == name).CopyFrom(numpy_helper.from_array(values, name))
    return copy


@pytest.mark.parametrize("name", EXPORTS)
def test_a_compiled_model_is_proven_by_the_names_of_its_values(name: str) -> None:
    proof = prove_by_names(MODEL, exported(name).model, FEED)
    assert proof.complete
    assert proof.regions > 4


def test_a_channel_may_differ_that_nobody_reads() -> None:
    model = parse(
        "(float[1,3,16,16] x) => (float[1,2,16,16] y) { h = Conv(x, w)  r = Relu(h)  y = Conv(r, v) }",
        w=weight(4, 3, 1, 1),
        v=weight(2, 4, 1, 1, columns=(2,)),
    )
    other = weight(4, 3, 1, 1)
    other[2] = 7
    assert prove_by_names(model, with_constant(model, "w", other), IMAGE).complete
    other[1] = 7
    assert not prove_by_names(model, with_constant(model, "w", other), IMAGE).complete


def test_a_value_may_hold_something_else_that_its_reader_makes_up_for() -> None:
    model = parse(
        "(float[1,4] x) => (float[1,3] y) { m = MatMul(x, w)  y = Add(m, b) }", w=weight(4, 3), b=bias(1, 2, 3)
    )
    doubled = with_constant(with_constant(model, "w", weight(4, 3) * 2), "b", bias(2, 4, 6))
    assert not prove_by_names(model, doubled, {"x": np.zeros((1, 4), np.float32)}).complete
    halved = parse(
        "(float[1,4] x) => (float[1,3] y) { m = MatMul(x, w)  h = Mul(m, half)  y = Add(h, b) }",
        w=weight(4, 3) * 2,
        b=bias(1, 2, 3),
        half=bias(0.5),
    )
    assert prove_by_names(model, halved, {"x": np.zeros((1, 4), np.float32)}).complete


def dead_relu() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        """(float[1,3,16,16] x) => (float[1,2,16,16] y) {
            h = Conv(x, w, b)  r = Relu(h)  g = Conv(r, v)  s = Conv(x, u)  y = Add(g, s)
        }""",
        w=weight(4, 3, 1, 1), b=bias(0, -1000, 0, 0), v=weight(2, 4, 1, 1), u=weight(2, 3, 1, 1, seed=1),
    )  # fmt: skip
    return model, with_constant(model, "v", weight(2, 4, 1, 1, columns=(1,)))


def threshold() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        """(float[1,3,16,16] x) => (float[1,2,16,16] y) {
            m = ReduceMean<keepdims=1>(x)  c = Greater(m, t)  a = Conv(x, u)  b = Conv(x, v)  y = Where(c, a, b)
        }""",
        t=bias(0.5), u=weight(2, 3, 1, 1), v=weight(2, 3, 1, 1, seed=1),
    )  # fmt: skip
    return model, with_constant(model, "u", np.zeros((2, 3, 1, 1), np.float32))


def embedding() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    table = weight(1000, 4)
    model = parse(
        "(int64[1,12] ids) => (float[1,12,3] y) { h = Gather(e, ids)  y = MatMul(h, w) }", e=table, w=weight(4, 3)
    )
    return model, with_constant(model, "e", np.where(np.arange(1000)[:, None] < 256, table, 0))


def small_beside_large() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        """(float[1,3,16,16] x) => (float[1,6,16,16] y) {
            boxes = Conv(x, w)  logits = Conv(x, v)  scores = Sigmoid(logits)  y = Concat<axis=1>(boxes, scores)
        }""",
        w=weight(4, 3, 1, 1) * np.float32(1e4), v=weight(2, 3, 1, 1),
    )  # fmt: skip
    return model, with_constant(model, "v", weight(2, 3, 1, 1) * np.float32(1.001))


def all_nan() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        "(float[1,3,16,16] x) => (float[1,2,16,16] y) { m = ReduceMin(x)  s = Sqrt(m)  a = Conv(x, w)  y = Div(a, s) }",
        w=weight(2, 3, 1, 1),
    )
    return model, with_constant(model, "w", weight(2, 3, 1, 1, rows=(1,)))


def bytes_above_127() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        """(uint8[1,3,16,16] x) => (float[1,2,16,16] y) {
            f = Cast<to=1>(x)  d = Sub(f, k)  r = Relu(d)  h = Conv(r, w)  s = Conv(f, v)  y = Add(h, s)
        }""",
        k=bias(127), w=weight(2, 3, 1, 1), v=weight(2, 3, 1, 1, seed=1),
    )  # fmt: skip
    return model, with_constant(model, "w", np.zeros((2, 3, 1, 1), np.float32))


def clip_never_reached() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    model = parse(
        "(float[1,3,16,16] x) => (float[1,2,16,16] y) { h = Conv(x, w)  r = Clip(h, lo, hi)  y = Conv(r, v) }",
        w=weight(4, 3, 1, 1), lo=np.asarray(-100, np.float32), hi=np.asarray(100, np.float32), v=weight(2, 4, 1, 1),
    )  # fmt: skip
    return model, with_constant(model, "hi", np.asarray(1000, np.float32))


BLIND: list[Any] = [
    dead_relu, threshold, embedding, small_beside_large, all_nan, bytes_above_127, clip_never_reached,
]  # fmt: skip


@pytest.mark.parametrize("pair", BLIND, ids=lambda pair: pair.__name__)
def test_what_sleeps_on_inputs_of_the_whole_model_is_seen(pair: Any) -> None:
    first, second = pair()
    feed = {"ids": np.zeros((1, 12), np.int64), "x": np.zeros((1, 3, 16, 16), np.float32)}
    if pair is bytes_above_127:
        feed["x"] = np.zeros((1, 3, 16, 16), np.uint8)
    feed = {value.name: feed[value.name] for value in first.graph.input}
    assert prove_by_names(first, first, feed).complete
    assert not prove_by_names(first, second, feed).complete


def test_dead_channels_are_followed_through_a_channel_shuffle() -> None:
    model = parse(
        """(float[1,3,8,8] x) => (float[1,4,8,8] y) {
            a = Conv(x, wa)  b = Conv(x, wb)  c = Concat<axis=1>(a, b)
            grid = Reshape(c, apart)  turned = Transpose<perm=[0,2,1,3,4]>(grid)  d = Reshape(turned, together)
            y = Conv(d, v)
        }""",
        wa=weight(4, 3, 1, 1), wb=weight(4, 3, 1, 1, seed=1), v=weight(4, 8, 1, 1, columns=(2, 5)),
        apart=indices(1, 2, 4, 8, 8), together=indices(1, 8, 8, 8),
    )  # fmt: skip
    other = weight(4, 3, 1, 1)
    other[1] = 9  # channel 2 behind the shuffle, which nobody reads
    feed = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    proof = prove_by_names(model, with_constant(model, "wa", other), feed)
    assert proof.complete
    assert proof.regions == 7
    other[0] = 9
    assert not prove_by_names(model, with_constant(model, "wa", other), feed).complete


def test_channels_of_one_entry_each_are_told_apart() -> None:
    """Squeeze and excitation: means of single numbers, with some channels gone."""
    noise = np.random.default_rng(0)

    def read(count: int) -> Array:
        return np.where(np.arange(200) // 30 == 1, 0, noise.normal(size=(count, 200)))[..., None, None].astype(
            np.float32
        )

    model = parse(
        """(float[1,3,16,16] x) => (float[1,4,16,16] y) {
            a = Conv(x, w)  m = GlobalAveragePool(a)  s = Conv(m, u)  g = Sigmoid(s)  z = Mul(a, g)  y = Conv(z, v)
        }""",
        w=noise.normal(size=(200, 3, 1, 1)).astype(np.float32),
        u=read(200),
        v=read(4),
    )
    made = exported("upscale", model).model
    assert len(numpy_helper.to_array(made.graph.initializer[0])) < 200
    proof = prove_by_names(model, made, IMAGE)
    assert proof.complete
    assert proof.regions == 6


def test_a_guess_that_fails_is_given_up() -> None:
    """Channels that are exchanged under one name, and back by who reads them, are proven over the guess."""
    first, second = weight(6, 3, 1, 1), weight(2, 6, 1, 1)
    model = parse(
        "(float[1,3,16,16] x) => (float[1,2,16,16] y) { a = Conv(x, w)  r = Relu(a)  y = Conv(r, v) }",
        w=first,
        v=second,
    )
    scaled, back = first.copy(), second.copy()
    scaled[1] *= 2
    back[:, 1] /= 2
    other = with_constant(with_constant(model, "w", scaled), "v", back)
    assert prove_by_names(model, other, IMAGE).complete
    assert not prove_by_names(model, with_constant(model, "w", scaled), IMAGE).complete
