"""Compiles with a fault planted in one pass: the region is left alone, the rest is compiled, and all of it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from tests.proof.test_by_claims import MODEL
from tests.traps.net import net, vector, weight
from tests.traps.targets import sizes
from upscale_onnx import compile
from upscale_onnx.cli.main import main
from upscale_onnx.errors import NotEquivalentError, Reason
from upscale_onnx.passes import remove_channels, select_channels


def plant(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Let the passes that cut weights lose one of the nodes that make `values`."""
    right = remove_channels.apply_resize

    def wrong(node: Any, resize: Any, names: Any) -> bool:
        changed = right(node, resize, names)
        if node.outputs[0].name in values and 1 in resize.constants:
            node.inputs[1].values[0] = 0
        return changed

    for module in (remove_channels, select_channels):
        monkeypatch.setattr(module, "apply_resize", wrong)


def shape_of(model: onnx.ModelProto, value: str) -> list[int]:
    """The shape of the weight with which `value` is made."""
    node = next(node for node in model.graph.node if value in node.output)
    return next(list(tensor.dims) for tensor in model.graph.initializer if tensor.name == node.input[1])


def test_a_region_that_differs_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plant(monkeypatch, "left")
    result = compile(MODEL, export="gather", race=False, save_reproducer=str(tmp_path))
    report = result.report
    assert report.verification is not None
    assert report.verification.equal
    assert report.verification.local is not None
    assert report.verification.local.complete
    assert [(item.node, item.reason) for item in report.refusals] == [("left", Reason.NOT_SHOWN_EQUAL)]
    assert shape_of(result.model, "left") == [4, 9, 3, 3]
    assert shape_of(result.model, "right") == [4, 4, 1, 1]
    (folder,) = tmp_path.iterdir()
    made = []
    for name in ("original", "compiled"):
        session = ort.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        with np.load(folder / f"{name}.npz") as inputs:
            made += session.run(None, dict(inputs))
    assert made[0].shape == made[1].shape
    assert not np.allclose(made[0], made[1])


def test_what_is_wrong_everywhere_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [name for node in MODEL.graph.node for name in node.output]
    plant(monkeypatch, *values)
    right = remove_channels.RemoveChannels.__call__

    def always_wrong(self: Any, rewrite: Any) -> Any:
        changed = right(self, rewrite)
        next(node for node in rewrite.graph.nodes if node.op == "Gemm").inputs[2].values[:] = 7
        return changed

    monkeypatch.setattr(remove_channels.RemoveChannels, "__call__", always_wrong)
    with pytest.raises(NotEquivalentError, match="scores"):
        compile(MODEL, export="gather", race=False)


def test_the_proof_sees_a_fault_that_the_global_check_sleeps_through(monkeypatch: pytest.MonkeyPatch) -> None:
    sleepy = onnx.ModelProto()
    sleepy.CopyFrom(MODEL)
    bias = next(tensor for tensor in sleepy.graph.initializer if tensor.name == "b")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(9, -1e6, np.float32), "b"))
    plant(monkeypatch, "left")
    assert compile(sleepy, export="gather", race=False, proofs=("global",)).report.refusals == ()
    assert [item.node for item in compile(sleepy, export="gather", race=False).report.refusals] == ["left"]


def test_a_certificate_is_proven_again_without_the_compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, out, certificate = (str(tmp_path / name) for name in ("in.onnx", "out.onnx", "c.npz"))
    onnx.save(MODEL, model)
    assert main([model, out, "--no-race", "--export", "upscale", "--certificate", certificate, "-q"]) == 0
    first = Path(certificate).read_bytes()
    assert main([model, out, "--no-race", "--export", "upscale", "--certificate", certificate, "-q"]) == 0
    assert Path(certificate).read_bytes() == first
    assert main(["verify", model, out, "--certificate", certificate]) == 0
    assert "regions_proven  8 of 8" in capsys.readouterr().out
    assert main(["verify", model, model, "--certificate", certificate]) == 2
    assert "another compiled model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--certificate", "c.npz", "--no-verify"], ["--certificate", "c.npz", "--proof", "global"],
              ["--write-masked", "m.onnx"], ["--proof", "lokal"]],
)  # fmt: skip
def test_options_of_the_proof_that_would_do_nothing_are_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(MODEL, "in.onnx")
    assert main(["in.onnx", "out.onnx", *words]) == 2
    assert not (tmp_path / "out.onnx").exists()


def test_calibration_data_are_inputs_of_the_global_check_too(tmp_path: Path) -> None:
    shape = [dim.dim_value or 4 for dim in MODEL.graph.input[0].type.tensor_type.shape.dim]
    samples = np.random.default_rng(0).standard_normal([6, *shape[1:]]).astype(np.float32)
    np.savez(tmp_path / "c.npz", **{MODEL.graph.input[0].name: samples})
    settings = {"export": "gather", "race": False, "proofs": ("global",)}
    trials = []
    for given in ({}, {"calibration": str(tmp_path / "c.npz")}):
        verification = compile(MODEL, **settings, **given).report.verification
        assert verification is not None
        trials.append(verification.trials)
    assert trials[1] == trials[0] + 1


def test_what_onnxruntime_cannot_run_is_proven_by_the_reference(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (double[1,2,5,5] x) => (double[1,2,5,5] y) {
            c = Conv(x, w)  r = Relu(c)  y = Conv(r, v)
        }"""
    )
    for name, shape in (("w", (3, 2, 1, 1)), ("v", (2, 3, 1, 1))):
        values = np.arange(1.0, 7.0).reshape(shape)
        values[1 if name == "w" else slice(None)] *= 0 if name == "w" else 1
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    result = compile(model, export="gather", race=False)
    assert shape_of(result.model, "c") == [2, 2, 1, 1]
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert "by the local proof alone" in result.report.verification.detail


def test_zero_weights_of_what_may_be_infinite_stay_where_that_shows(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (float[1,5] x) => (float[1,3] y) {
            h = MatMul(x, w)  r = Reciprocal(h)  y = MatMul(r, v)
        }"""
    )
    kept = np.ones((6, 3), np.float32)
    kept[:4] = 0
    for name, values in (("w", np.ones((5, 6), np.float32)), ("v", kept)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for node in model.graph.node:
        node.name = node.output[0]
    assert compile(model, export="gather", race=False).report.refusals == ()
    np.savez(tmp_path / "zeros.npz", x=np.zeros((1, 5), np.float32))  # all is infinite, and some is read by zeros
    report = compile(model, export="gather", race=False, inputs=str(tmp_path / "zeros.npz")).report
    assert report.verification is not None
    assert report.verification.equal
    assert [item.node for item in report.refusals] == ["r"]
    assert "infinities" in report.refusals[0].detail


def written_out_softplus(read: bool) -> onnx.ModelProto:
    """Half of the channels between two layers are zeros that are read, or are made of all inputs and not read."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]> g (float[4,8] x) => (float[4,6] y) {
            a = Gemm(x, w)  e = Exp(a)  s = Add(e, one)  b = Log(s)  y = Gemm(b, v, c)
        }"""
    )
    rng = np.random.default_rng(0)
    held = {"w": rng.normal(size=(8, 16)), "v": rng.normal(size=(16, 6)), "c": rng.normal(size=6), "one": np.ones(())}
    if read:
        held["w"][:, ::2] = 0
    else:
        held["v"][::2] = 0
    tensors = (onnx.numpy_helper.from_array(values.astype(np.float32), name) for name, values in held.items())
    model.graph.initializer.extend(tensors)
    return model


def test_constants_leave_a_written_out_softplus() -> None:
    result = compile(written_out_softplus(True), align=1, race=False)
    assert result.report.refusals == ()
    assert shape_of(result.model, "a") == [8, 8]


def test_overflows_of_a_written_out_softplus_are_told() -> None:
    """exp overflows from 89 on: then a channel that zeros read makes NaN of all results."""
    model = written_out_softplus(False)
    result = compile(model, align=1, race=False)
    assert shape_of(result.model, "a") == [8, 16]
    assert ["infinities" in item.detail for item in result.report.refusals] == [True, True]
    inputs = {"x": np.zeros((4, 8), np.float32)}
    inputs["x"][0] = 1000 * np.sign(onnx.numpy_helper.to_array(model.graph.initializer[0])[:, 0])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.isnan(session.run(None, inputs)[0][0]).all()
    # Between numbers, half of the channels can go.
    numbers = compile(model, align=1, race=False, proofs=("local",))
    assert shape_of(numbers.model, "a") == [8, 8]


@pytest.mark.parametrize("body", ["e = Exp(a)\no = Add(e, one)\nr = Log(o)", "r = Exp(a)"], ids=["softplus", "exp"])
def test_channels_that_overflow_leave_where_amounts_choose_them(body: str) -> None:
    """As many as behind a Relu, which cannot overflow. What makes them is zero in the model that is equal, too."""
    counts = []
    for middle in ("r = Relu(a)", body):
        model = net(
            "(float[N,3,6,6] x) => (float y)",
            f"a = Conv(x, w1, b1)\n{middle}\ny = Conv(r, w2)",
            w1=100 * weight(8, 3, 3, 3), b1=vector(8), w2=weight(5, 8, 3, 3, seed=1),
            **({"one": np.float32(1)} if "one" in middle else {}),
        )  # fmt: skip
        result = compile(model, amount=0.5, masks="filled", prefer="size", race=False)
        assert result.report.verification is not None
        assert not result.report.refusals
        counts.append((sizes(result.model), result.report.masked_channels))
        assert shape_of(result.model, "a")[0] == 4
    assert counts[0] == counts[1]
    masked = {tensor.name: numpy_helper.to_array(tensor) for tensor in result.masked.graph.initializer}
    assert (masked["w1"].any(axis=(1, 2, 3)) == masked["w2"].any(axis=(0, 2, 3))).all()
    assert not masked["b1"][~masked["w2"].any(axis=(0, 2, 3))].any()


def test_a_mask_of_zeros_in_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    """Its channels overflow, so that a smaller model would return numbers where this one returns none."""
    model = net(
        "(float[N,3,6,6] x) => (float y)", "a = Conv(x, w1)\nr = Exp(a)\ny = Conv(r, w2)",
        w1=100 * weight(8, 3, 3, 3), w2=weight(5, 8, 3, 3, seed=1),
    )  # fmt: skip
    np.savez(tmp_path / "masks.npz", w2=np.arange(8) < 4)
    result = compile(model, mask=str(tmp_path / "masks.npz"), export="gather", race=False)
    assert shape_of(result.model, "a")[0] == 8
    assert {item.reason for item in result.report.refusals} == {Reason.NOT_SHOWN_EQUAL}
