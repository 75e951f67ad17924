"""A small lead must be won twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx
import pytest

from tests.graphs import parse, weight
from upscale_onnx import compile as compile_model
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.export import Exported
from upscale_onnx.options import Options
from upscale_onnx.racing.contest import INPUT, Outcome, confirmed
from upscale_onnx.results import Race, Timing
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target

OPTIONS = Options.of(provider="cpu")


def network(width: int) -> onnx.ModelProto:
    """A convolution whose time grows with `width`."""
    text = f"(float[1,16,32,32] x) => (float[1,{width},32,32] y) {{ y = Conv<pads=[1,1,1,1]>(x, w) }}"
    return parse(text, w=weight(width, 16, 3, 3))


def won(model: onnx.ModelProto, ratio: float) -> Outcome:
    """A race that said so of "keep"."""
    timings = (Timing(INPUT, 1.0, 1.0, 1.0, 1.0), Timing("keep", ratio, ratio, ratio, ratio))
    return Outcome("keep", Exported(model, {}, None), Race(timings, "keep", "cpu", 1, 7))


@pytest.mark.usefixtures("short_races")
def test_a_race_is_at_the_batch_that_is_asked_for() -> None:
    text = "(float[N,16,32,32] x) => (float[N,64,32,32] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    w = weight(64, 16, 3, 3)
    w[:, 8:] = 0  # or there would be nothing to race for
    model = parse(text, w=w)
    outcomes = [compile_model(model, OPTIONS, batch=batch) for batch in (1, 16)]
    one, many = (outcome.report.race for outcome in outcomes)
    assert one is not None
    assert many is not None
    assert (one.batch, many.batch) == (1, 16)
    assert many.timings[0].median_ms > 4 * one.timings[0].median_ms
    assert outcomes[1].model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_models_that_fix_another_batch_are_refused() -> None:
    with pytest.raises(ArgumentError, match="takes batches of 1 only"):
        compile_model(network(16), OPTIONS, batch=2)


def test_costs_are_those_of_the_batch() -> None:
    target = chosen_target(OPTIONS.target)
    assert chosen_costs(target, replace(OPTIONS.target, race=False, batch=4)) == target.costs(4)
    assert target.costs(4).batch == 4


def test_a_clear_lead_stands() -> None:
    before = won(network(256), 0.5)
    assert confirmed(before, network(16), OPTIONS.target) is before


@pytest.mark.usefixtures("short_races")
@pytest.mark.parametrize(("width", "winner"), [(16, "keep"), (256, INPUT)])
def test_a_small_lead_is_raced_again(width: int, winner: str) -> None:
    other = network(64)
    outcome = confirmed(won(network(width), 0.99), other, OPTIONS.target)
    assert outcome.name == winner
    if winner == INPUT:
        assert outcome.model is other
        assert outcome.race is not None
        assert outcome.race.winner == INPUT


@pytest.mark.parametrize(
    ("reader", "made", "masked", "restored"),
    [
        ("s = Softmax<axis=1>(h) y = Conv(s, v)", "float[1,8,4,4] y", True, True),
        # No channel leaves here unless those of zeros are put back.
        ("y = ArgMax<axis=1>(h)", "int64[1,1,4,4] y", False, True),
        ("s = Add(h, k) y = Conv(s, v)", "float[1,8,4,4] y", False, True),
        # By the planner, an operand of a sum is narrowed where that saves time.
        ("s = Add(h, k) y = Conv(s, v)", "float[1,8,4,4] y", True, False),
    ],
)
def test_channels_are_restored_in_races_where_they_are_read_as_a_whole(
    reader: str, made: str, masked: bool, restored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Started(Exception):
        pass

    def race(models: Mapping[str, onnx.ModelProto], **kwargs: object) -> None:
        raise Started(*models)

    monkeypatch.setattr("upscale_onnx.runtime.bench.race", race)
    first, last = weight(8, 32, 3, 3, rows=range(4)), weight(8, 8, 1, 1, columns=range(4) if masked else ())
    text = f"(float[1,32,6,6] x, float[1,8,4,4] k) => ({made}) {{ h = Conv(x, w) {reader} }}"
    with pytest.raises(Started) as started:
        compile_model(parse(text, opset=21, w=first, v=last), OPTIONS, verify=False)
    assert ("restore" in started.value.args) == restored
