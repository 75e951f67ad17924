"""Channels that are merged with an image of any size: a GroupNorm as exporters write it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from tests.graphs import indices, parse, weight
from upscale_onnx.types import Array

CHANNELS = 8
# Reshapes to groups, whose rest is left open or computed, and back to the sizes of the image.
_BACK = "s = Shape(a) g = Reshape(a, groups)"
FORMS = {
    "left open": f"{_BACK} i = InstanceNormalization(g, ones, zeros) n = Reshape(i, s)",
    "computed": (
        "s = Shape(a) h = Slice(s, two, three) w = Slice(s, three, four) hw = Mul(h, w) rest = Mul(hw, two) "
        "b = Slice(s, zero, one) to = Concat<axis=0>(b, four, rest) g = Reshape(a, to) "
        "i = InstanceNormalization(g, ones, zeros) n = Reshape(i, s)"
    ),
    "behind an activation": f"{_BACK} r = Relu(g) i = InstanceNormalization(r, ones, zeros) n = Reshape(i, s)",
}


def model_of(form: str, first: Array, second: Array) -> str:
    text = f"(float[N,3,H,W] x) => (float[N,4,H,W] y) {{ a = Conv(x, first) {FORMS[form]} m = Mul(n, scale) "
    text += "y = Conv(m, second) }"
    constants = {"first": first, "second": second, "scale": weight(CHANNELS, 1, 1), "groups": indices(0, 4, -1)}
    constants |= {"ones": np.ones(4, np.float32), "zeros": np.zeros(4, np.float32), "zero": indices(0)}
    constants |= {"one": indices(1), "two": indices(2), "three": indices(3), "four": indices(4)}
    used = {name.strip("(),") for name in text.replace("(", " ").split()}
    return parse(text, **{name: value for name, value in constants.items() if name in used})


def assert_same(form: str, first: Array, second: Array) -> dict[str, int]:
    model = model_of(form, first, second)
    result = compiled(model)
    rng = np.random.default_rng(0)
    for shape in ((1, 3, 2, 5), (2, 3, 4, 3)):
        x = rng.normal(size=shape).astype(np.float32)
        expected, actual = (Engine(each).run({"x": x})[0] for each in (model, result.model))
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)
    return result.weight_sizes()


@pytest.mark.parametrize("form", FORMS)
def test_a_group_leaves(form: str) -> None:
    sizes = assert_same(form, weight(CHANNELS, 3, 1, 1), weight(4, CHANNELS, 1, 1, columns=(2, 3)))
    left = sorted(size for name, size in sizes.items() if name.startswith(("first", "second")))
    assert left == [6 * 3, 4 * 6]
    assert next(size for name, size in sizes.items() if name.startswith("ones")) == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_part_of_a_group_stays(form: str) -> None:
    sizes = assert_same(form, weight(CHANNELS, 3, 1, 1), weight(4, CHANNELS, 1, 1, columns=(2, 5, 6)))
    assert next(size for name, size in sizes.items() if name.startswith("first")) == CHANNELS * 3
