"""Scans: one layer at a time, measured as a variant made by hand is; and what is derived from them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import QuantFormat

import upscale_onnx
from tests.graphs import parse, run
from tests.pruning.test_experts import GATED, moe
from tests.pruning.test_quantised import network, quantised
from upscale_onnx import Options
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.accuracy import evaluate
from upscale_onnx.measures.data import labelled, unlabelled
from upscale_onnx.pruning.prune import prune
from upscale_onnx.results import Sensitivity
from upscale_onnx.sensitivity.scan import scan_layers, tolerated_steps

AMOUNTS = (0.25, 0.5, 0.75)
WEIGHTS = ["first", "second", "head"]


def _network(batch: str = "N", classes: int = 5) -> onnx.ModelProto:
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)

    return parse(
        f"""(float[{batch},8,6,6] x) => (float[{batch},{classes}] y) {{
            c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, first, b1)
            r1 = Relu(c1)
            c2 = Conv<kernel_shape=[1,1]>(r1, second, b2)
            r2 = Relu(c2)
            p = GlobalAveragePool(r2)
            f = Flatten(p)
            y = Gemm(f, head)
        }}""",
        first=weight(16, 8, 3, 3),
        b1=weight(16),
        second=weight(12, 16, 1, 1),
        b2=weight(12),
        head=weight(12, classes),
    )


def _classifier() -> onnx.ModelProto:
    """The same on pictures of three colours: a layer in front makes eight channels of them."""
    model = _network()
    stem = np.random.default_rng(5).standard_normal((8, 3, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(stem, "stem"))
    model.graph.node.insert(0, onnx.helper.make_node("Conv", ["image", "stem"], ["x"], "stem"))
    model.graph.input[0].name = "image"
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    onnx.checker.check_model(model, full_check=True)
    return model


def _data(path: Path, model: onnx.ModelProto, count: int = 60) -> str:
    """Pictures with the classes that `model` gives them, so that it is right in all."""
    x = np.random.default_rng(4).integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    scores = run(model, {"image": (x / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32)})[0]
    np.savez(path, x=x, y=scores.argmax(axis=1))
    return str(path)


def _pruned_by_hand(model: onnx.ModelProto, name: str, axis: int, amount: float) -> onnx.ModelProto:
    found = onnx.ModelProto.FromString(model.SerializeToString())
    tensor = next(t for t in found.graph.initializer if t.name == name)
    values = np.moveaxis(numpy_helper.to_array(tensor).copy(), axis, 0)
    order = np.argsort(np.linalg.norm(values.reshape(values.shape[0], -1), axis=1))
    values[order[: int(amount * order.size)]] = 0
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(np.moveaxis(values, 0, axis)), name))
    return found


def test_distances_are_those_of_one_layer_pruned_alone() -> None:
    model = _network()
    before = model.SerializeToString()
    measure = unlabelled(model, limit=8)
    found = scan_layers(model, measure, (0.5, 0.25, 0.75), tolerated=0.2)
    assert model.SerializeToString() == before
    assert (found.amounts, found.measure, found.baseline) == (AMOUNTS, "distance", 0.0)
    assert [layer.weight for layer in found.layers] == WEIGHTS
    for layer, axis in zip(found.layers, (1, 1, 0), strict=True):
        expected = [measure.value(_pruned_by_hand(model, layer.weight, axis, amount)) for amount in AMOUNTS]
        assert layer.values == pytest.approx(expected, rel=1e-6)
        assert layer.losses == layer.values
        assert layer.kept == tuple(layer.channels - int(amount * layer.channels) for amount in AMOUNTS)
        assert 0 < layer.values[0] < layer.values[2]


def test_accuracy_is_what_evaluate_says(tmp_path: Path) -> None:
    model = _classifier()
    data = _data(tmp_path / "d.npz", model)
    found = scan_layers(model, labelled(model, data, limit=1000), AMOUNTS, tolerated=0.1, layers=("second",))
    assert (found.measure, found.baseline, found.samples) == ("top1", 1.0, 60)
    (layer,) = found.layers
    for amount, value, loss in zip(AMOUNTS, layer.values, layer.losses, strict=True):
        assert value == evaluate(_pruned_by_hand(model, "second", 1, amount), data).top1
        assert loss == 1.0 - value
    assert layer.losses[-1] > 0


def test_a_fixed_batch_is_filled(tmp_path: Path) -> None:
    model = _classifier()
    data = _data(tmp_path / "d.npz", model)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 7
    measure = labelled(model, data, limit=20)
    assert (measure.samples, measure.baseline) == (20, 1.0)
    assert all(inputs["image"].shape[0] == 7 for inputs, _ in measure.batches)


def test_the_output_side_takes_biases_along() -> None:
    model = _network()
    measure = unlabelled(model, limit=8)
    found = scan_layers(model, measure, (0.5,), Options.of(side="output"), tolerated=0.2, layers=("second",))
    pruned = _pruned_by_hand(model, "second", 0, 0.5)
    gone = ~numpy_helper.to_array(pruned.graph.initializer[2]).any(axis=(1, 2, 3))
    bias = numpy_helper.to_array(pruned.graph.initializer[3]).copy()
    assert bias[gone].all()
    bias[gone] = 0
    pruned.graph.initializer[3].CopyFrom(numpy_helper.from_array(bias, "b2"))
    assert found.layers[0].values[0] == pytest.approx(measure.value(pruned), rel=1e-6)


def test_a_layer_is_put_back_before_the_next() -> None:
    model = _network()
    measure = unlabelled(model, limit=8)
    whole = scan_layers(model, measure, AMOUNTS, tolerated=0.2)
    alone = scan_layers(model, measure, AMOUNTS, tolerated=0.2, layers=("head",))
    assert whole.layers[-1] == alone.layers[0]


def test_nothing_is_run_where_nothing_is_pruned() -> None:
    model = _network()
    inner = unlabelled(model, limit=8)
    runs: list[float] = []

    class Counting:
        name, samples, baseline = inner.name, inner.samples, inner.baseline

        def value(self, variant: onnx.ModelProto) -> float:
            runs.append(inner.value(variant))
            return runs[-1]

        def loss(self, value: float) -> float:
            return value

    found = scan_layers(model, Counting(), (0.01, 0.1, 0.11, 0.12), tolerated=0.2, layers=("second",))
    assert found.layers[0].kept == (16, 15, 15, 15)
    assert found.layers[0].values == (0.0, *runs * 3)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("losses", "steps"),
    [((), 0), ((0.0, 0.1, 0.2), 2), ((0.2, 0.0), 0), ((0.0, 0.2, 0.05), 1), ((math.nan,), 0), ((-0.1, math.inf), 1)],
)
def test_amounts_are_tolerated_up_to_the_first_that_is_not(losses: tuple[float, ...], steps: int) -> None:
    assert tolerated_steps(losses, 0.1) == steps


def _thresholds(model: onnx.ModelProto) -> Sensitivity:
    measure = unlabelled(model, limit=8)
    everything = scan_layers(model, measure, AMOUNTS, tolerated=0.0)
    middle = float(np.median([layer.losses[1] for layer in everything.layers]))
    return scan_layers(model, measure, AMOUNTS, tolerated=middle)


def test_the_largest_amount_is_the_last_that_is_tolerated() -> None:
    model = _network()
    found = _thresholds(model)
    assert len({layer.largest_amount for layer in found.layers}) > 1
    for layer in found.layers:
        steps = sum(amount <= layer.largest_amount for amount in AMOUNTS)
        assert all(loss <= found.tolerated for loss in layer.losses[:steps])
        assert not any(loss <= found.tolerated for loss in layer.losses[steps : steps + 1])
        assert layer.keep_ratio == 1 - int(layer.largest_amount * layer.channels) / layer.channels


def test_criteria_that_need_data_have_it(tmp_path: Path) -> None:
    model = _network()
    named: dict[str, Any] = {"x": np.random.default_rng(0).standard_normal((40, 8, 6, 6)).astype(np.float32)}
    np.savez(tmp_path / "c.npz", **named)
    options = Options.of(criterion="wanda", calibration=str(tmp_path / "c.npz"))
    measure = unlabelled(model, options.prune.calibration, limit=40)
    assert measure.samples == 40
    by_weight = scan_layers(model, measure, (0.5,), tolerated=0.1)
    by_wanda = scan_layers(model, measure, (0.5,), options, tolerated=0.1)
    assert [layer.values for layer in by_wanda.layers] != [layer.values for layer in by_weight.layers]
    with pytest.raises(ArgumentError, match="needs calibration data"):
        scan_layers(model, measure, (0.5,), Options.of(criterion="wanda"), tolerated=0.1)


def test_the_command_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(_network(), tmp_path / "m.onnx")
    assert main(["sensitivity", str(tmp_path / "m.onnx"), "--amounts", "0.5", "--layer", "c*"]) == 0
    printed = capsys.readouterr().out
    assert "sensitivity.measure" in printed
    assert "distance" in printed
    assert "sensitivity.second" in printed
    assert "sensitivity.head" not in printed


def test_the_command_with_labels_and_every_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    model = _classifier()
    onnx.save(model, tmp_path / "m.onnx")
    data = _data(tmp_path / "d.npz", model)
    files = {name: tmp_path / f"r.{ending}" for name, ending in (("json", "json"), ("csv", "csv"), ("plot", "svg"))}
    files["profile"] = tmp_path / "profile.json"
    words = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["sensitivity", str(tmp_path / "m.onnx"), "--data", data, "--tolerate", "0.05", *words]) == 0
    assert capsys.readouterr().out.count("written") == 4
    content = json.loads(files["json"].read_text())
    assert (content["kind"], content["measure"], content["tolerated"]) == ("sensitivity", "top1", 0.05)
    rows = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert len(rows) == 9
    assert [float(row["top1"]) for row in rows] == [v for layer in content["layers"] for v in layer["values"]]
    drawn = files["plot"].read_text()
    assert "<svg" in drawn
    written = json.loads(files["profile"].read_text())
    assert (written["side"], written["method"]) == ("input", "unconstrained")
    assert written["decisions"] == content["together"]["profile"]
    assert content["together"]["loss"] <= 0.05


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--amounts", "0.1,1.5"], "is not a fraction"),
        (["--amounts", "0,0.5"], "an amount of 0 prunes nothing"),
        (["--layer", "q*"], "is the name of no layer"),
        (["--data", "none.npz"], "no such file"),
        (["--calibration", "none.npz"], "no such file"),
        (["--criterion", "wanda"], "needs calibration data"),
        (["--mean", "0.5"], "only labelled images are preprocessed"),
        (["--plot", "p.bmp"], "choose a name with such an ending"),
        (["--write-profile", "p.txt"], "a profile is a .json file"),
        (["--json", "a.json", "--write-profile", "a.json"], "is the same file as"),
        (["--csv", "none/a.csv"], "does not exist"),
    ],
)
def test_arguments_that_cannot_be_used(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(_network(), "m.onnx")
    assert main(["sensitivity", "m.onnx", *words]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_layers_of_quantised_models_and_of_experts_are_scanned(tmp_path: Path) -> None:
    model = quantised(tmp_path, QuantFormat.QDQ, True)
    found = scan_layers(model, unlabelled(model, limit=8), (0.25, 0.5), tolerated=0.2)
    plain = scan_layers(network(), unlabelled(network(), limit=8), (0.25, 0.5), tolerated=0.2)
    for one, other in zip(plain.layers, found.layers, strict=True):
        assert other.kept == one.kept
        assert other.losses[0] == pytest.approx(one.losses[0], rel=0.1)
    experts = moe(GATED)
    scanned = upscale_onnx.scan(experts, amounts=(0.25, 0.5), layers=("w2",), limit=2)
    assert scanned.layers[0].kept == (24, 16)
    masked = prune(experts, Options.of(amounts=(("w2", 0.5),), masks="flat")).model
    assert scanned.layers[0].losses[1] == unlabelled(experts, limit=2).value(masked) > 0.1
