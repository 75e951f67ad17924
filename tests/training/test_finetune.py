"""Training from an ONNX file: what it computes, what stays as it is, and that it can be stopped and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)

import torch

from tests.graphs import parse
from upscale_onnx import compile
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.images import training_data
from upscale_onnx.training.settings import Training
from upscale_onnx.training.trainer import Trainer
from upscale_onnx.types import Array

QUICK = Training(epochs=2, batch=16, rate=0.05)


def network(seed: int = 0, norms: bool = True) -> onnx.ModelProto:
    """A residual block and a classifier of four classes of 8 x 8 images."""
    rng = np.random.default_rng(seed)

    def drawn(*shape: int) -> Array:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    norm = "BatchNormalization(b, scale, shift, mean, var)" if norms else "Identity(b)"
    text = f"""(float[N, 3, 8, 8] x) => (float[N, 4] y) {{
        a = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x, stem, stem_bias)
        b = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(a, first)
        c = {norm}
        d = Relu(c)
        e = Conv<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(d, second)
        f = Add(a, e)
        g = Relu(f)
        h = GlobalAveragePool(g)
        i = Flatten(h)
        y = Gemm<transB=1>(i, fc, fc_bias)
    }}"""
    ones, zeros = np.ones(12, np.float32), np.zeros(12, np.float32)
    constants = {"scale": ones, "shift": zeros, "mean": zeros, "var": ones} if norms else {}
    return parse(
        text,
        stem=drawn(8, 3, 3, 3),
        stem_bias=np.zeros(8, np.float32),
        first=drawn(12, 8, 3, 3),
        second=drawn(8, 12, 3, 3),
        fc=drawn(4, 8),
        fc_bias=np.zeros(4, np.float32),
        **constants,
    )


def arrays(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Noise around one colour for each class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 160)
    x = rng.normal(size=(4, 1, 1, 3))[labels] + rng.normal(size=(160, 8, 8, 3)) * 0.7
    path = tmp_path_factory.mktemp("data") / "train.npz"
    np.savez(path, x=np.clip(x * 40 + 128, 0, 255).astype(np.uint8), y=labels)
    return str(path)


class Native(torch.nn.Module):
    """The network, written in PyTorch."""

    def __init__(self, weights: dict[str, Array]) -> None:
        super().__init__()
        self.stem, self.first = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 12, 3, padding=1, bias=False)
        self.second, self.fc = torch.nn.Conv2d(12, 8, 3, padding=1, bias=False), torch.nn.Linear(8, 4)
        self.norm = torch.nn.BatchNorm2d(12)
        for layer, names in self.places().items():
            for attribute, name in names.items():
                getattr(layer, attribute).data = torch.from_numpy(weights[name].copy())

    def places(self) -> dict[Any, dict[str, str]]:
        return {
            self.stem: {"weight": "stem", "bias": "stem_bias"},
            self.first: {"weight": "first"},
            self.second: {"weight": "second"},
            self.fc: {"weight": "fc", "bias": "fc_bias"},
            self.norm: {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"},
        }

    def forward(self, x: Any) -> Any:
        a = self.stem(x)
        f = torch.relu(a + self.second(torch.relu(self.norm(self.first(a)))))
        return self.fc(f.mean(dim=(2, 3)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_steps_are_those_of_the_same_network_in_pytorch(data: str, optimizer: Any) -> None:
    settings = replace(QUICK, optimizer=optimizer, schedule="constant", rate=0.01, label_smoothing=0.1, epochs=1)
    model = network()
    samples = training_data(model, data, Preprocessing(), "none", 32)
    trainer = Trainer(model, samples, settings)
    trainer.epoch(0)
    native = Native(arrays(model)).train()
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    if optimizer == "sgd":
        steps = torch.optim.SGD(native.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    else:
        steps = kinds[optimizer](native.parameters(), lr=0.01, weight_decay=5e-4)
    for x, labels in samples.epoch(torch.Generator().manual_seed(0)):
        steps.zero_grad()
        torch.nn.functional.cross_entropy(native(x), labels, label_smoothing=0.1).backward()
        steps.step()
    found = arrays(trainer.model())
    for layer, names in native.places().items():
        for attribute, name in names.items():
            expected = getattr(layer, attribute).detach().numpy()
            np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)


def test_training_learns_and_judges_in_onnxruntime(data: str) -> None:
    found = finetune(network(), data, data, replace(QUICK, epochs=4))
    assert found.course.before < 0.5 < 0.9 < found.course.accuracy
    assert found.course.accuracy == max(epoch.accuracy for epoch in found.course.epochs)
    assert set(found.course.trained) == {"stem", "stem_bias", "first", "second", "fc", "fc_bias", "scale", "shift"}
    assert [tuple(t.dims) for t in found.model.graph.initializer] == [
        tuple(t.dims) for t in network().graph.initializer
    ]


@pytest.mark.parametrize("side", ["input", "output"])
def test_pruned_channels_stay_pruned(data: str, side: Any) -> None:
    masks = {"first": np.arange(8 if side == "input" else 12) % 2 == 0, "second": np.arange(12) % 2 == 0}
    masked = write_masks(network(), {"first": masks["first"]}, side)[0]
    if side == "input":
        masked = write_masks(masked, {"second": masks["second"]}, side)[0]
    found = finetune(masked, data, data, QUICK).model
    before, after = arrays(masked), arrays(found)
    for name in ("first", "second"):
        np.testing.assert_array_equal(after[name][before[name] == 0], 0)
        assert (after[name] != before[name]).any()
    small, smaller = (compile(m, race=False, verify=False, export="gather").report.after for m in (masked, found))
    assert smaller.parameters <= small.parameters < 0.9 * sum(array.size for array in before.values())


def test_a_constant_channel_stays_the_constant_that_it_was(data: str) -> None:
    """A ReLU cuts it to zero, so that it can be removed in spite of the padding behind it."""
    model = network()
    values = {"shift": np.full(12, -0.3, np.float32), "mean": np.full(12, 0.2, np.float32)}
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    gone = np.arange(12) % 2 == 1
    masked = write_masks(model, {"first": ~gone}, "output")[0]
    found = finetune(masked, data, data, replace(QUICK, epochs=4, keep="last")).model
    before, after = arrays(masked), arrays(found)
    for name in ("scale", "shift", "mean", "var"):
        np.testing.assert_array_equal(after[name][gone], before[name][gone])
        assert (after[name][~gone] != before[name][~gone]).all()
    small, smaller = (compile(m, race=False, verify=False, export="gather").report.after for m in (masked, found))
    assert smaller.parameters == small.parameters


def test_single_zeros_stay_too(data: str) -> None:
    model = network()
    tensor = next(t for t in model.graph.initializer if t.name == "second")
    values = numpy_helper.to_array(tensor).copy()
    values[np.random.default_rng(1).random(values.shape) < 0.6] = 0
    tensor.CopyFrom(numpy_helper.from_array(values, "second"))
    found = arrays(finetune(model, data, data, QUICK).model)["second"]
    np.testing.assert_array_equal(found != 0, values != 0)


def test_frozen_norms_keep_their_statistics(data: str) -> None:
    found = arrays(finetune(network(), data, data, replace(QUICK, norms="freeze")).model)
    np.testing.assert_array_equal(found["mean"], 0)
    trained = arrays(finetune(network(), data, data, QUICK).model)
    assert (trained["mean"] != 0).all()
    assert (trained["var"] != 1).all()


def test_random_weights_follow_fan_in_and_the_seed(data: str) -> None:
    from upscale_onnx.training.initialise import initialised
    from upscale_onnx.training.learned import learned

    model = network(norms=True)
    values = {name: array.copy() for name, array in learned(model).items()}
    values["first"][:, 3] = 0
    found = initialised(model, {**values, "shift": values["shift"] + 1}, 0)
    assert found["second"].std() == pytest.approx(np.sqrt(2 / (12 * 9)), rel=0.1)
    np.testing.assert_array_equal(found["first"][:, 3], 0)
    np.testing.assert_array_equal(found["scale"], 1)
    np.testing.assert_array_equal(found["shift"], 0)
    assert (initialised(model, values, 1)["second"] != found["second"]).any()


def test_a_teacher_alone_teaches(data: str) -> None:
    teacher = finetune(network(), data, data, replace(QUICK, epochs=4))
    wrong = Path(data).with_name("wrong.npz")
    content = dict(np.load(data))
    np.savez(wrong, x=content["x"], y=np.random.default_rng(3).permutation(content["y"]))
    alone = replace(QUICK, epochs=6, distill_weight=1.0, rate=0.02, keep="last")
    taught = finetune(network(5), str(wrong), data, alone, teacher=teacher.model)
    assert taught.course.accuracy > 0.8
    assert finetune(network(5), str(wrong), data, alone).course.accuracy < 0.7


def test_a_training_goes_on_where_it_was_killed(data: str, tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "in.onnx")
    command = ["finetune", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--data", data, "--val", data]
    command += ["--epochs", "25", "--batch", "16", "--augment", "crop-flip", "--keep", "last", "-q"]
    whole = [*command[:2], str(tmp_path / "whole.onnx"), *command[3:]]
    process = subprocess.Popen([sys.executable, "-m", "upscale_onnx", *command])
    state = tmp_path / "out.onnx.training"
    deadline = time.monotonic() + 60
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert state.exists()
    assert not (tmp_path / "out.onnx").exists()
    assert main(command) == 0
    assert not state.exists()
    assert main(whole) == 0
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_a_state_of_another_training_is_refused(data: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    finetune(network(), data, data, QUICK, state=str(state))
    with pytest.raises(ArgumentError, match="is the state of a training with another model"):
        finetune(network(1), data, data, QUICK, state=str(state))
    with pytest.raises(ArgumentError, match="is the state of a training with another model"):
        finetune(network(), data, data, replace(QUICK, rate=0.1), state=str(state))
    state.write_bytes(b"nothing")
    with pytest.raises(ArgumentError, match="is no state of a training: remove it"):
        finetune(network(), data, data, QUICK, state=str(state))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 1000}, "160 samples are less than one batch of 1000"),
        ({"rate": 1e30}, "the loss is not finite: train at a lower rate"),
        ({"optimizer": "lion"}, "optimizer is 'lion'"),
    ],
)
def test_what_cannot_be_trained_says_why(data: str, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        finetune(network(), data, data, replace(QUICK, **changed))


def test_labels_beyond_the_classes_are_refused(data: str, tmp_path: Path) -> None:
    content = dict(np.load(data))
    np.savez(tmp_path / "many.npz", x=content["x"], y=content["y"] + 4)
    with pytest.raises(ArgumentError, match="the model has 4 classes"):
        finetune(network(), str(tmp_path / "many.npz"), str(tmp_path / "many.npz"), QUICK)


def test_samples_that_are_no_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    labels = (x[:, 0] > x[:, 1]).astype(np.int64)
    np.savez(tmp_path / "rows.npz", x=x, y=labels)
    weights = {name: rng.normal(size=size).astype(np.float32) for name, size in (("one", (6, 16)), ("two", (16, 2)))}
    model = parse("(float[N, 6] x) => (float[N, 2] y) { a = MatMul(x, one) b = Relu(a) y = MatMul(b, two) }", **weights)
    rows = str(tmp_path / "rows.npz")
    found = finetune(model, rows, rows, replace(QUICK, epochs=8, batch=20))
    assert found.course.before < 0.7 < 0.9 < found.course.accuracy
    with pytest.raises(ArgumentError, match="training needs an array 'x'"):
        finetune(model, _other(tmp_path), rows, QUICK)


def _other(folder: Path) -> str:
    np.savez(folder / "other.npz", z=np.zeros((4, 6), np.float32))
    return str(folder / "other.npz")


def test_the_command_writes_what_it_did(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(network(), tmp_path / "in.onnx")
    out, log = tmp_path / "out.onnx", tmp_path / "log.csv"
    words = ["finetune", str(tmp_path / "in.onnx"), str(out), "--data", data, "--val", data, "--epochs", "2"]
    assert main([*words, "--batch", "16", "--csv", str(log), "--json", str(tmp_path / "log.json")]) == 0
    assert log.read_text().splitlines()[0] == "number,loss,train_accuracy,accuracy,seconds"
    assert len(log.read_text().splitlines()) == 3
    onnx.checker.check_model(onnx.load(out))
    assert "accuracy" in capsys.readouterr().out
    assert main([*words[:4], str(tmp_path / "none.npz"), *words[5:]]) == 2
    assert "none.npz" in capsys.readouterr().err
