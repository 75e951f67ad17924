"""Repair of quantised models: weights are re-fitted and rounded to numbers that the model can hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat

import upscale_onnx
from tests.pruning.test_quantised import few_bits, quantised, weights
from upscale_onnx.masks.float_view import float_view
from upscale_onnx.masks.number_grid import NumberGrid
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.repair.joint import fitted_jointly
from upscale_onnx.results import Result
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array


def tensors(model: onnx.ModelProto) -> dict[str, Array]:
    """The initializers by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def images(seed: int, count: int) -> Array:
    """Images whose neighbouring pixels are alike."""
    coarse = np.random.default_rng(seed).normal(size=(count, 3, 3, 3))
    return np.kron(coarse, np.ones((1, 1, 3, 3)))[..., :8, :8].astype(np.float32)


def distance(one: onnx.ModelProto, other: onnx.ModelProto, x: Array) -> float:
    """The mean squared distance of the outputs on `x`."""
    first, second = (run(make_session(model), {"x": x}, ["y"])[0] for model in (one, other))
    return float(np.square(first.astype(np.float64) - second).mean())


def pruned_and_repaired(model: onnx.ModelProto, fit: Array, folder: Path) -> tuple[Result, Result]:
    """The compiled model that lost 0.4 of its channels, and the same with layers fitted to `fit`, shown equal."""
    np.savez(folder / "data.npz", x=fit)
    plain, found = (
        upscale_onnx.compile(
            model, amount=0.4, masks="flat", calibration=folder / "data.npz", repair=repair, align=1, race=False
        )
        for repair in (None, "lsq")
    )
    assert found.report.verification is not None
    assert found.report.verification.equal
    return plain, found


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
def test_repaired_weights_are_stored_as_the_model_stores_them(
    tmp_path: Path, form: QuantFormat, per_channel: bool
) -> None:
    model = quantised(tmp_path, form, per_channel)
    plain, found = pruned_and_repaired(model, images(1, 64), tmp_path)
    judged = images(2, 32)
    assert distance(found.model, model, judged) < 0.5 * distance(plain.model, model, judged)
    shapes = [{name: array.shape for name, array in weights(one.model).items()} for one in (plain, found)]
    assert shapes[0] == shapes[1]
    held, before = tensors(found.masked), tensors(model)
    assert all(held[name].dtype == before[name].dtype for name in before)
    scales = {name for name in before if name.endswith("_scale") and not name.startswith(("w", "b"))}
    assert scales
    assert all((held[name] == before[name]).all() for name in scales)
    for number, source in enumerate(["x", "r0", "p"]):
        bias = held.get(f"b{number}_quantized_scale")
        if bias is not None:
            np.testing.assert_allclose(bias, held[f"{source}_scale"] * held[f"w{number}_scale"], rtol=1e-6)


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
def test_scales_grow_where_values_are_out_of_range(tmp_path: Path, form: QuantFormat) -> None:
    model = quantised(tmp_path, form, True)
    view = float_view(model)
    assert view is not None
    changed, name = onnx.ModelProto(), "w1_quantized"
    changed.CopyFrom(view.model)
    tensor = next(one for one in changed.graph.initializer if one.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values[3] *= 2
    values[4] *= 0.5
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    written = view.written(changed)
    before, held = tensors(model), tensors(written)
    grown = held["w1_scale"] / before["w1_scale"]
    np.testing.assert_allclose(grown, np.where(np.arange(grown.size) == 3, grown[3], 1))
    assert 1.9 < grown[3] <= 2.01
    again = tensors(view.read(written))
    np.testing.assert_allclose(again[name], values, atol=float(held["w1_scale"].max()) / 2 * 1.001)
    np.testing.assert_allclose(view.rounded(name, values), again[name], rtol=1e-6)
    # The bias still stands for the same numbers, in multiples of the new scale.
    bias = next(one for one in before if one.startswith("b1") and before[one].dtype == np.int32 and before[one].ndim)
    original = tensors(view.model)
    np.testing.assert_allclose(again[bias], original[bias], atol=1e-3)
    assert (held[bias][3] != before[bias][3]).any()
    assert (np.delete(held[bias], 3) == np.delete(before[bias], 3)).all()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_blocks_are_repaired(tmp_path: Path, bits: int, symmetric: bool) -> None:
    model = few_bits(bits, symmetric)
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(6, 32))  # what few numbers make, so that lost channels can be made up for
    fit, judged = (rng.normal(size=(count, 6)) @ mixed for count in (512, 256))
    plain, found = pruned_and_repaired(model, fit.astype(np.float32), tmp_path)
    x = judged.astype(np.float32)
    assert distance(found.model, model, x) < 0.5 * distance(plain.model, model, x)
    assert found.report.after.parameters == plain.report.after.parameters


def test_weights_that_repair_leaves_alone_are_named(tmp_path: Path) -> None:
    model = quantised(tmp_path, QuantFormat.QDQ, False)
    reader = next(node for node in model.graph.node if node.input[0] == "w2_quantized")
    model.graph.node.append(helper.make_node("DequantizeLinear", list(reader.input), ["again"]))
    model.graph.output.append(helper.make_tensor_value_info("again", TensorProto.FLOAT, [5, 12]))
    np.savez(tmp_path / "data.npz", x=images(1, 32))
    found = upscale_onnx.compile(
        model, amount=0.4, masks="flat", calibration=tmp_path / "data.npz", repair="stats", align=1, race=False
    )
    assert "repair leaves 'w2_quantized' alone: the form of these weights is not supported" in found.report.notes
    assert any((tensors(found.masked)[name] != array).any() for name, array in tensors(model).items() if "b1" in name)


@pytest.mark.parametrize("form", list(QuantFormat), ids=str)
def test_layers_are_fitted_together_in_the_numbers_of_the_model(tmp_path: Path, form: QuantFormat) -> None:
    """Weights that were made smaller grow again, some are zero and stay so."""
    pytest.importorskip("torch")
    model = quantised(tmp_path, form, True)
    view = float_view(model)
    assert view is not None
    changed = onnx.ModelProto.FromString(view.model.SerializeToString())
    name = next(name for name in view.weights if name.startswith("w1"))
    values = tensors(view.model)[name] * np.float32(0.7)
    values[:, :4] = 0
    constant_tensors(changed)[name].CopyFrom(numpy_helper.from_array(values, name))
    fitted = fitted_jointly(view.model, changed, [{"x": images(1, 64)}], rounded=view.rounded, passes=3)
    before, after = (view.written(each) for each in (changed, fitted))
    judged = images(2, 64)
    assert distance(after, model, judged) < 0.8 * distance(before, model, judged)
    assert not tensors(after)[name][:, :4].any()
    assert {key: array.dtype for key, array in tensors(after).items()} == {
        key: array.dtype for key, array in tensors(model).items()
    }


def test_joint_repair_of_a_quantised_model_ends_in_numbers_that_it_holds(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = quantised(tmp_path, QuantFormat.QDQ, True)
    asked = Options.of(amount=0.4, masks="flat", calibration={"x": images(1, 16)})
    plain, found = (prune(model, asked.replaced(repair=repair)).model for repair in (None, "joint"))
    judged = images(2, 32)
    assert distance(found, model, judged) < 0.6 * distance(plain, model, judged)


def test_numbers_of_a_grid() -> None:
    grid = NumberGrid.of(np.array([0.5, 0.25], np.float32), np.array([3, 0], np.uint8), np.dtype(np.uint8), 0, 2)
    values = np.array([[-1.6, 0.3, 126.0], [0.1, 63.8, 0.13]])
    assert grid.stored(values).tolist() == [[0, 4, 255], [0, 255, 1]]
    assert grid.made(grid.stored(values)).tolist() == [[-1.5, 0.5, 126.0], [0.0, 63.75, 0.25]]
    assert grid.widened(values).scale.tolist() == grid.scale.tolist()
    wide = grid.widened(np.array([[-6.0, 0.0, 0.0], [0.0, 127.5, 0.0]]))
    assert wide.scale.ravel().tolist() == [2.0, 0.5]
    assert wide.stored(np.array([[-6.0], [127.5]])).tolist() == [[0], [255]]
