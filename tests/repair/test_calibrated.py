"""Criteria that need calibration data, and repair, through a whole compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.pruned import pruned
from upscale_onnx import compile
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria.activation import ActivationCriterion
from upscale_onnx.options import Options
from upscale_onnx.pruning.criteria import CRITERIA
from upscale_onnx.runtime.activations import batches_of, value_batches
from upscale_onnx.runtime.samples import load_calibration


def _network(batch: int | str = "N") -> onnx.ModelProto:
    """Two convolutions with a BatchNormalization and a Relu between them, and a classifier."""
    rng = np.random.default_rng(0)
    tensors: dict[str, NDArray[Any]] = {
        "w0": rng.normal(size=(12, 3, 3, 3)) / 4,
        "gamma": np.linspace(-2, 2, 12) ** 3 + 0.1,
        "beta": rng.normal(size=12),
        "mean": rng.normal(size=12) / 4,
        "variance": rng.uniform(0.5, 2, 12),
        "w1": rng.normal(size=(10, 12, 1, 1)),
        "fc": rng.normal(size=(10, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c0"], "c0", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c0", "gamma", "beta", "mean", "variance"], ["n0"], "n0"),
        helper.make_node("Relu", ["n0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "c1"),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "fc"], ["y"], "fc"),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (batch, 3, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (batch, 5))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _array(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def _gone(model: onnx.ModelProto, name: str, axis: int) -> list[int]:
    rows = np.moveaxis(_array(model, name), axis, 0)
    return [i for i, row in enumerate(rows) if not row.any()]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Forty samples of four classes."""
    x = np.random.default_rng(1).normal(size=(40, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(40) % 4)
    return str(tmp_path / "data.npz")


def _values(data: str, name: str) -> NDArray[Any]:
    with np.load(data) as archive:
        batches = batches_of({"x": archive["x"]}, 40)
    return next(value_batches(_network(), [name], batches))[name]


def test_criteria_see_what_a_layer_reads_and_what_it_makes_behind_its_activation(data: str) -> None:
    read = _values(data, "r0")
    share = (read != 0).mean(axis=(0, 2, 3))
    norm = np.abs(_array(_network(), "w1")).sum(axis=(0, 2, 3)) * np.sqrt(np.square(read).sum(axis=(0, 2, 3)))
    for criterion, expected in (("apoz", share), ("mean-activation", np.abs(read).mean((0, 2, 3))), ("wanda", norm)):
        options = Options.of(amount=0.25, criterion=criterion, calibration=data, masks="flat")
        masked, count = pruned(_network(), options)
        assert _gone(masked, "w1", 1) == sorted(np.argsort(expected)[:3]), criterion
        assert count == 3 + 2
        masked, _ = pruned(_network(), options.replaced(side="output"))
        made = {"apoz": share, "mean-activation": np.abs(read).mean((0, 2, 3))}.get(criterion)
        if made is not None:
            assert _gone(masked, "w0", 0) == sorted(np.argsort(made)[:3]), criterion


@pytest.mark.parametrize("side", ["input", "output"])
def test_bn_scale_prunes_the_smallest_scales_of_layers_that_have_one(side: Any) -> None:
    masked, count = pruned(_network(), Options.of(amount=0.25, criterion="bn-scale", side=side, masks="flat"))
    expected = sorted(np.argsort(np.abs(_array(_network(), "gamma")))[:3])
    assert _gone(masked, *(("w1", 1) if side == "input" else ("w0", 0))) == expected
    assert count == 3


@pytest.mark.parametrize("criterion", [name for name, known in CRITERIA.items() if known.needs_data])
@pytest.mark.parametrize("method", ["unconstrained", "constrained"])
@pytest.mark.parametrize("repair", [None, "stats", "lsq"])
def test_a_compile_prunes_and_repairs(data: str, criterion: str, method: Any, repair: Any) -> None:
    options = Options.of(
        amount=0.25, criterion=criterion, calibration=data, method=method, repair=repair, race=False, masks="flat"
    )
    result = compile(_network(), options)
    assert result.report.masked_channels == 5
    assert result.report.verification is not None
    assert result.report.verification.equal


def test_any_callable_is_a_criterion() -> None:
    def last(weight: NDArray[Any], axis: int, rng: np.random.Generator) -> NDArray[np.float64]:
        del rng
        return -np.arange(weight.shape[axis], dtype=np.float64)

    result = compile(_network(), amount=0.25, criterion=last, race=False, export="upscale", masks="flat")
    assert result.report.masked_channels == 5


def test_a_function_of_activations_is_a_criterion(data: str) -> None:
    def peak(maps: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(maps.reshape(*maps.shape[:2], -1).max(axis=2).sum(axis=0), np.float64)

    expected = sorted(np.argsort(_values(data, "r0").max(axis=(2, 3)).sum(axis=0))[:3])
    options = Options.of(amount=0.25, criterion=ActivationCriterion(peak), calibration=data, masks="flat")
    assert _gone(pruned(_network(), options)[0], "w1", 1) == expected
    result = compile(_network(), options.replaced(race=False, export="upscale"))
    assert result.report.masked_channels == 5
    backwards = ActivationCriterion(peak, lambda weight, axis, total, samples: -total / samples)
    found = _gone(pruned(_network(), options.replaced(criterion=backwards))[0], "w1", 1)
    assert found == sorted(np.argsort(-_values(data, "r0").max(axis=(2, 3)).sum(axis=0))[:3])
    with pytest.raises(ArgumentError, match="criterion of activations needs calibration data"):
        compile(_network(), options.replaced(calibration=None))
    with pytest.raises(ArgumentError, match="one number for each"):
        pruned(_network(), options.replaced(criterion=ActivationCriterion(lambda maps: maps.sum(axis=0))))


def test_a_fixed_batch_takes_whole_batches(data: str) -> None:
    batches = load_calibration(data, _network(12))
    assert [batch["x"].shape[0] for batch in batches] == [12, 12, 12]
    options = Options.of(amount=0.25, criterion="obs", calibration=data, repair="lsq", masks="flat")
    assert pruned(_network(12), options)[1] == 5
    with pytest.raises(ArgumentError, match="fewer than the 64 that the model takes as one batch"):
        load_calibration(data, _network(64))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (Options.of(amount=0.2, criterion="apoz"), "'apoz' needs calibration data"),
        (Options.of(amount=0.2, repair="lsq"), "'lsq' needs calibration data"),
        (Options.of(repair="stats"), "say how much to prune"),
    ],
)
def test_what_is_missing_is_said(options: Options, complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        compile(_network(), options)


def test_calibration_data_that_cannot_be_used(data: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="criterion 'obs' scores what layers read"):
        compile(_network(), amount=0.2, criterion="obs", side="output", calibration=data)
    np.savez(tmp_path / "wrong.npz", x=np.zeros((20, 3, 5, 5), np.float32))
    with pytest.raises(ArgumentError, match="'x' has shape"):
        compile(_network(), amount=0.2, criterion="obs", calibration=str(tmp_path / "wrong.npz"))
    folded = _network()
    folded.graph.node[1].op_type, folded.graph.node[1].input[1:] = "Relu", []
    with pytest.raises(ArgumentError, match="no layer's channels are all scaled"):
        compile(folded, amount=0.2, criterion="bn-scale")


def test_the_command_line(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(_network(), tmp_path / "in.onnx")
    words = [str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), "--no-race", "-q"]
    assert main([*words, "--amount", "0.3", "--criterion", "obs", "--calibration", data, "--repair", "lsq"]) == 0
    assert (tmp_path / "out.onnx").exists()
    assert main([*words, "--repair", "lsq", "--calibration", data]) == 2
    assert "say how much to prune" in capsys.readouterr().err
    assert main([*words, "--calibration", data]) == 2
    assert "--calibration has no effect" in capsys.readouterr().err
