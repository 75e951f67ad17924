"""Steps of training are those that torch itself takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from tests.training.models import arrays, chain, network, residual, samples
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.training.settings import Training

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from upscale_onnx.torch_backend.network import TorchNetwork  # noqa: E402
from upscale_onnx.training.images import TrainingData, training_data  # noqa: E402
from upscale_onnx.training.optimizing import rate_at  # noqa: E402
from upscale_onnx.training.trainer import Trainer  # noqa: E402


def _data(model: Any, path: Path, count: int = 64, batch: int = 16) -> TrainingData:
    return training_data(model, samples(path / "x.npz", count), Preprocessing(), "none", batch)


def _scores(model: Any, x: Any) -> Any:
    return TorchNetwork(model).run({"x": x.contiguous().numpy()})["y"]


def _native(p: dict[str, Any], x: Any) -> Any:
    """`residual` written in torch; running statistics are changed in place."""

    def normed(read: Any, key: str) -> Any:
        made = functional.conv2d(read, p[f"w{key}"], padding=1)
        return functional.batch_norm(
            made, p[f"m{key}"], p[f"v{key}"], p[f"s{key}"], p[f"b{key}"], training=True, momentum=0.1
        )

    t = functional.relu(normed(x, "0"))
    for block in "12":
        t = functional.relu(normed(functional.relu(normed(t, f"{block}a")), f"{block}b") + t)
    return functional.linear(t.mean(dim=(2, 3)), p["w4"], p["c4"])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_three_steps_are_those_of_torch(tmp_path: Path, optimizer: Any) -> None:
    model = residual()
    data = _data(model, tmp_path, 48)
    settings = Training(
        epochs=1,
        batch=16,
        optimizer=optimizer,
        rate=0.02 if optimizer == "sgd" else 2e-3,
        weight_decay=0.01,
        label_smoothing=0.1,
    )
    trainer = Trainer(model, data, settings)
    p = {name: torch.tensor(value) for name, value in arrays(model).items()}
    free = [value.requires_grad_() for name, value in p.items() if name[0] not in "mv"]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}.get(optimizer)
    if kind is None:
        native = torch.optim.SGD(free, 0.02, momentum=0.9, nesterov=True, weight_decay=0.01)
    else:
        native = kind(free, 2e-3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for step, rows in enumerate(torch.randperm(48, generator=generator).split(16)):
        native.param_groups[0]["lr"] = rate_at(step, 3, settings)
        native.zero_grad()
        x = data.samples[rows].float() / 255
        functional.cross_entropy(_native(p, x), data.labels[rows], label_smoothing=0.1).backward()
        native.step()
    trainer.epoch(0)
    written = arrays(trainer.model())
    assert written.keys() == p.keys()
    changed = arrays(model)
    for name, value in p.items():
        np.testing.assert_allclose(written[name], value.detach().numpy(), atol=1e-5, err_msg=name)
        assert np.abs(written[name] - changed[name]).max() > 1e-5, name


def test_frozen_norms_stay_to_the_bit(tmp_path: Path) -> None:
    model = residual()
    data = _data(model, tmp_path)
    trainer = Trainer(model, data, Training(epochs=1, batch=16, norms="freeze"))
    trainer.epoch(0)
    before, after = arrays(model), arrays(trainer.model())
    for name in before:
        assert np.array_equal(before[name], after[name]) == (name[0] in "sbmv"), name


def test_unfolded_norms_change_nothing_before_training_and_follow_the_batches_then(tmp_path: Path) -> None:
    model = chain()
    data = _data(model, tmp_path)
    trainer = Trainer(model, data, Training(epochs=1, batch=16, norms="unfold", rate=0.05))
    assert set(trainer.parameters.unfolded) == {"w2", "w3"}, "w1 has a norm"
    before, first = arrays(model), arrays(trainer.model())
    for name in ("w2", "c2", "w3", "c3"):
        np.testing.assert_allclose(first[name], before[name], rtol=1e-4, atol=1e-5)
    trainer.epoch(0)
    written = trainer.model()
    assert [node.op_type for node in written.graph.node] == [node.op_type for node in model.graph.node]
    assert np.abs(arrays(written)["w2"] - before["w2"]).max() > 1e-3


def test_dropout_drops_while_training_and_not_after(tmp_path: Path) -> None:
    model = network(
        """<ir_version: 8, opset_import: ["" : 17]> net (float[N, 6] x) => (float[N, 3] y) {
            a = MatMul(x, w)  b = Relu(a)  d = Dropout(b, ratio)  y = MatMul(d, u) }""",
        {"w": (6, 64), "u": (64, 3)},
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    np.savez(tmp_path / "x.npz", x=np.ones((8, 6), np.float32), y=np.zeros(8, np.int64))
    data = training_data(model, str(tmp_path / "x.npz"), Preprocessing(), "none", 8)
    trainer = Trainer(model, data, Training(epochs=1, batch=8))
    with torch.no_grad():
        rows = trainer._scores(data.first())
    assert np.ptp(rows.numpy(), axis=0).max() > 0.01, "equal samples, of which different units are dropped"
    assert np.ptp(_scores(trainer.model(), data.first()).numpy(), axis=0).max() < 1e-6


def test_a_penalty_counts_while_it_is_set(tmp_path: Path) -> None:
    model = chain()
    trainer = Trainer(model, _data(model, tmp_path), Training(batch=16, schedule="constant", weight_decay=0.0))
    trainer.epoch(0)
    before = trainer.weights()
    trainer.penalty = lambda weights: 1e3 * ((weights["w3"] - 0.1) ** 2).sum() / weights["w3"].numel()
    trainer.epoch(1)
    after = trainer.weights()
    assert np.abs(after["w3"] - 0.1).mean() < 0.5 * np.abs(before["w3"] - 0.1).mean()
    trainer.penalty = None
    trainer.epoch(2)
    assert np.abs(trainer.weights()["w3"] - after["w3"]).max() > 1e-4


def test_replaced_weights_are_those_that_train_from_then_on(tmp_path: Path) -> None:
    model = chain()
    trainer = Trainer(model, _data(model, tmp_path), Training(batch=16))
    half = np.arange(16 * 12 * 9).reshape(16, 12, 3, 3) % 2 == 0
    w2 = trainer.weights()["w2"] * half
    trainer.replace({"w2": w2})
    assert np.array_equal(arrays(trainer.model())["w2"], w2)
    trainer.epoch(0)
    assert (trainer.weights()["w2"] != 0).mean() > 0.8, "nothing was said of what may change"
    trainer.replace({"w2": w2}, {"w2": half})
    state = _saved(tmp_path, trainer.state())
    trainer.epoch(1)
    after = trainer.weights()
    assert np.array_equal(after["w2"] != 0, half)
    assert (after["w3"] != 0).all()
    again = Trainer(model, trainer.data, Training(batch=16))
    again.restore(torch.load(state, weights_only=True))
    again.epoch(1)
    assert all(np.array_equal(value, after[name]) for name, value in again.weights().items())
    shift = np.arange(12) % 2 == 0
    trainer.replace({}, {"b1": shift})
    trainer.epoch(2)
    assert np.array_equal(trainer.weights()["b1"] != after["b1"], shift)
    assert (trainer.weights()["s1"] != after["s1"]).all(), (
        "a shift that may not change does not make a channel constant"
    )


def _saved(folder: Path, state: Any) -> Path:
    torch.save(state, folder / "state")
    return folder / "state"


@pytest.mark.parametrize(
    ("way", "mirrors", "shifts"), [("flip", True, False), ("crop", False, True), ("crop-flip", True, True)]
)
def test_images_are_mirrored_and_shifted_as_asked(tmp_path: Path, way: Any, mirrors: bool, shifts: bool) -> None:
    np.savez(
        tmp_path / "x.npz",
        x=np.tile(np.arange(64, dtype=np.uint8).reshape(8, 8, 1), (64, 1, 1, 3)),
        y=np.zeros(64, int),
    )
    data = training_data(chain(), str(tmp_path / "x.npz"), Preprocessing(scale=False), way, 64)
    ((x, _),) = data.epoch(torch.Generator().manual_seed(0))
    steps = x[:, 0, 3, 4] - x[:, 0, 3, 3]
    assert set(steps.tolist()) == ({1.0, -1.0} if mirrors else {1.0})
    assert (len(set(x[:, 0, 3].mean(dim=1).tolist())) > 1) == shifts
    assert torch.equal(data.first()[0, 0], torch.arange(64.0).reshape(8, 8))
