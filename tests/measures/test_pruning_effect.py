"""What pruning did to a model is measured, said, and refused where it is too much."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graphs import bias, parse, weight
from upscale_onnx import compile
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError, LossError
from upscale_onnx.measures.pruning_effect import pruning_effect
from upscale_onnx.options import Options
from upscale_onnx.report.rows import summary_table
from upscale_onnx.results import PruningEffect

# What one of two classes scores follows the sign of the first feature alone.
SCORES = np.zeros((16, 2), np.float32)
SCORES[0] = 1, -1


def _classifier(factor: float = 1.0) -> onnx.ModelProto:
    """(N, 16) -> (N, 2), `factor` times the scores."""
    text = "(float[N, 16] x) => (float[N, 2] y) { y = MatMul(x, w) }"
    return parse(text, w=SCORES * np.float32(factor))


def _data(folder: Path, **more: np.ndarray) -> str:
    x = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, **more)
    return str(folder / "data.npz")


def _labels() -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
    return (x[:, 0] < 0).astype(np.int64)


def _wide() -> onnx.ModelProto:
    """Two layers that an amount applies to."""
    return parse(
        "(float[N, 16] x) => (float[N, 2] y) { h = Gemm(x, a, b)  r = Relu(h)  y = MatMul(r, c) }",
        a=weight(16, 32),
        b=bias(*range(32)),
        c=weight(32, 2),
    )


def test_the_distance_is_relative_to_the_outputs_and_on_random_inputs_without_data() -> None:
    found = pruning_effect(_classifier(), _classifier(0.75), Options())
    assert found.distance == pytest.approx(0.25)
    assert found.data == "random inputs"
    assert found.samples > 1
    assert found.loss == found.distance


def test_with_labels_the_accuracy_before_and_after(tmp_path: Path) -> None:
    labels = _labels()
    labels[:10] = 1 - labels[:10]
    found = pruning_effect(_classifier(), _classifier(-1), Options.of(calibration=_data(tmp_path, y=labels)))
    assert (found.data, found.samples) == ("calibration data", 40)
    assert found.distance == pytest.approx(2.0)
    assert (found.accuracy_before, found.accuracy_after) == (0.75, 0.25)
    assert found.loss == 0.5
    assert (
        found.text
        == "top-1 went from 75.0% to 25.0%; outputs moved by 2 of their size, on 40 samples (calibration data)"
    )


@pytest.mark.parametrize("labels", [np.zeros(40, np.float32), np.zeros(39, np.int64)], ids=["no classes", "too few"])
def test_labels_that_are_no_classes_are_passed_over_and_that_is_said(tmp_path: Path, labels: np.ndarray) -> None:
    found = pruning_effect(_classifier(), _classifier(0.5), Options.of(calibration=_data(tmp_path, y=labels)))
    assert found.accuracy_before is None
    assert found.loss == pytest.approx(0.5)
    assert "accuracy not measured" in found.detail


def test_labels_that_the_model_does_not_know_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="labels reach from 7 to 7, the model has 2 classes"):
        pruning_effect(_classifier(), _classifier(), Options.of(calibration=_data(tmp_path, y=np.full(40, 7))))


def test_outputs_that_are_no_scores_have_no_accuracy(tmp_path: Path) -> None:
    model = parse(
        "(float[N, 16] x) => (float[N, 4, 2] y) { h = MatMul(x, a)  y = Reshape(h, s) }",
        a=weight(16, 8),
        s=np.array([-1, 4, 2]),
    )
    found = pruning_effect(model, model, Options.of(calibration=_data(tmp_path, y=_labels())))
    assert (found.accuracy_before, found.distance) == (None, 0.0)
    assert "is not (samples, classes)" in found.detail


def test_where_no_input_is_found_that_is_said() -> None:
    model = parse(
        "(float[N, 16] x) => (float[N, M] y) { s = Shape(x)  r = Reshape(x, wrong)  y = MatMul(r, a) }",
        a=weight(17, 8),
        wrong=np.array([-1, 17]),
    )
    found = pruning_effect(model, model, Options())
    assert found.loss is None
    assert found.text.startswith("not measured: no input was found")


def test_a_compile_says_what_its_pruning_did_and_how_to_mend_it(tmp_path: Path) -> None:
    pruned = compile(_wide(), amount=0.5, prefer="size", calibration=_data(tmp_path, y=_labels())).report
    assert pruned.effect is not None
    assert pruned.effect.accuracy_before is not None
    said = dict(summary_table(pruned).facts)
    assert str(said["compiled"]).startswith("equals the pruned model: shown in ")
    assert said["pruned"] == pruned.effect.text
    assert str(said["note"]).endswith("add --repair lsq")
    dense = compile(_wide(), prefer="size").report
    assert dense.effect is None
    assert "pruned" not in dict(summary_table(dense).facts)


def test_without_comparing_nothing_is_claimed() -> None:
    report = compile(_wide(), amount=0.5, prefer="size", verify=False).report
    assert report.effect == PruningEffect(detail="not measured: nothing is compared")
    assert dict(summary_table(report).facts)["compiled"] == "was not compared with the pruned model"


def test_a_loss_above_the_largest_is_exit_code_5_and_nothing_is_written(tmp_path: Path) -> None:
    onnx.save(_wide(), tmp_path / "in.onnx")
    words = [str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--amount", "0.5", "--prefer", "size", "-q"]
    report = ["--json", str(tmp_path / "report.json")]
    assert main([*words, *report, "--max-loss", "0.0001"]) == LossError.exit_code == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.onnx"]
    assert main([*words, *report, "--max-loss", "10"]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["effect"]["distance"] > 0.0001


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_loss": 0.1}, "max_loss has no effect where nothing is pruned"),
        ({"max_loss": 0.1, "amount": 0.5, "verify": False}, "leave --no-verify out"),
        ({"max_loss": -0.1, "amount": 0.5}, "a number of at least 0"),
        ({"max_loss": float("nan"), "amount": 0.5}, "a number of at least 0"),
    ],
)
def test_a_largest_loss_that_cannot_hold(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        compile(_wide(), Options.of(**options))  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_not_within_a_largest_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "upscale_onnx.measures.pruning_effect.pruning_effect", lambda *_: PruningEffect(detail="not measured: why")
    )
    with pytest.raises(LossError, match=r"not measured: why; 1 may be lost, so nothing is written"):
        compile(_wide(), amount=0.5, prefer="size", max_loss=1.0)
