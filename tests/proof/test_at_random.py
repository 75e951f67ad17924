"""Models that draw random numbers: what is drawn cannot be compared, and everything around it can."""

from __future__ import annotations

import onnx
import pytest

import upscale_onnx
from tests.graphs import parse, weight
from upscale_onnx.proof.equivalence import compare_models

# A network that adds noise to what it encodes, as an autoencoder does. Half of its channels are dead.
GRAPH = """(float[n,3,8,8] x) => (float[n,4,8,8] y) {{
    {first}
    c = Conv(x, w)
    r = Relu(c)
    code = Conv(r, v)
    noise = {draw}
    noisy = Add(code, noise)
    y = Conv(noisy, u)
}}"""
NORMAL = "RandomNormalLike<scale=1000.0>(code)"


def network(draw: str = NORMAL, first: str = "", factor: float = 1.0) -> onnx.ModelProto:
    """The network. What onnxruntime draws depends on the place of a node, so a node in `first` makes it draw others."""
    return parse(
        GRAPH.format(draw=draw, first=first),
        w=weight(8, 3, 1, 1, rows=(0, 2, 3, 7)),
        v=weight(4, 8, 1, 1),
        u=factor * weight(4, 4, 1, 1),
    )


MOVED = "unread = Neg(x)"


def test_a_network_that_draws_random_numbers_is_compiled_and_shown_equal_around_them() -> None:
    result = upscale_onnx.compile(network(first=MOVED), race=False, align=1)
    found = result.report.verification
    assert found is not None
    assert found.equal
    assert found.detail == (
        "shown by the local proof alone: output 'y' cannot be compared: 'noise' is drawn at random in each run"
    )
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert (shapes["w"], shapes["v"]) == ((4, 3, 1, 1), (4, 4, 1, 1))


@pytest.mark.parametrize(
    "other",
    [
        network("RandomNormalLike<scale=900.0>(code)", MOVED),
        network("RandomUniformLike<low=-1000.0,high=1000.0>(code)", MOVED),
        network(NORMAL, MOVED, factor=1.01),
    ],
    ids=["of another scale", "of another distribution", "behind another weight"],
)
def test_another_network_is_not_taken_for_equal(other: onnx.ModelProto) -> None:
    assert compare_models(network(), network(first=MOVED)).equal
    assert not compare_models(network(), other).equal


def test_numbers_drawn_for_another_shape_are_not_equal() -> None:
    def of(shape: str, first: str = "") -> onnx.ModelProto:
        return network(f"RandomNormal<scale=1000.0,shape={shape}>()", first)

    assert compare_models(of("[1,4,8,8]"), of("[1,4,8,8]", MOVED)).equal
    assert not compare_models(of("[1,4,8,8]"), of("[1,4,8,1]", MOVED)).equal


def test_a_global_check_alone_says_that_numbers_are_drawn() -> None:
    found = compare_models(network(), network(first=MOVED), proofs=("global",))
    assert found.undecided
    assert found.detail == "output 'y' cannot be compared: 'noise' is drawn at random in each run"
