"""A MaxPool hands a MaxUnpool the places of maxima, counted over all channels."""

from __future__ import annotations

import onnx
import pytest

import upscale_onnx
from tests.traps.net import ints, net, weight
from tests.traps.targets import Target, check, sizes
from upscale_onnx.errors import Reason
from upscale_onnx.pipeline import inspect
from upscale_onnx.types import Array

HALF = "<kernel_shape=[2,2],strides=[2,2]>"
DEAD = (1, 4)


def segmenter(unpool: str = f"u = MaxUnpool{HALF}(r, i)", results: str = "", **more: Array) -> onnx.ModelProto:
    """An encoder and a decoder of eight channels, of which channels 1 and 4 are zero in both."""
    return net(
        f"(float[N,3,8,8] x) => (float[N,4,8,8] y{results})",
        f"""c = Conv<pads=[1,1,1,1]>(x, w1)
        h = Relu(c)
        p, i = MaxPool{HALF}(h)
        d = Conv<pads=[1,1,1,1]>(p, w2)
        r = Relu(d)
        {unpool}
        y = Conv<pads=[1,1,1,1]>(u, w3)""",
        w1=weight(8, 3, 3, 3, silent=DEAD), w2=weight(8, 8, 3, 3, silent=(*DEAD, 6)),
        w3=weight(4, 8, 3, 3, dead=(1, 2, 4)), **more,
    )  # fmt: skip


FORMS = {
    "inferred": segmenter(),
    "stated": segmenter(f"u = MaxUnpool{HALF}(r, i, s)", s=ints(1, 8, 8, 8)),
    "computed": segmenter(f"s = Shape(h)\nu = MaxUnpool{HALF}(r, i, s)"),
    "older": segmenter(f"j = Identity(r)\nu = MaxUnpool{HALF}(j, i)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_dead_channels_leave_on_both_sides(form: str, target: Target) -> None:
    """Channel 6 is zero in the decoder alone: it stays, since the encoder's is read."""
    small = sizes(check(FORMS[form], target, dims=(1,) if form == "stated" else (2, 3)))
    left = 6 if target.tight else 8
    assert (small["c"][0], small["d"][:2]) == (left, (left, left))
    assert small["y"][1] == (4 if target.selects else left)


def test_two_levels_of_an_encoder_lose_their_own_channels(target: Target) -> None:
    model = net(
        "(float[N,3,8,8] x) => (float[N,4,8,8] y)",
        f"""a = Conv<pads=[1,1,1,1]>(x, w1)
        p, i = MaxPool{HALF}(a)
        b = Conv<pads=[1,1,1,1]>(p, w2)
        q, j = MaxPool{HALF}(b)
        c = Conv<pads=[1,1,1,1]>(q, w3)
        u = MaxUnpool{HALF}(c, j)
        d = Conv<pads=[1,1,1,1]>(u, w4)
        v = MaxUnpool{HALF}(d, i)
        y = Conv<pads=[1,1,1,1]>(v, w5)""",
        w1=weight(8, 3, 3, 3, silent=DEAD), w2=weight(6, 8, 3, 3, silent=(0, 3)), w3=weight(6, 6, 3, 3, silent=(0, 3)),
        w4=weight(8, 6, 3, 3, silent=DEAD), w5=weight(4, 8, 3, 3),
    )  # fmt: skip
    small = sizes(check(model, target))
    if target.tight:
        assert [small[name][:2] for name in "abcdy"] == [(6, 3), (4, 6), (4, 4), (6, 4), (4, 6)]


def test_places_that_are_a_result_count_all_channels(target: Target) -> None:
    small = sizes(check(segmenter(results=", int64[N,8,4,4] i"), target))
    assert small["c"][0] == 8


def test_places_that_are_computed_with_count_all_channels(target: Target) -> None:
    model = segmenter(f"k = Abs(i)\nu = MaxUnpool{HALF}(r, k)")
    assert sizes(check(model, target))["c"][0] == 8
    found = {refusal.op_type: refusal.reason for refusal in inspect(model).refusals}
    assert found == {"Abs": Reason.UNSUPPORTED_FORM, "MaxUnpool": Reason.DYNAMIC_PARAMETER}


def test_places_in_an_image_of_another_size_count_all_channels(target: Target) -> None:
    """The result has as many elements as the value that was pooled, but other channels hold them."""
    model = net(
        "(float[1,3,8,8] x) => (float[1,4,16,8] y)",
        f"""c = Conv<pads=[1,1,1,1]>(x, w1)
        p, i = MaxPool{HALF}(c)
        u = MaxUnpool{HALF}(p, i, s)
        y = Conv<pads=[1,1,1,1]>(u, w3)""",
        w1=weight(8, 3, 3, 3, silent=DEAD), w3=weight(4, 8, 3, 3), s=ints(1, 8, 16, 8),
    )  # fmt: skip
    assert sizes(check(model, target))["c"][0] == 8


@pytest.mark.parametrize("form", FORMS)
def test_the_networks_are_shown_equal(form: str) -> None:
    report = upscale_onnx.compile(FORMS[form], export="keep", align=1, race=False).report
    assert report.refusals == ()
    assert report.verification is not None
    assert report.verification.local is not None
    assert report.verification.local.proven == report.verification.local.regions
