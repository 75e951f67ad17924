"""The planned export through the front door."""

from __future__ import annotations

import onnx
import pytest

import upscale_onnx
from tests.plan.models import Net, assert_same, operators, weight_shapes
from upscale_onnx.options import Options


def network(size: int = 12) -> onnx.ModelProto:
    """Residual blocks whose branches had different channels pruned, with a head."""
    net = Net()
    width = 64
    value = net.conv("x", "stem", net.matrix(width, 3, 1, 1, zero=range(32)))
    for block in range(2):
        inner = net.matrix(32, width, 1, 1, reads=range(8 * block, 40 + 8 * block))
        value = net.op("Sign", value, f"sign{block}")
        branch = net.conv(net.op("Relu", net.conv(value, f"in{block}", inner), f"relu{block}"), f"out{block}",
                          net.matrix(width, 32, 1, 1, zero=range(16, 56)))  # fmt: skip
        value = net.op("Add", [value, branch], f"sum{block}")
    value = net.op("Sign", value, "last")
    return net.model([net.conv(value, "y", net.matrix(4, width, 1, 1))], x=(1, 3, size, size))


def compiled(model: onnx.ModelProto, **options: object) -> upscale_onnx.Result:
    return upscale_onnx.compile(model, Options.of(export="planned", provider="cpu", **options))  # type: ignore[arg-type]


def test_a_planned_compile_is_verified() -> None:
    model = network()
    result = compiled(model)
    assert result.report.export == "planned"
    assert result.report.race is None
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert result.report.after.macs < result.report.before.macs
    assert_same(model, result.model)


@pytest.mark.parametrize("align", [None, 1, 4, 16])
def test_without_a_race_the_same_bytes_come_out(align: int | None) -> None:
    model = network()
    before = model.SerializeToString(deterministic=True)
    first, second = (compiled(model, race=False, align=align) for _ in range(2))
    assert first.model.SerializeToString(deterministic=True) == second.model.SerializeToString(deterministic=True)
    assert model.SerializeToString(deterministic=True) == before
    assert_same(model, first.model)


def test_large_values_are_narrowed_by_the_preset() -> None:
    # At this size the rows of zeros of the wide branch cost more than a copy of what it computes.
    net = Net()
    a = net.conv("x", "a", net.matrix(256, 256, 3, 3, zero=range(224)), pads=[1, 1, 1, 1])
    b = net.conv("x", "b", net.matrix(256, 256, 1, 1))
    total = net.op("Sign", net.op("Add", [a, b], "sum"), "sign")
    model = net.model([net.conv(total, "y", net.matrix(4, 256, 1, 1))], x=(1, 256, 14, 14))
    result = compiled(model, race=False, align=16, target="cpu-avx512")
    assert weight_shapes(result.model)["node_a"][0] == 48
    assert weight_shapes(result.model)["node_b"][0] == 256
    assert operators(result.model).count("Gather") == 1
    assert_same(model, result.model)


@pytest.mark.usefixtures("short_races")
def test_the_planned_export_takes_part_in_the_race() -> None:
    model = network(24)
    result = upscale_onnx.compile(model, provider="cpu", tune=0.5)
    assert result.report.race is not None
    names = {timing.name for timing in result.report.race.timings}
    assert names == {"input", "planned", "keep", "upscale", "gather"}
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert_same(model, result.model)


def test_pruned_and_planned() -> None:
    model = network()
    result = compiled(model, amount=0.3, race=False)
    assert result.report.masked_channels > 0
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert result.report.after.parameters < result.report.before.parameters
