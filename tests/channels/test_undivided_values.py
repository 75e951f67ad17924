"""Values whose channels nothing tells apart, where a body carries or returns channels that are: a Gather cuts them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tests.channels.test_bodies import IF, LOOP, NO, ROUNDS, SCAN, YES, check, elements, masked, network
from upscale_onnx.model.protos import inner_graphs
from upscale_onnx.types import Array


def rows(rng: np.random.Generator, width: int, gone: list[int]) -> Array:
    """A weight `(8, width)` that reads none of the channels `gone`."""
    return np.ascontiguousarray(masked(rng, (width, 8), gone).T)


@pytest.mark.parametrize("gone", [[0, 4, 5], [0, 1, 2, 3, 4, 5, 6]])
@pytest.mark.parametrize("start", ["x", "filled"])
@pytest.mark.parametrize(("text", "body"), [(LOOP, "round"), (SCAN, "step")], ids=["loop", "scan"])
def test_a_state_that_starts_undivided_loses_channels(text: str, body: str, start: str, gone: list[int]) -> None:
    """It starts with an input of the model, or with ones that are made at run time."""
    rng = np.random.default_rng(1)
    made = "sizes = Shape(x) filled = ConstantOfShape <value = float[1] {1}> (sizes)"
    text = text.replace("(x, wa)", f"(x, wa) {made}").replace("[2,", "[n,").replace(",2,", ",n,")
    text = text.replace("START", start).replace("Scan (h,", f"Scan ({start},").replace("AXIS", "1")
    weights = {name: rows(rng, width, gone) for name, width in ((f"in_{body}_w", 8), ("wy", 4), ("wz", 4))}
    weights |= {name: masked(rng, (8, 8), []) for name in ("wa", "we") if f"{name})" in text}
    model = network(text, rng, weights, dead=0)
    sequence = {"xs": rng.standard_normal((6, 2, 8)).astype(np.float32)}
    small = check(model, rng, *([sequence] if body == "step" else ROUNDS))
    left = 8 - len(gone)  # of what one layer in front makes, the body and two layers behind
    assert elements(small) == 8 * left + left * left + 2 * left * 4


def test_what_a_branch_returns_undivided_is_cut_in_the_branch() -> None:
    rng = np.random.default_rng(0)
    text = IF.replace("q = MatMul(h, in_no_w)", "").replace("Tanh(q)", "Identity(x)")
    weights = {"wa": (8, 8), "in_yes_w": (8, 8), "wy": rows(rng, 4, [1, 2])}
    small = check(network(text, rng, weights, dead=0), rng, {"c": YES}, {"c": NO})
    assert elements(small) == 8 * 8 + 8 * 6 + 6 * 4
    kinds = [Counter(node.op_type for node in body.node) for body in inner_graphs(small.graph)]
    assert [kind["Gather"] + kind["Slice"] for kind in kinds] == [0, 1]
