"""What is pruned stays pruned, and a compile removes as much after training as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.training.models import HEADER, arrays, chain, network, residual, samples
from upscale_onnx.masks.targets import constant_tensors, mask_targets
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.training.finetune import finetune
from upscale_onnx.training.settings import Training

pytest.importorskip("torch")

from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.training.images import training_data
from upscale_onnx.training.trainer import Trainer


def _parameters(model: onnx.ModelProto) -> int:
    compiled = upscale_onnx.compile(model, race=False, verify=False, export="gather").model
    return sum(array.size for array in arrays(compiled).values())


@pytest.mark.parametrize("norms", ["train", "freeze", "unfold"])
@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(("build", "method"), [(chain, "unconstrained"), (residual, "constrained")])
def test_a_compile_removes_as_much_as_before(tmp_path: Path, build: Any, method: Any, side: Any, norms: Any) -> None:
    masked = prune(build(), Options.of(amount=0.4, masks="flat", side=side, method=method)).model
    data = samples(tmp_path / "x.npz")
    trained = finetune(masked, data, settings=Training(epochs=2, batch=16, rate=0.05, norms=norms)).model
    before, after = arrays(masked), arrays(trained)
    weights = {target.weight for target in mask_targets(masked)}
    for name in weights:
        assert not after[name][before[name] == 0].any(), name
        assert np.abs(after[name] - before[name]).max() > 1e-4, name
    assert {(t.name, tuple(t.dims), t.data_type) for t in trained.graph.initializer} == {
        (t.name, tuple(t.dims), t.data_type) for t in masked.graph.initializer
    }
    assert _parameters(trained) <= _parameters(masked) < sum(array.size for array in before.values())


def _with(model: onnx.ModelProto, **values: Any) -> onnx.ModelProto:
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for name, array in values.items():
        constant_tensors(found)[name].CopyFrom(numpy_helper.from_array(array, name))
    return found


def test_the_constant_of_a_row_of_zeros_stays(tmp_path: Path) -> None:
    model, known = chain(), arrays(chain())
    w1, w2, c2 = known["w1"].copy(), known["w2"].copy(), known["c2"].copy()
    w1[:4], w2[:5], c2[:3] = 0, 0, 0
    masked = _with(model, w1=w1, w2=w2, c2=c2)
    after = arrays(finetune(masked, samples(tmp_path / "x.npz"), settings=Training(epochs=2, batch=16, rate=0.1)).model)
    for name in ("s1", "b1", "m1", "v1"):  # the norm of a constant channel makes the same constant
        assert np.array_equal(after[name][:4], known[name][:4]), name
        assert not np.isclose(after[name][4:], known[name][4:], atol=1e-6).any(), name
    assert np.array_equal(after["c2"][:5], c2[:5])
    assert not np.isclose(after["c2"][5:], c2[5:], atol=1e-6).any()


def test_a_constant_that_a_norm_makes_of_a_bias_stays(tmp_path: Path) -> None:
    """Training normalises by the batch, which would make the shift alone of a channel that holds the bias."""
    model = network(
        f"""{HEADER} (float[N, 3, 8, 8] x) => (float[N, 4] y) {{
            a = Conv(x, w1, c1)  b = BatchNormalization(a, s1, b1, m1, v1)
            p = GlobalAveragePool(b)  q = Flatten(p)  y = Gemm<transB = 1>(q, w2, c2) }}""",
        {"w1": (6, 3, 1, 1), "c1": (6,), "s1": (6,), "b1": (6,), "m1": (6,), "v1": (6,), "w2": (4, 6), "c2": (4,)},
    )
    known = arrays(model)
    w1 = known["w1"].copy()
    w1[:2] = 0
    data = training_data(model, samples(tmp_path / "x.npz"), Preprocessing(), "none", 16)
    trainer = Trainer(_with(model, w1=w1), data, Training(batch=16))
    wanted = (known["c1"] - known["m1"]) / np.sqrt(known["v1"] + 1e-5) * known["s1"] + known["b1"]
    np.testing.assert_allclose(trainer.weights()["b1"][:2], wanted[:2], rtol=1e-5)
    trainer.epoch(0)
    after = arrays(trainer.model())
    for name in ("c1", "s1", "b1", "m1", "v1"):
        assert np.array_equal(after[name][:2], known[name][:2]), name


def test_single_zeros_stay(tmp_path: Path) -> None:
    w2 = arrays(chain())["w2"].copy()
    w2[np.random.default_rng(1).random(w2.shape) < 0.6] = 0
    settings = Training(epochs=2, batch=16, rate=0.05)
    found = arrays(finetune(_with(chain(), w2=w2), samples(tmp_path / "x.npz"), settings=settings).model)["w2"]
    assert np.array_equal(found != 0, w2 != 0)


def test_random_initialisation_keeps_the_mask_and_follows_he(tmp_path: Path) -> None:
    masked = prune(residual(), Options.of(amount=0.4, masks="flat")).model
    settings = Training(epochs=1, batch=16, rate=1e-9, init="random", weight_decay=0.0)
    before, after = arrays(masked), arrays(finetune(masked, samples(tmp_path / "x.npz"), settings=settings).model)
    for name in ("w1a", "w2b"):
        assert np.array_equal(after[name] == 0, before[name] == 0)
        std = after[name][after[name] != 0].std()
        assert std == pytest.approx(np.sqrt(2 / (9 * before[name].shape[1])), rel=0.1)
    assert np.allclose(after["s1a"], 1)
    assert np.allclose(after["c4"], 0, atol=1e-6)


def test_half_precision_is_trained_in_single_and_stored_in_half(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> net (float16[N, 3, 8, 8] x) => (float16[N, 4] y) {
            c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)
            y = Gemm<transB = 1>(f, u, d) }"""
    )
    rng = np.random.default_rng(0)
    for name, shape in {"w": (8, 3, 3, 3), "b": (8,), "u": (4, 8), "d": (4,)}.items():
        values = (0.3 * rng.normal(size=shape)).astype(np.float16)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    before = arrays(model)
    found = finetune(model, samples(tmp_path / "x.npz"), samples(tmp_path / "v.npz"), Training(epochs=2, batch=16))
    after = arrays(found.model)
    assert {array.dtype for array in after.values()} == {np.dtype(np.float16)}
    assert all(not np.array_equal(before[name], after[name]) for name in before)
    assert found.course.accuracy is not None
