"""Fine-tuning as a whole: samples, going on after a kill, what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.training.models import HEADER, arrays, chain, network, residual, samples
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError, InternalError, ModelError
from upscale_onnx.measures.accuracy import Preprocessing, evaluate
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.settings import Training

torch = pytest.importorskip("torch")

QUICK = Training(epochs=2, batch=16, rate=0.05)


def test_accuracy_rises_and_is_that_of_onnxruntime(tmp_path: Path) -> None:
    data, val = samples(tmp_path / "x.npz", 128), samples(tmp_path / "v.npz", 50, seed=1)
    look = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    settings = Training(epochs=6, batch=16, rate=0.1, augment="none")
    found = upscale_onnx.finetune(residual(), data, val, settings, preprocessing=look)
    course = found.course
    assert course.accuracy == evaluate(found.model, val, look).top1
    assert course.before == evaluate(residual(), val, look).top1
    assert course.accuracy is not None
    assert course.before is not None
    assert course.accuracy > course.before + 0.3
    assert course.norms == 5
    assert len(course.trained) == 5 * 3 + 2
    validations = [epoch.accuracy or 0 for epoch in course.epochs]
    assert course.kept == 1 + int(np.argmax(validations)), "the earlier of equals"
    assert course.accuracy == max(validations)
    last = finetune(residual(), data, val, Training(epochs=2, batch=16, rate=1e-9, keep="last"), look, limit=20)
    assert last.course.kept == 2, "of equal accuracies, the last"
    assert last.course.before == evaluate(residual(), val, look, limit=20).top1


def test_weights_in_bodies_are_trained() -> None:
    """The branch is chosen by the image; both have the layers of one network."""
    one, other = (
        f"{name} () => (float[n, 4, 1, 1] {name}_r) {{ {name}_e = Conv<pads = [1, 1, 1, 1]>(c, {weight})"
        f" {name}_f = Relu({name}_e) {name}_r = GlobalAveragePool({name}_f) }}"
        for name, weight in (("yes", "w2"), ("no", "w3"))
    )
    model = network(
        f"""{HEADER} (float[n, 3, 8, 8] x) => (float[n, 4] y) {{
            zero = Constant<value = float {{0.0}}>()
            a = Conv<pads = [1, 1, 1, 1]>(x, w1) c = Relu(a) m = ReduceMean<keepdims = 0>(x) o = Greater(m, zero)
            r = If (o) <then_branch = {one}, else_branch = {other}> y = Flatten(r) }}""",
        {"w1": (8, 3, 3, 3), "w2": (4, 8, 3, 3), "w3": (4, 8, 3, 3)},
    )
    rng = np.random.default_rng(0)
    data = {"x": rng.integers(0, 200, (64, 8, 8, 3)).astype(np.uint8), "y": np.arange(64) % 4}
    found = finetune(model, data, data, replace(QUICK, epochs=1, augment="none"))
    before, after = arrays(model), arrays(found.model)
    assert set(found.course.trained) == {"w1", "w2", "w3"}
    assert (after["w1"] != before["w1"]).any()
    assert (after["w2"] != before["w2"]).any()  # images are brighter than zero
    np.testing.assert_array_equal(after["w3"], before["w3"])


def test_arrays_are_what_they_are_in_a_file(tmp_path: Path) -> None:
    paths = samples(tmp_path / "x.npz", 64), samples(tmp_path / "v.npz", 20, seed=1)
    held = []
    for path in paths:
        with np.load(path) as file:
            held.append({name: file[name] for name in file})
    found, same = finetune(residual(), *held, QUICK), finetune(residual(), *paths, QUICK)
    assert found.model == same.model
    assert [epoch.accuracy for epoch in found.course.epochs] == [epoch.accuracy for epoch in same.course.epochs]
    state = tmp_path / "o.training"
    with pytest.raises(KeyboardInterrupt):
        finetune(residual(), *held, QUICK, state=state, progress=_interrupted("epoch 2/2"))
    with pytest.raises(ArgumentError, match="settings"):
        finetune(residual(), held[0], held[0], QUICK, state=state)
    assert finetune(residual(), *held, QUICK, state=state).model == found.model


@pytest.mark.parametrize("augment", ["flip", "crop-flip"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_bytes_again_and_after_a_pause(tmp_path: Path, augment: Any, optimizer: Any) -> None:
    data, state = samples(tmp_path / "x.npz"), tmp_path / "o.training"
    settings = Training(epochs=3, batch=16, rate=0.01, augment=augment, optimizer=optimizer)
    whole = finetune(residual(), data, settings=settings)
    assert finetune(residual(), data, settings=settings).model == whole.model
    with pytest.raises(KeyboardInterrupt):
        finetune(residual(), data, settings=settings, state=state, progress=_interrupted("epoch 2/3"))
    begun: list[str] = []
    again = finetune(residual(), data, settings=settings, state=state, progress=lambda stage, done: begun.append(stage))
    assert again.model == whole.model
    assert not any(stage.startswith("epoch 1/3") for stage in begun), "the first epoch is not trained again"
    assert [e.loss for e in again.course.epochs] == [e.loss for e in whole.course.epochs]


def _interrupted(stop: str) -> Callable[[str, float], None]:
    """Progress that ends at a stage."""

    def tell(stage: str, done: float) -> None:
        if stage.startswith(stop):
            raise KeyboardInterrupt

    return tell


def test_what_was_killed_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(chain(), "in.onnx")
    samples(tmp_path / "x.npz", 256)
    command = ["finetune", "in.onnx", "out.onnx", "--data", "x.npz", "--epochs", "8", "--batch", "8", "-q"]
    killed = subprocess.Popen([sys.executable, "-m", "upscale_onnx", *command], stdout=subprocess.DEVNULL)
    state = Path("out.onnx.training")
    while not state.exists() and killed.poll() is None:
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, "it was still training"
    assert not Path("out.onnx").exists()
    assert main([*command, "--rate", "0.5"]) == 2
    assert main(command) == 0
    resumed = Path("out.onnx").read_bytes()
    assert not state.exists()
    assert main(command) == 0
    assert Path("out.onnx").read_bytes() == resumed


def test_a_state_of_other_things_is_said(tmp_path: Path) -> None:
    data, state = samples(tmp_path / "x.npz"), tmp_path / "o.training"
    finetune(chain(), data, settings=QUICK, state=state)
    with pytest.raises(ArgumentError, match="with other model: remove"):
        finetune(chain(1), data, settings=QUICK, state=state)
    with pytest.raises(ArgumentError, match="with other data: remove"):
        finetune(chain(), samples(tmp_path / "z.npz", seed=3), settings=QUICK, state=state)
    with pytest.raises(ArgumentError, match="with other settings: remove"):
        finetune(chain(), data, settings=replace(QUICK, rate=0.1), state=state)
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ArgumentError, match="is damaged: remove"):
        finetune(chain(), data, settings=QUICK, state=state)


def test_a_teacher_teaches_without_labels(tmp_path: Path) -> None:
    data, val = samples(tmp_path / "x.npz", 128), samples(tmp_path / "v.npz", 60, seed=1)
    teacher = finetune(residual(), data, val, Training(epochs=6, batch=16, rate=0.1)).model
    with np.load(data) as known:
        np.savez(tmp_path / "bare.npz", x=known["x"])
    settings = Training(epochs=8, batch=16, rate=0.05, distill_weight=1.0, temperature=2.0)
    bare = tmp_path / "bare.npz"
    pupil = finetune(residual(5), bare, val, settings, teacher=teacher)
    assert pupil.course.accuracy is not None
    assert pupil.course.accuracy > 0.6
    assert pupil.course.epochs[0].train_accuracy is None
    with pytest.raises(ArgumentError, match="has no labels"):
        finetune(residual(5), bare, val, Training(epochs=1, batch=16), teacher=teacher)


def test_dropout_depends_on_the_seed_alone(tmp_path: Path) -> None:
    text = "(float[N, 6] x) => (float[N, 3] y) { a = MatMul(x, w)  d = Dropout(a)  r = Relu(d)  y = MatMul(r, u) }"
    model = network(f"{HEADER} {text}", {"w": (6, 32), "u": (32, 3)})
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(40) % 3)
    found = []
    for own in (1, 2):
        torch.manual_seed(own)
        found.append(finetune(model, tmp_path / "x.npz", settings=QUICK).model)
    assert found[0] == found[1]


def test_samples_that_are_no_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=(x[:, 0] > x[:, 1]).astype(np.int64))
    model = network(
        f"{HEADER} (float[N, 6] x) => (float[N, 2] y) {{ a = MatMul(x, w)  b = Add(a, t)  c = PRelu(b, k) "
        "d = MatMul(c, u)  y = Softmax(d) }",
        {"w": (6, 16), "t": (16,), "k": (16,), "u": (16, 2)},
    )
    data = tmp_path / "x.npz"
    few = tmp_path / "v.npz"
    np.savez(few, x=x[:45], y=(x[:45, 0] > x[:45, 1]).astype(np.int64))
    found = finetune(model, data, few, Training(epochs=8, batch=20, rate=0.2))
    assert found.course.accuracy is not None
    assert found.course.accuracy > 0.9
    assert (found.course.accuracy * 45) % 1 == pytest.approx(0, abs=1e-9), "all are judged on"
    assert finetune(model, data, few, QUICK, limit=4).course.accuracy in (0, 0.25, 0.5, 0.75, 1)
    assert set(found.course.trained) == {"w", "t", "k", "u"}
    np.savez(tmp_path / "z.npz", z=x)
    with pytest.raises(ArgumentError, match="training needs an array 'x'"):
        finetune(model, tmp_path / "z.npz")
    with pytest.raises(ArgumentError, match="only images are augmented"):
        finetune(model, data, settings=Training(augment="flip"))
    with pytest.raises(ArgumentError, match="only images are augmented and preprocessed"):
        finetune(model, data, preprocessing=Preprocessing((0.5,)))


def test_constants_that_are_not_learned_stay(tmp_path: Path) -> None:
    model = network(
        f"""{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4] y) {{
            n = Sub(x, mean)  c = Conv<pads = [1, 1, 1, 1]>(n, w)  h = Clip(c, low, high)  half = Mul(h, two)
            p = GlobalAveragePool(half)  z = Shape(p)  f = Reshape(p, form)  g = Mul(f, gain)  y = MatMul(g, u) }}""",
        {"mean": (1, 3, 1, 1), "w": (8, 3, 3, 3), "gain": (8,), "u": (8, 4)},
    )
    for name, value in {"low": np.float32(0), "high": np.float32(6), "two": np.float32(2)}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1, 8]), "form"))
    found = finetune(model, samples(tmp_path / "x.npz"), settings=QUICK)
    assert set(found.course.trained) == {"w", "gain", "u"}
    before, after = arrays(model), arrays(found.model)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == {"w", "gain", "u"}


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    model, data = chain(), samples(tmp_path / "x.npz")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 8
    found = finetune(model, data, data, Training(epochs=1))
    assert found.course.batch == 8
    assert "batches of 8" in found.course.notes[0]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(ArgumentError, match="batches of one sample"):
        finetune(model, data)


def test_bfloat16(tmp_path: Path) -> None:
    data = samples(tmp_path / "x.npz")
    half = finetune(residual(), data, settings=Training(epochs=1, batch=16, precision="bfloat16"))
    full = finetune(residual(), data, settings=Training(epochs=1, batch=16))
    assert 0 < abs(half.course.epochs[0].loss - full.course.epochs[0].loss) < 0.05


def test_l1_draws_weights_to_zero(tmp_path: Path) -> None:
    data = samples(tmp_path / "x.npz")
    plain = finetune(chain(), data, settings=Training(epochs=2, batch=16, weight_decay=0.0)).model
    drawn = finetune(chain(), data, settings=Training(epochs=2, batch=16, weight_decay=0.0, l1=0.1)).model
    assert np.abs(arrays(drawn)["w2"]).sum() < 0.9 * np.abs(arrays(plain)["w2"]).sum()


def test_what_cannot_be_trained_is_one_line(tmp_path: Path) -> None:
    data = samples(tmp_path / "x.npz")
    with pytest.raises(ArgumentError, match="not finite in epoch 1: lower the learning rate"):
        finetune(residual(), data, settings=Training(epochs=2, batch=16, rate=1e30), state=tmp_path / "s")
    assert not (tmp_path / "s").exists()
    with pytest.raises(ArgumentError, match="less than one batch of 128"):
        finetune(residual(), data)
    with pytest.raises(ArgumentError, match="labels reach from 0 to 6, the model has 4 classes"):
        finetune(residual(), samples(tmp_path / "w.npz", classes=7), settings=QUICK)
    with pytest.raises(ArgumentError, match="the model takes"):
        finetune(residual(), samples(tmp_path / "w.npz", size=10), settings=QUICK)
    sums = network(
        f"{HEADER} (float[N, 6] x) => (float[N, 6] y) {{ a = MatMul(x, w)  one = Constant<value = int64 {{1}}>() "
        "y = CumSum(a, one) }",
        {"w": (6, 6)},
    )
    np.savez(tmp_path / "f.npz", x=np.ones((20, 6), np.float32), y=np.zeros(20, np.int64))
    with pytest.raises(ArgumentError, match=r"^the model cannot be trained: CumSum 'y' has no gradient here$"):
        finetune(sums, tmp_path / "f.npz", settings=QUICK)
    maps = network(f"{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) {{ y = Conv(x, w) }}", {"w": (4, 3, 1, 1)})
    with pytest.raises(ArgumentError, match=r"first output is \(16, 4, 8, 8\) for 16 samples: it takes one score per"):
        finetune(maps, data, settings=QUICK)
    two = network(f"{HEADER} (float[N, 6] x, float[N, 6] z) => (float[N, 6] y) {{ y = Add(x, z) }}", {})
    with pytest.raises(ModelError, match="2 inputs"):
        finetune(two, tmp_path / "f.npz", settings=QUICK)
    bare = network(f"{HEADER} (float[N, 6] x) => (float[N, 6] y) {{ y = Relu(x) }}", {})
    with pytest.raises(ArgumentError, match="no weight that could be trained"):
        finetune(bare, tmp_path / "f.npz", settings=QUICK)


@pytest.mark.parametrize(
    "wrong", [{"optimizer": "sdg"}, {"epochs": 0}, {"rate": -1.0}, {"momentum": 1.0}, {"distill_weight": 2.0}]
)
def test_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=f"{next(iter(wrong))} is"):
        Training(**wrong)


def test_a_difference_from_onnxruntime_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from upscale_onnx.training import checking

    honest = checking.array
    monkeypatch.setattr(checking, "array", lambda value: honest(value) + 0.5)
    data = samples(tmp_path / "x.npz")
    with pytest.raises(InternalError, match="computes something else in onnxruntime"):
        finetune(residual(), data, data, QUICK)


def test_torch_is_asked_for_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArgumentError, match="training needs PyTorch"):
        finetune(chain(), tmp_path / "x.npz")
