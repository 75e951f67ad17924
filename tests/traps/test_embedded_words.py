"""Words, places and segments that onnxruntime embeds and normalises in one node."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import net, vector, weight
from tests.traps.targets import Target, check, operators, sizes

WIDTH, DEAD = 16, (1, 4, 7, 11)
WORDS = np.arange(9, dtype=np.int32).reshape(3, 3)
# Of each form: the opset, the inputs behind the first one, the inputs and results of the node.
FORMS = {
    "segments": (21, ", int32[N,T] i", "x, i, words, places, segments, scale, shift", "n, c"),
    "no segments": (17, "", "x, , words, places, , scale, shift", "n, c"),
    "places": (21, ", int32[N,T] i, int32[1,T] p", "x, i, words, places, segments, scale, shift, , p", "n, c"),
    "mask and sum": (21, ", int32[N,T] i, int32[N,T] m", "x, i, words, places, segments, scale, shift, m", "n, c, s"),
    "older": (11, ", int32[N,T] i, int32[N,T] m", "x, i, words, places, segments, scale, shift, m", "n, c, s"),
}


def embedded(form: str, dead: tuple[int, ...] = DEAD, read: tuple[int, ...] = DEAD) -> onnx.ModelProto:
    """Two layers on what is embedded. Columns `dead` of all tables are zero; channels `read` are not read."""
    opset, more, inputs, results = FORMS[form]
    counted = ", int32[N] c" if "s" in results else ""
    return net(
        f"(int32[N,T] x{more}) => (float[N,T,5] y{counted})",
        f"""{results} = com.microsoft.EmbedLayerNormalization<epsilon=1e-3>({inputs})
        t = {"Add(n, s)" if "s" in results else "Identity(n)"}
        h = MatMul(t, w1)
        r = Relu(h)
        y = MatMul(r, w2)""",
        opset=opset, domains='"com.microsoft" : 1', words=weight(9, WIDTH, dead=dead),
        places=weight(6, WIDTH, dead=dead, seed=1), segments=weight(2, WIDTH, dead=dead, seed=2), scale=vector(WIDTH),
        shift=vector(WIDTH)[::-1], w1=weight(WIDTH, 24, into=0, out=1, dead=read), w2=weight(24, 5, into=0, out=1),
    )  # fmt: skip


def feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Indices within the tables, and a mask that ends early."""
    found = {"x": WORDS, "i": WORDS % 2, "p": np.asarray([[2, 0, 5]], np.int32), "m": (WORDS % 4 < 3).astype(np.int32)}
    return {value.name: found[value.name] for value in model.graph.input if value.name in found}


@pytest.mark.parametrize("form", FORMS)
def test_dead_columns_of_all_tables_leave(form: str, target: Target) -> None:
    model = embedded(form)
    small = check(model, target, tolerance=1e-5, feeds=feeds(model))
    left = 12 if target.tight else WIDTH
    tables = sorted(tuple(tensor.dims) for tensor in small.graph.initializer if tensor.dims[-1:] == [left])
    expected = [(2, left)] * ("segments" in FORMS[form][2]) + [(6, left), (9, left)]
    assert [shape for shape in tables if len(shape) == 2] == expected
    assert sizes(small)["h"][0] == left


@pytest.mark.parametrize(("dead", "read"), [((4,), (4,)), (DEAD, (1, 7, 11)), ((), DEAD)])
def test_columns_that_count_stay(dead: tuple[int, ...], read: tuple[int, ...]) -> None:
    """A single one, one that is read once it is normalised, and those that are zero in no table."""
    result = upscale_onnx.compile(embedded("segments", dead, read), export="keep", align=1, race=False)
    widths = {tensor.dims[1] for tensor in result.model.graph.initializer if tensor.dims[:1] == [9]}
    assert widths == ({13} if dead == DEAD else {WIDTH})
    assert ("EmbedLayerNormalization" in operators(result.model)) == (dead != DEAD)


def test_it_is_shown_equal() -> None:
    report = upscale_onnx.compile(embedded("mask and sum"), export="keep", align=1, race=False).report
    assert report.refusals == ()
    assert report.verification is not None
    assert report.verification.equal
