"""Channels that are the same for all inputs, but not at all places: what a layer that mixes tokens adds to zeros."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import ints, net, vector, weight
from tests.traps.targets import Target, check, sizes
from tests.traps.test_residual_streams import FORMS

WIDTH, TOKENS, DEAD = 16, 5, (0, 1, 4, 6, 7, 9, 11, 14, 15)  # seven are left: one more fills a block of eight
ROUNDING = 1e-5
MIXERS = {
    "one layer": "a = MatMul(t, mix)\nb = Add(a, first)",
    "one layer of zeros and a layer": "z = Add(t, first)\na = MatMul(z, mix)\nb = Relu(a)",
    "neurons": "h = MatMul(t, up)\ni = Add(h, hidden)\nj = Relu(i)\na = MatMul(j, down)\nb = Add(a, first)",
}
NORMS = [name for name in FORMS if "LayerNormalization" in name and "without" not in name]


def mixed(mixer: str, norm: str, more: str = "r = Add(s, u)", **other: np.ndarray) -> onnx.ModelProto:
    """A stream of tokens of which channels `DEAD` are zero, until a layer mixes the tokens of each channel."""
    opset, form = FORMS[norm]
    return net(
        f"(float[N,{TOKENS},6] x) => (float[N,{TOKENS},4] y)",
        f"""s = MatMul(x, ws)
        t = Transpose<perm=[0,2,1]>(s)
        {MIXERS[mixer]}
        u = Transpose<perm=[0,2,1]>(b)
        {more}
        {form.format(x="r", y="n")}
        y = MatMul(n, wy)""",
        opset=opset, ws=weight(6, WIDTH, dead=DEAD), mix=weight(TOKENS, TOKENS, seed=1), first=vector(TOKENS),
        up=weight(TOKENS, 3), hidden=np.float32([-1, 2, 3]), down=weight(3, TOKENS), wy=weight(WIDTH, 4, seed=2),
        scale=np.where(np.isin(np.arange(WIDTH), DEAD), 0, vector(WIDTH)),
        shift=np.where(np.isin(np.arange(WIDTH), DEAD), 0, vector(WIDTH)),
        two=np.float32(2), epsilon=np.float32(1e-3), last=ints(-1), **other,
    )  # fmt: skip


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("mixer", MIXERS)
def test_a_normalization_makes_up_for_them(mixer: str, norm: str, target: Target) -> None:
    small = sizes(check(mixed(mixer, norm), target, tolerance=ROUNDING))
    assert small["s"] == (6, 7 if target.tight else 8)


def test_each_may_hold_its_own(target: Target) -> None:
    """An embedding of places adds other numbers to each channel."""
    own = np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    model = mixed("one layer", "LayerNormalization", "q = Add(s, u)\nr = Add(q, own)", own=own)
    assert sizes(check(model, target, tolerance=ROUNDING))["s"] == (6, 7 if target.tight else 8)


@pytest.mark.parametrize("repeat", ["p = Tile(own, k)", "p = Expand(own, k)"])
def test_a_constant_may_be_repeated_for_each_input(repeat: str, target: Target) -> None:
    more = f"h = Shape<start=0,end=1>(x)\nk = Concat<axis=0>(h, ones)\n{repeat}\nr = Add(s, p)"
    own = np.random.default_rng(0).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)
    model = mixed("one layer", "LayerNormalization", more, own=own, ones=ints(1, 1))
    assert sizes(check(model, target, tolerance=ROUNDING))["s"] == (6, 7 if target.tight else 8)


def test_a_normalization_of_constants_is_one(target: Target) -> None:
    """Nothing is left of the layers in front: what they make moves into the sum behind."""
    model = net(
        "(float[N,5,6] x) => (float[N,5,4] y)",
        """z = MatMul(x, none)
        c = Add(z, first)
        n = LayerNormalization(c, scale, shift)
        s = MatMul(x, ws)
        r = Add(n, s)
        y = MatMul(r, wy)""",
        none=np.zeros((6, 8), np.float32), first=vector(8), scale=vector(8), shift=vector(8), ws=weight(6, 8),
        wy=weight(8, 4),
    )  # fmt: skip
    small = check(model, target, tolerance=ROUNDING)
    assert [node.op_type for node in small.graph.node] == ["MatMul", "Add", "MatMul"]


def test_a_normalization_over_tokens_and_channels(target: Target) -> None:
    model = mixed("one layer", "LayerNormalization")
    node = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    node.attribute.append(onnx.helper.make_attribute("axis", 1))
    for tensor in model.graph.initializer:
        if tensor.name in ("scale", "shift"):
            wide = np.tile(onnx.numpy_helper.to_array(tensor), (TOKENS, 1))
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    assert sizes(check(model, target, tolerance=ROUNDING))["s"] == (6, 7 if target.tight else 8)


def test_what_a_layer_reads_of_them_stays(target: Target) -> None:
    model = mixed("one layer", "LayerNormalization")
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "scale")
    scale.CopyFrom(onnx.numpy_helper.from_array(vector(WIDTH), "scale"))
    assert sizes(check(model, target, tolerance=ROUNDING))["s"] == (6, WIDTH)


@pytest.mark.parametrize("norm", NORMS)
def test_they_are_claimed_and_proven(norm: str) -> None:
    result = upscale_onnx.compile(mixed("neurons", norm), export="keep", align=1, race=False)
    assert result.report.refusals == ()
    assert result.report.verification is not None
    assert result.report.verification.equal
    told = result.claims["r"].constants
    assert told is not None
    assert told.shape == (1, TOKENS, WIDTH)
    assert np.isfinite(told).all(1).nonzero()[1].tolist() == list(DEAD)
