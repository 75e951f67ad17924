"""Training on a device of its own: nothing is left on the processor, and the weights are the same.

`test_devices.py` runs these tests in a process of its own, as PyTorch keeps a device that it was taught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.pruned import pruned
from tests.training.models import HEADER, arrays, chain, network, residual, samples
from tests.training.simulated_device import simulated_device
from upscale_onnx.options import Options
from upscale_onnx.repair.joint import fitted_jointly
from upscale_onnx.runtime.activations import batches_of
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.settings import Training

torch = pytest.importorskip("torch")

QUICK = Training(epochs=2, batch=16, rate=0.05)


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Trains on the simulated device from then on."""
    device = simulated_device()
    return lambda: monkeypatch.setattr("upscale_onnx.training.trainer.device_of", lambda name: device)


def test_the_device_refuses_tensors_of_the_processor() -> None:
    device = simulated_device()
    one = torch.ones(3, device=device)
    assert (one + 1.0).cpu().tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(RuntimeError, match="on one device"):
        one + torch.ones(3)


def many() -> onnx.ModelProto:
    """Operators that pick, pad, resize and compare by constants, and Dropout."""
    return network(
        f"""{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4] y) {{
            around = Constant<value = int64[8] {{0, 0, 1, 1, 0, 0, 1, 1}}>()
            order = Constant<value = int64[3] {{2, 0, 1}}>()
            start = Constant<value = int64[1] {{-1}}>() end = Constant<value = int64[1] {{-100}}>()
            axis = Constant<value = int64[1] {{3}}>() back = Constant<value = int64[1] {{-1}}>()
            none = Constant<value = float[0] {{}}>() sizes = Constant<value = float[4] {{1.0, 1.0, 2.0, 2.0}}>()
            zero = Constant<value = float {{0.0}}>() two = Constant<value = float {{2.0}}>()
            share = Constant<value = float {{0.25}}>()
            a = Pad<mode = "edge">(x, around) b = Gather<axis = 1>(a, order)
            c = Slice(b, start, end, axis, back) d = Conv(c, w1)
            e = Resize<mode = "linear">(d, none, sizes) f = Conv<strides = [2, 2]>(e, w2, c2)
            g = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]>(f)
            h = Greater(g, zero) i = Pow(g, two) j = Where(h, g, i) k = Dropout(j, share)
            l = GlobalAveragePool(k) m = Flatten(l) y = Gemm<transB = 1>(m, w4, c4) }}""",
        {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "c2": (8,), "w4": (4, 8), "c4": (4,)},
    )


def loop() -> onnx.ModelProto:
    """A layer that is applied twice in a Loop."""
    body = """body (int64 i, bool go, float[n, 8, 8, 8] s) => (bool on, float[n, 8, 8, 8] t) {
        on = Identity(go) q = Conv<pads = [1, 1, 1, 1]>(s, w2) t = Relu(q) }"""
    return network(
        f"""{HEADER} (float[n, 3, 8, 8] x) => (float[n, 4] y) {{
            rounds = Constant<value = int64 {{2}}>() yes = Constant<value = bool {{1}}>()
            a = Conv<pads = [1, 1, 1, 1]>(x, w1) b = Loop(rounds, yes, a) <body = {body}>
            p = GlobalAveragePool(b) q0 = Flatten(p) y = Gemm<transB = 1>(q0, w4) }}""",
        {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w4": (4, 8)},
    )


@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (residual, {"augment": "crop-flip"}),
        (residual, {"augment": "flip", "optimizer": "adam", "init": "random", "l1": 1e-4}),
        (chain, {"norms": "unfold", "optimizer": "adamw", "label_smoothing": 0.1}),
        (chain, {"norms": "freeze"}),
        (many, {}),
        (loop, {}),
    ],
)
def test_a_device_trains_the_same_weights(tmp_path: Path, on_device: Any, build: Any, changes: dict[str, Any]) -> None:
    data, settings = samples(tmp_path / "x.npz"), replace(QUICK, **changes)
    expected = finetune(build(), data, settings=settings)
    on_device()
    found = finetune(build(), data, settings=settings)
    assert arrays(expected.model).keys() == arrays(found.model).keys()
    for name, array in arrays(found.model).items():
        np.testing.assert_array_equal(array, arrays(expected.model)[name])
    assert [epoch.loss for epoch in found.course.epochs] == [epoch.loss for epoch in expected.course.epochs]


def test_a_teacher_and_samples_that_are_no_images(tmp_path: Path, on_device: Any) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(64, 6)).astype(np.float32), y=rng.integers(0, 3, 64))
    text = f"{HEADER} (float[N, 6] x) => (float[N, 3] y) {{ a = Gemm(x, w1, c1) b = Relu(a) y = Gemm(b, w2) }}"
    shapes = {"w1": (6, 8), "c1": (8,), "w2": (8, 3)}
    model, teacher = network(text, shapes), network(text, shapes, seed=1)
    expected = finetune(model, tmp_path / "x.npz", settings=QUICK, teacher=teacher)
    on_device()
    found = finetune(model, tmp_path / "x.npz", settings=QUICK, teacher=teacher)
    assert found.model == expected.model


def test_what_was_stopped_on_a_device_goes_on_there(tmp_path: Path, on_device: Any) -> None:
    on_device()
    data, state = samples(tmp_path / "x.npz"), tmp_path / "state"
    settings = replace(QUICK, epochs=3, optimizer="adam", augment="crop-flip")
    whole = finetune(residual(), data, settings=settings)

    def stop(stage: str, share: float) -> None:
        if stage.startswith("epoch 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(residual(), data, settings=settings, state=state, progress=stop)
    kept = torch.load(state, weights_only=True)["trainer"]
    assert {value.device.type for value in kept["values"].values()} == {"cpu"}
    assert finetune(residual(), data, settings=settings, state=state).model == whole.model


@pytest.mark.parametrize("schedule", ["one-shot", "soft", "molchanov"])
def test_channels_are_pruned_on_a_device(tmp_path: Path, on_device: Any, schedule: Any) -> None:
    data = samples(tmp_path / "x.npz", 128)
    pruning = upscale_onnx.Pruning(schedule, amount=0.4, rounds=2, updates=2)
    settings = replace(QUICK, epochs=3)
    expected = upscale_onnx.prune(residual(), pruning, data, settings=settings, race=False)
    on_device()
    found = upscale_onnx.prune(residual(), pruning, data, settings=settings, race=False)
    assert found.masked == expected.masked


def test_all_layers_are_fitted_together_on_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    model = residual()
    masked, _ = pruned(model, Options.of(amount=0.5, masks="flat"))
    batches = batches_of({"x": np.random.default_rng(0).normal(size=(64, 3, 8, 8)).astype(np.float32)}, 16)
    expected = fitted_jointly(model, masked, batches, passes=2)
    assert expected != masked
    device = simulated_device()
    monkeypatch.setattr("upscale_onnx.torch_backend.devices.device_of", lambda name: device)
    assert fitted_jointly(model, masked, batches, passes=2) == expected
