"""Goldens of AbsorbPads."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

import upscale_onnx
from tests.passes.apply import applied
from tests.traps.net import ints, net, vector, weight
from upscale_onnx.passes.absorb_pads import AbsorbPads


def padded(pad: str, conv: str = "Conv(p, w)", opset: int = 21, pads: tuple[int, ...] = ()) -> onnx.ModelProto:
    amounts = {"amounts": ints(*pads)} if pads else {}
    return net(
        "(float[N,3,6,6] x) => (float y)",
        f"p = {pad}\n        y = {conv}",
        opset=opset,
        w=weight(4, 3, 3, 3),
        **amounts,
    )


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    ("conv", "expected"),
    [("Conv(p, w)", [1, 2, 3, 4]), ("Conv<pads=[1,0,0,1]>(p, w)", [2, 2, 3, 5]),
     ('Conv<auto_pad="VALID", strides=[2,2]>(p, w)', [1, 2, 3, 4])],
)  # fmt: skip
def test_amounts_add_up(conv: str, expected: list[int]) -> None:
    model = applied(padded("Pad(x, amounts)", conv, pads=(0, 0, 1, 2, 0, 0, 3, 4)), AbsorbPads())
    assert operators(model) == ["Conv"]
    (pads,) = [helper.get_attribute_value(a) for a in model.graph.node[0].attribute if a.name == "pads"]
    assert list(pads) == expected


def test_amounts_may_be_an_attribute() -> None:
    assert operators(applied(padded("Pad<pads=[0,0,1,1,0,0,1,1]>(x)", opset=10), AbsorbPads())) == ["Conv"]


@pytest.mark.parametrize(
    ("pad", "pads"),
    [('Pad<mode="edge">(x, amounts)', (0, 0, 1, 1, 0, 0, 1, 1)), ("Pad(x, amounts, one)", (0, 0, 1, 1, 0, 0, 1, 1)),
     ("Pad(x, amounts)", (0, 0, -1, 1, 0, 0, 1, 1)), ("Pad(x, amounts)", (1, 0, 1, 1, 0, 0, 1, 1))],
)  # fmt: skip
def test_other_pads_stay(pad: str, pads: tuple[int, ...]) -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y)", f"p = {pad}\n        y = Conv(p, w)", w=weight(4, 3, 3, 3),
        amounts=ints(*pads), one=vector(1)[0],
    )  # fmt: skip
    assert operators(applied(model, AbsorbPads())) == ["Pad", "Conv"]


def test_a_pad_stays_for_its_other_readers() -> None:
    model = net(
        "(float[N,3,6,6] x) => (float y, float z)",
        "p = Pad(x, amounts)\n        y = Conv(p, w)\n        z = Relu(p)",
        w=weight(4, 3, 3, 3), amounts=ints(0, 0, 1, 1, 0, 0, 1, 1),
    )  # fmt: skip
    assert sorted(operators(applied(model, AbsorbPads()))) == ["Conv", "Pad", "Relu"]


def test_constants_around_which_zeros_are_padded_become_one() -> None:
    """Of the channels 1, 4 and 6, which are 2, 2 and 1 everywhere, one is left."""
    model = net(
        "(float[N,3,6,6] x) => (float y)", "h = Conv(x, w1, b1)\n        p = Pad(h, amounts)\n        y = Conv(p, w2)",
        w1=weight(8, 3, 1, 1, silent=(1, 4, 6)), b1=vector(8), w2=weight(4, 8, 3, 3),
        amounts=ints(0, 0, 1, 1, 0, 0, 1, 1),
    )  # fmt: skip
    result = upscale_onnx.compile(model, export="gather", align=1, race=False)
    assert {tuple(tensor.dims) for tensor in result.model.graph.initializer} == {(6, 3, 1, 1), (6,), (4, 6, 3, 3)}
