"""No channel is pruned for nothing, sizes that are asked for are reached, and what was not done is said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.graphs import parse, weight
from upscale_onnx import Options, UnchangedError
from upscale_onnx import compile as compile_model
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.model.form import has_same_form
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Side
from upscale_onnx.racing.notes import ZERO_BEFORE
from upscale_onnx.results import Race, Timing

QUICK = Options.of(race=False, verify=False, provider="cpu")
# Two layers read one value, which is as wide as a block; the width of what they read inside is free.
FORK = """(float[1,3,8,8] x) => (float[1,16,8,8] b, float[1,16,8,8] c) {
    h = Conv(x, w)
    r = Relu(h)
    b = Conv(r, wb)
    c = Conv(r, wc)
}"""
# The softmax over channels reads them all, in order: nothing in front of it can go.
BLOCKED = """(float[1,3,8,8] x) => (float[1,8,8,8] y) {
    h = Conv(x, w)
    s = Softmax<axis=1>(h)
    y = Conv(s, v)
}"""
CHAIN = """(float[N,8,8,8] x) => (float[N,8,8,8] y) {
    h = Conv(x, first)
    r = Relu(h)
    s = Conv(r, second)
    t = Relu(s)
    y = Conv(t, third)
}"""


def fork(width: int = 64) -> onnx.ModelProto:
    return parse(FORK, w=weight(width, 3, 1, 1), wb=weight(16, width, 1, 1, seed=1), wc=weight(16, width, 1, 1, seed=2))


def blocked() -> onnx.ModelProto:
    return parse(BLOCKED, w=weight(32, 3, 1, 1), v=weight(8, 32, 1, 1, seed=1))


def chain(width: int = 128) -> onnx.ModelProto:
    return parse(
        CHAIN, first=weight(width, 8, 3, 3)[:, :, 1:2, 1:2], second=weight(width, width, 1, 1, seed=1),
        third=weight(8, width, 1, 1, seed=2),
    )  # fmt: skip


def kernels(model: onnx.ModelProto) -> list[np.ndarray]:
    """The weights of convolutions, in node order."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return [arrays[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("export", ["keep", "gather", "upscale"])
@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
def test_no_weight_is_zero_that_is_still_there(export: str, method: str) -> None:
    done = compile_model(fork(), QUICK, amount=0.5, export=export, method=method)  # type: ignore[arg-type]
    assert done.report.masked_channels > 0
    assert all(kernel.any(axis=0).all() for kernel in kernels(done.model))


def test_weights_come_back_at_no_cost() -> None:
    told = compile_model(fork(), QUICK, amount=0.5, export="keep", masks="flat").report
    done = compile_model(fork(), QUICK, amount=0.5, export="keep", masks="filled").report
    assert done.masked_channels < told.masked_channels
    assert (done.after.parameters, done.after.macs) == (told.after.parameters, told.after.macs)
    assert told.after.parameters < told.before.parameters


def test_rows_come_back_too() -> None:
    told = compile_model(fork(), QUICK, amount=0.5, export="keep", masks="flat", side="output")
    done = compile_model(fork(), QUICK, amount=0.5, export="keep", side="output", align=24)
    assert told.report.masked_channels == 32
    assert done.report.masked_channels == 16
    assert all(kernel.any(axis=(1, 2, 3)).all() for kernel in kernels(done.model))


@pytest.mark.parametrize("masks", ["flat", "auto"])
@pytest.mark.parametrize("export", ["auto", "keep"])
def test_where_pruning_wins_nothing_the_original_is_written(masks: str, export: str) -> None:
    model = blocked()
    report = compile_model(model, QUICK, amount=0.5, masks=masks, export=export)  # type: ignore[arg-type]
    for written, given in zip(kernels(report.model), kernels(model), strict=True):
        np.testing.assert_array_equal(written, given)
    assert report.report.masked_channels == 0
    assert report.report.notes[0].startswith("nothing was pruned")


def test_weights_come_back_before_they_are_repaired(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(16, 8, 8, 8)).astype(np.float32))
    for criterion in ("l2", "obs"):
        done = compile_model(
            chain(64), QUICK, amount=0.4, masks="filled", export="keep", align=16, criterion=criterion,
            calibration=str(path), repair="lsq", verify=True,
        )  # fmt: skip
        second = kernels(done.model)[1]
        assert second.shape[:2] == (48, 48)
        assert second.any(axis=0).all()
        assert done.report.verification is not None


def goals(model: onnx.ModelProto, done: onnx.ModelProto, options: Options) -> float:
    from upscale_onnx.export.sizes import size_goal, size_share

    goal = size_goal(options.prune)
    assert goal is not None
    return size_share(done, model, goal) / goal.share


@pytest.mark.usefixtures("short_races")
@pytest.mark.parametrize("race", [False, True])
@pytest.mark.parametrize("goal", [{"params": 0.5}, {"macs": 0.6}, {"compression": 2.0}])
def test_the_input_is_not_the_answer_to_a_size(goal: dict[str, float], race: bool) -> None:
    model = fork(16)  # so small that every selection costs more than it saves
    options = Options.of(race=race, verify=False, provider="cpu", **goal)  # type: ignore[arg-type]
    done = compile_model(model, options)
    assert done.report.export != "input"
    assert goals(model, done.model, options) <= 1.0


@pytest.mark.usefixtures("short_races")
def test_keep_takes_part_where_it_is_small_enough() -> None:
    options = Options.of(params=0.6, method="constrained", verify=False, provider="cpu")
    done = compile_model(fork(), options)
    assert done.report.race is not None
    assert "keep" in {timing.name for timing in done.report.race.timings}
    assert goals(fork(), done.model, options) <= 1.0


@pytest.mark.parametrize("export", ["auto", "keep"])
def test_a_size_out_of_reach_is_an_error_that_says_what_is_in_reach(export: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"params 0\.05 cannot be reached: pruning all that may go leaves [01]\.\d+"
    ):
        compile_model(blocked(), QUICK, params=0.05, export=export)  # type: ignore[arg-type]


def test_a_latency_out_of_reach_is_an_error_where_it_is_predicted_too() -> None:
    with pytest.raises(ArgumentError, match=r"latency 0\.01 cannot be reached: .* predicted to leave 0\.\d+"):
        compile_model(chain(), QUICK, latency=0.01)


def test_a_dense_model_costs_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    def race(*args: object, **kwargs: object) -> None:
        raise AssertionError("nothing is to be timed")

    monkeypatch.setattr("upscale_onnx.runtime.bench.race", race)
    monkeypatch.setattr("upscale_onnx.racing.refinement.profile_operators", race)
    report = compile_model(fork(), provider="cpu").report
    assert (report.export, report.race) == ("input", None)
    assert report.notes == ("nothing is pruned in this model, so nothing can be removed: try --amount 0.3",)


def test_zeros_that_stay_are_counted() -> None:
    """A GroupNormalization takes the mean of all channels of a group. Nothing was removed of this model, but it is no
    model without zeros."""
    model = parse(
        """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
            c = Conv(x, w)  n = GroupNormalization<num_groups=2>(c, scale, shift)  y = Conv(n, v)
        }""",
        opset=21, w=weight(8, 3, 1, 1, rows=(1, 5, 6)), scale=weight(8), shift=weight(8, seed=1),
        v=weight(2, 8, 1, 1),
    )  # fmt: skip
    (note,) = compile_model(model, provider="cpu").report.notes
    assert note.startswith("nothing can be removed: 3 channels hold zeros or other constants, but ")


def test_why_nothing_was_pruned_is_said() -> None:
    small = parse("(float[1,4] x) => (float[1,4] y) { y = MatMul(x, w) }", w=weight(4, 4))
    for model, options, why in (
        (
            small,
            {"amount": 0.5},
            "no Conv, ConvTranspose, Gemm or MatMul has a constant float weight of 8 channels",
        ),
        (fork(), {"amount": 0.01}, "none of the 2 layers that may be pruned loses a channel"),
        (fork(), {"amount": 0.5, "ignore": ("*",)}, "none of the 2 layers that may be pruned loses a channel"),
        (blocked(), {"amount": 0.5}, "the channels to prune are still needed"),
    ):
        (note,) = compile_model(model, QUICK, **options).report.notes  # type: ignore[arg-type]
        assert note.startswith("nothing was pruned")
        assert why in note


@pytest.mark.parametrize("side", ["input", "output"])
def test_channels_that_were_zero_before_are_not_called_needed(side: Side) -> None:
    options = QUICK.replaced(side=side, method="constrained")
    once = compile_model(fork(), options, amount=0.5)
    again = compile_model(once.masked, options, amount=0.5)
    assert again.report.notes == (ZERO_BEFORE,)
    assert (again.report.masked_channels, again.report.effect) == (0, None)
    assert model_stats(again.model) == model_stats(once.model)
    more = compile_model(once.masked, options, amount=0.75).report
    assert more.masked_channels > 0
    assert ZERO_BEFORE not in more.notes


def test_unchanged_is_an_error_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(blocked(), source)
    for options in (["--no-race"], ["--amount", "0.5", "--export", "keep"]):
        code = main([str(source), str(target), "--fail-if-unchanged", "--provider", "cpu", *options])
        assert code == UnchangedError.exit_code == 6
        assert not target.exists()
        assert capsys.readouterr().err.startswith("upscale_onnx: error: the model would stay as it is")
    onnx.save(fork(), source)
    assert main([str(source), str(target), "--amount", "0.5", "--no-race", "--fail-if-unchanged"]) == 0
    assert not has_same_form(onnx.load(source), onnx.load(target))


def test_notes_stand_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "in.onnx"
    onnx.save(fork(), source)
    assert main([str(source), str(tmp_path / "out.onnx"), "--provider", "cpu"]) == 0
    assert "compile.note" in capsys.readouterr().out


def fake_race(monkeypatch: pytest.MonkeyPatch, ratio: float, low: float) -> None:
    """Races in which every export takes so much of the input's time."""

    def race(runners: Mapping[str, object], **settings: object) -> Race:
        timings = [Timing(name, 1.0, 1.0, 1.0, ratio, low, ratio) for name in runners]
        timings[0] = Timing(timings[0].name, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
        return Race(tuple(timings), min(timings, key=lambda timing: timing.ratio).name, "cpu", 1, 7)

    monkeypatch.setattr("upscale_onnx.runtime.bench.race", race)
    monkeypatch.setattr("upscale_onnx.racing.refinement.race", race)


def test_a_pruned_model_that_is_no_faster_gives_way_to_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_race(monkeypatch, 1.2, 1.1)
    model = fork()
    for masks in ("auto", "flat"):
        done = compile_model(model, amount=0.5, masks=masks, provider="cpu", verify=False)  # type: ignore[call-arg]
        assert done.report.export == "input"
        assert done.report.masked_channels == 0
        assert done.report.race is not None
        assert done.report.notes[0].startswith("no export of the pruned model was faster")
        for written, given in zip(kernels(done.model), kernels(model), strict=True):
            np.testing.assert_array_equal(written, given)


@pytest.mark.parametrize(("low", "reached"), [(0.51, True), (0.57, False)])
def test_a_latency_that_races_do_not_confirm(monkeypatch: pytest.MonkeyPatch, low: float, reached: bool) -> None:
    fake_race(monkeypatch, 0.58, low)
    monkeypatch.setattr("upscale_onnx.pruning.aware.measured_share", lambda *given: 0.49)
    options = Options.of(latency=0.5, provider="cpu", verify=False)
    if reached:
        report = compile_model(chain(), options).report
        said = "latency 0.5 may be missed: the race measured 0.580, at best 0.510; ask for a smaller share to be sure"
        assert report.notes[0] == said
        return
    with pytest.raises(ArgumentError, match=r"latency 0\.5 was not reached: .* 0\.58 of the input's"):
        compile_model(chain(), options)


@pytest.mark.usefixtures("short_races")
def test_only_a_target_at_hand_is_raced() -> None:
    zeros = weight(64, 64, 1, 1, seed=1)
    zeros[:, ::2] = 0
    model = parse(CHAIN, first=weight(64, 8, 1, 1), second=zeros, third=weight(8, 64, 1, 1, seed=2))
    for target in ("cuda", "tensorrt"):
        report = compile_model(model, provider="cpu", target=target).report
        assert (report.export, report.race) == ("planned", None)
        assert report.notes == (
            f"target {target} is another device or runtime: nothing was timed, predicted times decided; "
            "compile there to race",
        )
    assert compile_model(model, provider="cpu", target="cpu").report.race is not None
