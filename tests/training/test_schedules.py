"""Pruning in turns with training: when is cut, how much, and what is left in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.training.models import HEADER, arrays, chain, network, residual, samples
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.training.dropout import kept_of_dropout
from upscale_onnx.training.pruning import Pruning, pruned_in_training
from upscale_onnx.training.schedules import SCHEDULES, Setting
from upscale_onnx.training.schedules.han import shared_out
from upscale_onnx.training.settings import Training

torch = pytest.importorskip("torch")

LAYERS = {"a": 10, "b": 20, "c": 10}
SETTING = Setting(0.4, 6, 10, LAYERS, lambda: {"a": 0.1, "b": 0.3, "c": 0.5})
QUICK = Training(epochs=3, batch=16, rate=0.02)


def test_one_shot_cuts_once() -> None:
    cuts = SCHEDULES["one-shot"].cuts(SETTING)
    assert {step: cut.amount for step, cut in cuts.items()} == {0: 0.4}


def test_gradual_follows_the_cubic_curve() -> None:
    cuts = SCHEDULES["gradual"].cuts(replace(SETTING, rounds=5, updates=4))
    assert list(cuts) == [4, 8, 12, 16, 20]
    # s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))^3 with s_i = t0 = 0, n = 5, dt = 4
    assert [cut.amount for cut in cuts.values()] == pytest.approx([0.4 - 0.4 * (1 - t / 20) ** 3 for t in cuts])


def test_soft_cuts_after_every_epoch_and_the_last_stays() -> None:
    cuts = SCHEDULES["soft"].cuts(SETTING)
    assert list(cuts) == [10, 20, 30, 40, 50]
    assert [cut.returns for cut in cuts.values()] == [True] * 4 + [False]
    assert {cut.amount for cut in cuts.values()} == {0.4}


def test_molchanov_cuts_evenly() -> None:
    cuts = SCHEDULES["molchanov"].cuts(replace(SETTING, rounds=4, updates=3))
    assert {step: round(cut.amount or 0, 6) for step, cut in cuts.items()} == {3: 0.1, 6: 0.2, 9: 0.3, 12: 0.4}
    assert SCHEDULES["molchanov"].criterion == "taylor:norm=l2"


def test_layerwise_gives_every_layer_its_time() -> None:
    cuts = SCHEDULES["layerwise"].cuts(SETTING)
    assert {step: cut.amounts for step, cut in cuts.items()} == {
        0: (("a", 0.4),), 20: (("b", 0.4),), 40: (("c", 0.4),),
    }  # fmt: skip


def test_han_shares_out_by_what_layers_tolerate() -> None:
    cuts = SCHEDULES["han"].cuts(replace(SETTING, rounds=2))
    assert list(cuts) == [0, 30]
    for cut, wanted in zip(cuts.values(), (0.2, 0.4), strict=True):
        found = dict(cut.amounts)
        assert sum(LAYERS[name] * amount for name, amount in found.items()) == pytest.approx(wanted * 40)
        assert found["b"] == pytest.approx(3 * found["a"])
    assert dict(shared_out(0.3, LAYERS, {})) == dict.fromkeys(LAYERS, 0.3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_ends_with_what_is_asked_for(tmp_path: Path, schedule: Any) -> None:
    data, val = samples(tmp_path / "x.npz", 96), samples(tmp_path / "v.npz", 40, seed=1)
    model = chain()
    found = pruned_in_training(model, Pruning(schedule, 0.4), data, val, QUICK)
    kept = kept_channels(found.model, "input")
    channels, left = sum(layer.channels for layer in kept), sum(layer.kept for layer in kept)
    assert channels == 12 + 16 + 16
    assert 1 - left / channels == pytest.approx(0.4, abs=0.07)
    assert found.course.accuracy is not None
    compiled = upscale_onnx.compile(found.model, race=False, export="gather").model
    assert sum(map(np.size, arrays(compiled).values())) < 0.85 * sum(map(np.size, arrays(model).values()))


@pytest.mark.parametrize("schedule", ["gradual", "soft", "han"])
def test_what_was_interrupted_goes_on_the_same(tmp_path: Path, schedule: Any) -> None:
    data, state = samples(tmp_path / "x.npz"), tmp_path / "o.training"
    pruning = Pruning(schedule, 0.4, rounds=None if schedule == "soft" else 3)
    whole = pruned_in_training(residual(), pruning, data, settings=QUICK)

    def interrupted(stage: str, done: float) -> None:
        if stage.startswith("epoch 3/3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruned_in_training(residual(), pruning, data, settings=QUICK, state=state, progress=interrupted)
    assert pruned_in_training(residual(), pruning, data, settings=QUICK, state=state).model == whole.model
    with pytest.raises(ArgumentError, match="with other settings"):
        pruned_in_training(residual(), replace(pruning, amount=0.3), data, settings=QUICK, state=state)


def test_soft_channels_come_back(tmp_path: Path) -> None:
    """Zeros of a soft cut are trained; those of the last cut are not."""
    from upscale_onnx.training.trainer import Trainer

    seen: list[np.ndarray[Any, Any]] = []
    honest = Trainer.replace

    def watched(self: Any, weights: Any, kept: Any = None) -> None:
        honest(self, weights, kept)
        seen.append(self.parameters.trained["w3"].detach().numpy().copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "replace", watched)
        found = pruned_in_training(chain(), Pruning("soft", 0.4), samples(tmp_path / "x.npz"), settings=QUICK)
    assert len(seen) == 2
    gone = (seen[1] == 0).all(axis=(0, 2, 3))
    assert gone.sum() == 6
    assert np.array_equal((arrays(found.model)["w3"] == 0).all(axis=(0, 2, 3)), gone)
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.parametrize("norms", ["train", "unfold"])
@pytest.mark.parametrize("side", ["input", "output"])
def test_both_sides_and_unfolded_norms(tmp_path: Path, side: Any, norms: Any) -> None:
    pruning = Pruning("gradual", 0.4, side=side, method="constrained", rounds=3)
    settings = Training(epochs=3, batch=16, rate=0.02, norms=norms)
    found = pruned_in_training(residual(), pruning, samples(tmp_path / "x.npz"), settings=settings)
    kept = kept_channels(found.model, side, "constrained")
    assert sum(layer.kept for layer in kept) <= 0.65 * sum(layer.channels for layer in kept)


def test_dropout_drops_less_where_connections_are_gone() -> None:
    text = "(float[N, 6] x) => (float[N, 3] y) { a = MatMul(x, w)  d = Dropout(a)  r = Relu(d)  y = MatMul(r, u) }"
    model = network(f"{HEADER} {text}", {"w": (6, 16), "u": (16, 3)})
    now = onnx.ModelProto()
    now.CopyFrom(model)
    half = arrays(model)["u"].copy()
    half[:12] = 0
    now.graph.initializer[1].CopyFrom(numpy_helper.from_array(half, "u"))
    assert kept_of_dropout(model, now) == {"d": pytest.approx(0.5)}


def test_what_cannot_be_is_one_line(tmp_path: Path) -> None:
    data = samples(tmp_path / "x.npz")
    with pytest.raises(ArgumentError, match=r"schedule is 'sotf'.*did you mean 'soft'"):
        Pruning("sotf", 0.4)
    with pytest.raises(ArgumentError, match=r"amount is 1\.0"):
        Pruning("soft", 1.0)
    with pytest.raises(ArgumentError, match="leave the scope out"):
        Pruning("han", 0.3, scope="global")
    with pytest.raises(ArgumentError, match="train for more epochs"):
        pruned_in_training(chain(), Pruning("gradual", 0.4, updates=100), data, settings=QUICK)
    with pytest.raises(ArgumentError, match="init 'random'"):
        pruned_in_training(chain(), Pruning("soft", 0.4), data, settings=replace(QUICK, init="random"))
