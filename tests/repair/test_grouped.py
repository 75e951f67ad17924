"""Optimal brain surgeon in grouped convolutions: each group by what it reads itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.graphs import parse
from tests.pruning.test_grouped import branch, shuffle_net
from upscale_onnx import compile
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.measures.measure import Distance
from upscale_onnx.repair.choose import obs_scores
from upscale_onnx.repair.costs import obs_costs
from upscale_onnx.runtime.activations import batches_of


def _images(channels: int, size: int, count: int = 64, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, channels, size, size)).astype(np.float32)


def _copying() -> NDArray[np.float32]:
    """Images of which channel 5 copies channel 4."""
    x = _images(8, 6)
    x[:, 5] = x[:, 4]
    return x


def _convolution(weight: NDArray[Any], group: int) -> onnx.ModelProto:
    channels = weight.shape[1] * group
    text = f"y = Conv<group={group}, pads=[1,1,1,1]>(x, w)"
    return parse(f"(float[N,{channels},6,6] x) => (float[N,{len(weight)},6,6] y) {{ {text} }}", w=weight)


def _weight() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)


def test_scores_are_those_of_each_group_alone() -> None:
    x, weight = _copying(), _weight()
    found = obs_scores(_convolution(weight, 2), batches_of({"x": x}, 32))["w"]
    alone = [
        obs_scores(_convolution(weight[3 * g : 3 * g + 3], 1), batches_of({"x": x[:, 4 * g : 4 * g + 4]}, 32))["w"]
        for g in range(2)
    ]
    np.testing.assert_allclose(found, np.concatenate(alone), rtol=1e-4)
    assert np.argmin(found) in (4, 5)


def test_depthwise_convolutions_are_left_out() -> None:
    weight = np.ones((8, 1, 3, 3), np.float32)
    batches = batches_of({"x": _copying()}, 32)
    model = _convolution(weight, 8)
    assert obs_scores(model, batches) == {}
    assert obs_costs(model, batches, lambda held: lambda variant: 0.0) == {}


def test_the_cost_of_a_copy_is_least_and_that_of_all_channels_everything() -> None:
    model = _convolution(_weight(), 2)

    def harm_on(held: Any) -> Any:
        distance = Distance.of(model, held)
        return lambda variant: distance.value(variant) ** 2

    costs = obs_costs(model, batches_of({"x": _copying()}, 32), harm_on)["w"]
    assert np.argmin(costs) in (4, 5)
    assert np.square(costs).min() < 1e-3
    assert np.square(costs).sum() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("network", ["branch", "shuffle"])
def test_groups_still_agree_when_repair_chooses_anew(network: str, tmp_path: Path) -> None:
    """With an amount of 0.25, every group keeps 0.75 of its channels, and outputs are nearer than by norms."""
    model = branch(4, 8) if network == "branch" else shuffle_net(2)
    size = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    np.savez(tmp_path / "data.npz", x=_images(3, size))
    distance = Distance.of(model, batches_of({"x": _images(3, size, seed=2)}, 1))
    errors = []
    for criterion in ("l2", "obs"):
        result = compile(
            model,
            amount=0.25,
            masks="flat",
            race=False,
            export="gather",
            align=1,
            criterion=criterion,
            repair="lsq",
            calibration=str(tmp_path / "data.npz"),
        )
        errors.append(distance.value(result.model))
        inner = {target.weight: target.shape[1] for target in mask_targets(result.model) if target.is_grouped}
        assert inner == ({"w2": 6} if network == "branch" else {"pw1": 9, "pw3": 18, "qw1": 18, "qw3": 18})
    assert errors[1] < 0.9 * errors[0]
