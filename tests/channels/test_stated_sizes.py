"""Sizes of channel axes that are read at run time: a Shape node states them as they were."""

from __future__ import annotations

import numpy as np
import pytest

from tests.channels.compiled import compiled
from tests.channels.engine import Engine
from tests.graphs import indices, parse, weight

# What is made of the sizes of `h`, whose channels leave; all have more than one entry, of which some are not known.
FORMS = {
    "a result": "s = Shape(h)",
    "a part of them": "all = Shape(h) s = Slice(all, zero, two)",
    "from an axis on": "s = Shape<start=1>(h)",
    "up to the last": "s = Shape<end=-1>(h)",
    "only channels": "s = Shape<start=-3, end=2>(h)",
    "their product": "all = Shape(h) s = ReduceProd<keepdims=1>(all)",
}


@pytest.mark.parametrize("form", FORMS)
def test_sizes_stay_where_channels_leave(form: str) -> None:
    nodes = f"h = Conv(x, first) {FORMS[form]} y = Conv(h, second)"
    text = f"(float[N,3,H,W] x) => (float[N,2,H,W] y, int64[k] s) {{ {nodes} }}"
    constants = {"first": weight(6, 3, 1, 1), "second": weight(2, 6, 1, 1, columns=(1, 4))}
    if "Slice" in text:
        constants |= {"zero": indices(0), "two": indices(2)}
    model = parse(text, **constants)
    result = compiled(model)
    x = np.random.default_rng(0).integers(-3, 4, (2, 3, 4, 5)).astype(np.float32)
    for expected, actual in zip(Engine(model).run({"x": x}), Engine(result.model).run({"x": x}), strict=True):
        np.testing.assert_array_equal(actual, expected)
    sizes = result.weight_sizes()
    assert [size for name, size in sizes.items() if name.startswith(("first", "second"))] == [4 * 3, 2 * 4]


def test_sizes_of_channels_that_are_not_known_keep_them() -> None:
    text = """(float[N,K] x, float[K,M] w) => (float[N,2] y, int64[2] s) {
        h = MatMul(x, w) s = Shape(h) r = Relu(h) p = MatMul(r, second) y = Identity(p)
    }"""
    model = parse(text, second=weight(6, 2, rows=(1, 4)))
    result = compiled(model)
    rng = np.random.default_rng(0)
    feeds = {name: rng.integers(-3, 4, shape).astype(np.float32) for name, shape in (("x", (3, 5)), ("w", (5, 6)))}
    for expected, actual in zip(Engine(model).run(feeds), Engine(result.model).run(feeds), strict=True):
        np.testing.assert_array_equal(actual, expected)
