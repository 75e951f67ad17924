"""How the signal divides over layers of small graphs."""

from __future__ import annotations

import onnx
import pytest

from tests.graphs import parse, weight
from tests.masks.aware.test_network import residual
from upscale_onnx.export.planned import prepared_analysis
from upscale_onnx.masks.aware.signal import signal_shares
from upscale_onnx.model import infer_shapes


def shares(model: onnx.ModelProto) -> dict[str, float]:
    analysis = prepared_analysis(model, infer_shapes(model))
    return {step.outputs[0]: share for step, share in zip(analysis.steps, signal_shares(analysis), strict=True)}


def test_a_branch_carries_half_and_what_surrounds_it_all() -> None:
    found = shares(residual())
    assert {name: found[name] for name in "abcdefgy"} == pytest.approx(
        {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.5, "e": 0.5, "f": 1.0, "g": 1.0, "y": 1.0}
    )


def test_parts_of_a_concat_carry_by_their_channels_and_pass_on_what_they_read() -> None:
    model = parse(
        """(float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y) {
            a = Conv(x, stem)
            b = Relu(a)
            c = Conv(b, grow)
            d = Concat<axis=1>(b, c)
            y = Conv(d, last)
        }""",
        stem=weight(12, 4, 1, 1),
        grow=weight(4, 12, 1, 1),
        last=weight(4, 16, 1, 1),
    )
    assert shares(model) == pytest.approx({"a": 1.0, "b": 1.0, "c": 0.25, "d": 1.0, "y": 1.0})


def test_outputs_have_equal_parts() -> None:
    model = parse(
        """(float[1, 4, 8, 8] x) => (float[1, 4, 8, 8] y, float[1, 8, 8, 8] z) {
            a = Conv(x, stem)
            y = Conv(a, one)
            b = Conv(a, other)
            z = Add(b, shift)
        }""",
        stem=weight(6, 4, 1, 1),
        one=weight(4, 6, 1, 1),
        other=weight(8, 6, 1, 1),
        shift=weight(1, 8, 1, 1),
    )
    assert shares(model) == pytest.approx({"a": 1.0, "y": 0.5, "b": 0.5, "z": 0.5})
