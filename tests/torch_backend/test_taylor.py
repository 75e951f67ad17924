"""The criterion "taylor": against finite differences of a loss that ONNX's reference computes in double
precision, and through compiles."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.pruned import pruned
from upscale_onnx.types import Array

pytest.importorskip("torch")

from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options, Side
from upscale_onnx.pruning.class_scores import taylor_scores
from upscale_onnx.pruning.evidence import Evidence
from upscale_onnx.runtime.samples import load_calibration, load_labels

SAMPLES = 7


def _network(last: str = "", batch: int | str = "N", dtype: type = np.float64) -> onnx.ModelProto:
    """Two convolutions, a residual connection and a classifier; `last` is behind its scores."""
    rng = np.random.default_rng(0)
    tensors = {
        "w0": rng.normal(size=(8, 3, 3, 3)) / 4,
        "b0": rng.normal(size=8) / 4,
        "w1": rng.normal(size=(8, 8, 1, 1)) / 2,
        "fc": rng.normal(size=(8, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], "c0", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["c0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "c1"),
        helper.make_node("Add", ["c1", "r0"], ["a"]),
        helper.make_node("GlobalAveragePool", ["a"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["scores" if last else "out"], "fc"),
    ]
    if last:
        nodes.append(helper.make_node(last, ["scores"], ["out"], axis=1))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", kind, (batch, 3, 5, 5))],
        [helper.make_tensor_value_info("out", kind, (batch, 5))],
        [numpy_helper.from_array(array.astype(dtype), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _data() -> tuple[Array, Array]:
    return np.random.default_rng(1).normal(size=(SAMPLES, 3, 5, 5)), np.arange(SAMPLES) % 5


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Seven samples and their labels."""
    x, y = _data()
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return str(tmp_path / "data.npz")


def _output(model: onnx.ModelProto) -> Array:
    return np.asarray(ReferenceEvaluator(model).run(None, {"x": _data()[0]})[0])


def _losses(model: onnx.ModelProto, labels: Array) -> Array:
    """Cross-entropy of each sample, by the reference and NumPy."""
    scores = _output(model)
    if model.graph.node[-1].op_type != "Softmax":
        scores = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.log(scores[np.arange(SAMPLES), labels])


def _scaled(model: onnx.ModelProto, weight: str, axis: int, channel: int, factor: float) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name == weight:
            array = numpy_helper.to_array(tensor).copy()
            np.moveaxis(array, axis, 0)[channel] *= factor
            tensor.CopyFrom(numpy_helper.from_array(array, weight))
    return changed


def _differences(model: onnx.ModelProto, weight: str, axis: int, labels: Array) -> Array:
    """By sample and channel, the derivative of the loss by a factor on the channel; central differences."""
    step = 1e-5
    count = next(t.dims[axis] for t in model.graph.initializer if t.name == weight)
    return np.stack(
        [
            (_losses(_scaled(model, weight, axis, c, 1 + step), labels)
             - _losses(_scaled(model, weight, axis, c, 1 - step), labels)) / (2 * step)
            for c in range(count)
        ],
        axis=1,
    )  # fmt: skip


@pytest.mark.parametrize("last", ["", "Softmax"])
@pytest.mark.parametrize("power", [1, 2])
def test_scores_are_finite_differences_of_the_loss(data: str, last: str, power: int) -> None:
    model = _network(last)
    batches = load_calibration(data, model)
    labels = load_labels(data, model, SAMPLES)
    found = taylor_scores(Evidence(model, Options.of(criterion=f"taylor:power={power}"), batches, labels))
    for weight, axis in (("w1", 1), ("fc", 0)):
        expected = (np.abs(_differences(model, weight, axis, _data()[1])) ** power).mean(axis=0)
        np.testing.assert_allclose(found[weight], expected, rtol=1e-6)


def test_without_labels_the_models_own_classes_are_taken(data: str) -> None:
    model = _network()
    scores = _output(model)
    found = taylor_scores(Evidence(model, Options.of(criterion="taylor"), load_calibration(data, model), None))
    expected = np.abs(_differences(model, "fc", 0, scores.argmax(axis=1))).mean(axis=0)
    np.testing.assert_allclose(found["fc"], expected, rtol=1e-6)


def test_the_output_side_fades_what_all_readers_see(data: str) -> None:
    """Both the second convolution and the Add read the first one's activation: a factor on it is one on both."""
    model = _network()
    found = taylor_scores(
        Evidence(model, Options.of(criterion="taylor", side="output"), load_calibration(data, model), _data()[1])
    )
    gated = onnx.ModelProto()
    gated.CopyFrom(model)
    gated.graph.node[1].output[0] = "raw"
    gated.graph.node.insert(2, helper.make_node("Mul", ["raw", "gate"], ["r0"]))
    gated.graph.initializer.append(numpy_helper.from_array(np.ones((8, 1, 1)), "gate"))
    expected = np.abs(_differences(gated, "gate", 0, _data()[1])).mean(axis=0)
    np.testing.assert_allclose(found["w0"], expected, rtol=1e-6)


def test_batches_and_their_size_do_not_matter(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _network()
    batches, labels = load_calibration(data, model), _data()[1]
    whole = taylor_scores(Evidence(model, Options.of(criterion="taylor"), batches, labels))
    monkeypatch.setattr("upscale_onnx.pruning.class_scores._GRADIENT_BYTES", 1)
    single = taylor_scores(Evidence(model, Options.of(criterion="taylor"), batches, labels))
    for weight, scores in whole.items():
        np.testing.assert_allclose(single[weight], scores, rtol=1e-9)


@pytest.mark.parametrize("side", ["input", "output"])
def test_settings_normalise_and_price(data: str, side: Side) -> None:
    model = _network()
    batches = load_calibration(data, model)
    plain = taylor_scores(Evidence(model, Options.of(criterion="taylor", side=side), batches, None))
    priced = taylor_scores(Evidence(model, Options.of(criterion="taylor:norm=l2:flops=0.5", side=side), batches, None))
    # 25 positions, 8 * 8 weights, 8 channels; two operations a multiply-accumulate
    megaflops = 2 * 25 * 8 * 8 / 8 * 1e-6
    np.testing.assert_allclose(priced["w1"], plain["w1"] / np.linalg.norm(plain["w1"]) - 0.5 * megaflops, rtol=1e-9)


def test_an_output_without_classes_has_its_squared_norm_for_a_loss(data: str) -> None:
    model = _network()
    del model.graph.node[4:], model.graph.output[:]
    model.graph.output.add(name="a").type.tensor_type.elem_type = TensorProto.DOUBLE
    batches = load_calibration(data, model)
    found = taylor_scores(Evidence(model, Options.of(criterion="taylor"), batches, None))
    fades = []
    for c in range(8):
        more, less = (_output(_scaled(model, "w1", 1, c, 1 + h)) for h in (1e-5, -1e-5))
        fades.append((np.square(more) - np.square(less)).sum(axis=(1, 2, 3)) / 2e-5)
    np.testing.assert_allclose(found["w1"], np.abs(fades).mean(axis=1), rtol=1e-6)
    with pytest.raises(ArgumentError, match="labels need a first output of"):
        taylor_scores(Evidence(model, Options.of(criterion="taylor"), batches, _data()[1]))


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.full(SAMPLES, 5), "labels are 5 to 5, the model has 5 classes"),
        (np.zeros(3, np.int64), "one class number a sample"),
        (np.zeros(SAMPLES), "one class number a sample"),
        (np.zeros((SAMPLES, 5), np.int64), "one class number a sample"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: Array, complaint: str) -> None:
    np.savez(tmp_path / "data.npz", x=_data()[0], labels=labels)
    options = Options.of(amount=0.25, criterion="taylor", calibration=str(tmp_path / "data.npz"), masks="flat")
    with pytest.raises(ArgumentError, match=complaint):
        pruned(_network(), options)


def test_a_fixed_batch_takes_the_labels_of_its_samples(data: str) -> None:
    model = _network(batch=3)
    assert len(load_calibration(data, model)) == 2
    options = Options.of(amount=0.25, criterion="taylor", calibration=data, masks="flat")
    assert pruned(model, options)[1] == 2 + 2


def test_without_torch_the_extra_is_named(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("upscale_onnx.torch_backend")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ArgumentError, match=r"pip install 'upscale-onnx\[torch\]'"):
        pruned(_network(), Options.of(amount=0.25, criterion="taylor", calibration=data, masks="flat"))


def test_the_command_line_takes_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(_network(dtype=np.float32), tmp_path / "in.onnx")
    data = str(tmp_path / "data.npz")
    np.savez(data, x=_data()[0].astype(np.float32), y=_data()[1])
    words = [str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--no-race", "-q", "--amount", "0.25"]
    words += ["--allocation", "flat", "--calibration", data, "--criterion"]
    assert main([*words, "taylor:norm=l2:flops=1e-3"]) == 0
    assert (tmp_path / "out.onnx").exists()
    for name, complaint in (
        ("taylor:norm=l3", "norm=l2 or norm=none"),
        ("taylor:power=3", "power=1 or power=2"),
        ("taylor:flops=cheap", "a number of at least 0"),
        ("taylor:slope=1", "takes norm, flops and power, not 'slope'"),
        ("taylor:norm", "'norm' is not of the form KEY=VALUE"),
        ("l2:norm=l2", "criterion 'l2' takes no settings"),
        ("tayler", "no criterion called 'tayler'"),
    ):
        assert main([*words, name]) == 2
        assert complaint in capsys.readouterr().err
