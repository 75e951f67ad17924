"""Branches that are left out whole, where a latency is asked for and values have a way around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.graphs import parse
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.branches import weights_in_front_of_sums
from upscale_onnx.model import import_graph, infer_shapes

WIDTH, BLOCKS = 32, 3
HOW: dict[str, Any] = {"race": False, "verify": False, "criterion": "l2"}


def residual(quiet: int | None) -> onnx.ModelProto:
    """Residual blocks between two layers. What the block `quiet` adds is next to nothing."""
    rng = np.random.default_rng(0)
    shape = (WIDTH, WIDTH, 3, 3)
    weights = {f"{end}{n}": rng.normal(0, 0.06, shape) for n in range(BLOCKS) for end in "ab"}
    weights |= {"first": rng.normal(0, 0.2, (WIDTH, 3, 3, 3)), "last": rng.normal(0, 0.1, (4, WIDTH, 1, 1))}
    if quiet is not None:
        weights[f"b{quiet}"] *= 1e-3
    blocks = " ".join(
        f"c{n} = Conv<pads=[1,1,1,1]>(x{n}, a{n}) r{n} = Relu(c{n}) d{n} = Conv<pads=[1,1,1,1]>(r{n}, b{n})"
        f" s{n} = Add(x{n}, d{n}) x{n + 1} = Relu(s{n})"
        for n in range(BLOCKS)
    )
    text = f"f = Conv<pads=[1,1,1,1]>(x, first) x0 = Relu(f) {blocks} y = Conv(x{BLOCKS}, last)"
    return parse(
        f"(float[N,3,8,8] x) => (float[N,4,8,8] y) {{ {text} }}",
        **{name: values.astype(np.float32) for name, values in weights.items()},
    )


@pytest.fixture
def calibration(tmp_path: Path) -> str:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.random.default_rng(1).normal(size=(32, 3, 8, 8)).astype(np.float32))
    return str(path)


def layers(model: onnx.ModelProto) -> dict[str, int]:
    """The channels that each layer makes, by the name of the layer."""
    held = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer}
    return {node.name: held[node.input[1]] for node in model.graph.node if node.op_type == "Conv"}


@pytest.mark.parametrize(("quiet", "repair"), [(0, None), (1, "lsq"), (2, None)])
def test_the_branch_that_adds_least_is_left_out(quiet: int, repair: Any, calibration: str) -> None:
    """A third of the time is that of one block."""
    small = upscale_onnx.compile(residual(quiet), latency=0.7, calibration=calibration, repair=repair, **HOW).model
    assert layers(small).keys() == layers(residual(quiet)).keys() - {f"c{quiet}", f"d{quiet}"}
    assert set(layers(small).values()) == {WIDTH, 4}


def test_channels_of_all_layers_save_what_a_branch_does_not(calibration: str) -> None:
    stages: list[str] = []
    options = upscale_onnx.Options.of(latency=0.6, calibration=calibration, **HOW)
    small = upscale_onnx.compile(residual(1), options, progress=lambda stage, _: stages.append(stage)).model
    assert "choose branches" in stages
    left = layers(small)
    assert "d1" not in left
    assert min(left.get(name, WIDTH) for name in ("c0", "c2")) < WIDTH


def test_a_branch_that_matters_stays(calibration: str) -> None:
    """Most of what these blocks make can go for less than a whole block."""
    model = residual(None)
    for tensor in model.graph.initializer:
        if tensor.name.startswith("b"):
            values = onnx.numpy_helper.to_array(tensor).copy()
            values[:, WIDTH // 2 :] *= 1e-4
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    small = upscale_onnx.compile(model, latency=0.7, calibration=calibration, **HOW).model
    assert layers(small).keys() == layers(model).keys()


@pytest.mark.parametrize("options", [{"calibration": None}, {"ignore": ("b1",)}])
def test_branches_stay_without_data_and_where_they_are_named(options: dict[str, Any], calibration: str) -> None:
    small = upscale_onnx.compile(residual(1), latency=0.7, **{"calibration": calibration, **HOW, **options}).model
    assert {"c1", "d1"} <= layers(small).keys()


def test_what_cannot_be_reached_is_said(calibration: str) -> None:
    with pytest.raises(ArgumentError, match=r"latency 0\.01 cannot be reached: .* predicted to leave 0\.\d+"):
        upscale_onnx.compile(residual(1), latency=0.01, calibration=calibration, **HOW)


def test_branches_end_in_front_of_sums() -> None:
    model = residual(None)
    found = weights_in_front_of_sums(analyse(import_graph(model), infer_shapes(model)))
    assert found == {"first", *(f"b{n}" for n in range(BLOCKS))}
