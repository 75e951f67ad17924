"""Amounts take channels of grouped convolutions: as many of each group, or whole groups where there are many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from tests.graphs import parse
from upscale_onnx import compile
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.results import Report

EXACT: Mapping[str, Any] = {"export": "gather", "align": 1, "masks": "flat"}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "flat": EXACT,
    "constrained": {"method": "constrained", **EXACT},
    "output": {"side": "output", "method": "constrained", **EXACT},
    "default": {},
}


def shuffle_net(groups: int, stem: int = 24, inner: int = 48) -> onnx.ModelProto:
    """Units of a ShuffleNet v1: one with a stride, which concatenates, and a residual one."""
    rng, width = np.random.default_rng(0), 2 * stem
    units = ""
    for name, x, join in (("p", "s", "z = Concat<axis=1>(pool, {0}) "), ("q", "r1", "z2 = Add(r1, {0}) ")):
        units += (
            f"{name}1 = Conv<group={groups}>({x}, {name}w1) {name}2 = Relu({name}1) {name}3 = Reshape({name}2, split) "
            f"{name}4 = Transpose<perm=[0,2,1,3,4]>({name}3) {name}5 = Reshape({name}4, join) "
            f"{name}6 = Conv<group={inner}, pads=[1,1,1,1]>({name}5, {name}w2) "
            f"{name}7 = Conv<group={groups}>({name}6, {name}w3) "
        ) + join.format(f"{name}7")
        units += "r1 = Relu(z) " if name == "p" else "r2 = Relu(z2) "
    shapes = {
        "first": (stem, 3, 3, 3), "pw1": (inner, stem // groups, 1, 1), "pw2": (inner, 1, 3, 3),
        "pw3": (stem, inner // groups, 1, 1), "qw1": (inner, width // groups, 1, 1), "qw2": (inner, 1, 3, 3),
        "qw3": (width, inner // groups, 1, 1), "fc": (10, width),
    }  # fmt: skip
    text = (
        "c = Conv<pads=[1,1,1,1]>(x, first) s = Relu(c) "
        "pool = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(s) "
        f"{units} g = GlobalAveragePool(r2) f = Flatten(g) y = Gemm<transB=1>(f, fc)"
    )
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    vectors = {"split": [1, groups, inner // groups, 8, 8], "join": [1, inner, 8, 8]}
    constants = {name: np.asarray(vector, np.int64) for name, vector in vectors.items()}
    return parse(f"(float[1,3,8,8] x) => (float[1,10] y) {{ {text} }}", **weights, **constants)


def compiled(model: onnx.ModelProto, amount: float, way: str) -> tuple[Report, dict[str, tuple[int, ...]], list[int]]:
    """The report, the shapes of weights, and the numbers of groups of grouped convolutions that are no carriers."""
    result = compile(model, amount=amount, race=False, **WAYS[way])
    assert result.report.verification is not None
    assert result.report.verification.equal
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    groups = [target.group for target in mask_targets(result.model) if target.is_grouped]
    return result.report, shapes, groups


@pytest.mark.parametrize(
    ("groups", "way"), [(2, "flat"), (3, "flat"), (3, "constrained"), (3, "output"), (4, "output")]
)
def test_every_group_of_a_shuffle_net_loses_as_many_channels(groups: int, way: str) -> None:
    report, shapes, left = compiled(shuffle_net(groups), 0.5, way)
    assert left == [groups] * 4
    inner, wide = 24, 24 // groups
    expected = {"pw1": (inner, wide // 2), "pw3": (12, wide), "qw1": (inner, wide), "qw3": (24, wide)}
    assert {name: shapes[name][:2] for name in expected} == expected
    assert shapes["fc"] == (10, 24)
    assert {kept.unit for kept in report.profile} == {"channels of each group"}
    assert all(kept.kept * 2 == kept.channels for kept in report.profile)


def test_by_default_blocks_are_whole() -> None:
    """Of 16 channels of each of three groups, 10 are to stay. Blocks of 8 are whole with 16 alone."""
    _, shapes, left = compiled(shuffle_net(3), 0.3, "default")
    assert left == [3] * 4
    assert [shapes[name][:2] for name in ("pw1", "pw3")] == [(48, 8), (24, 16)]


def branch(groups: int, width: int = 4) -> onnx.ModelProto:
    """A block of a ResNeXt: a grouped convolution between dense ones."""
    rng, inner = np.random.default_rng(1), groups * width
    shapes = {"first": (16, 3, 3, 3), "w1": (inner, 16, 1, 1), "w2": (inner, width, 3, 3), "w3": (16, inner, 1, 1)}
    text = (
        f"c = Conv(x, first) s = Relu(c) a = Conv(s, w1) b = Relu(a) d = Conv<group={groups}, pads=[1,1,1,1]>(b, w2) "
        "e = Relu(d) h = Conv(e, w3) z = Add(s, h) g = GlobalAveragePool(z) f = Flatten(g) y = Gemm<transB=1>(f, fc)"
    )
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in (shapes | {"fc": (10, 16)}).items()}
    return parse(f"(float[1,3,10,10] x) => (float[1,10] y) {{ {text} }}", **weights)


@pytest.mark.parametrize("way", ["flat", "constrained", "output"])
def test_many_groups_go_as_a_whole(way: str) -> None:
    report, shapes, left = compiled(branch(16), 0.25, way)
    assert left == [12]
    assert (shapes["w1"][0], shapes["w2"][:2], shapes["w3"][1]) == (48, (48, 4), 48)
    assert ("groups", 12, 16) in [(kept.unit, kept.kept, kept.channels) for kept in report.profile]


@pytest.mark.parametrize("way", ["flat", "output"])
def test_few_groups_lose_channels_on_each_side(way: str) -> None:
    _, shapes, left = compiled(branch(4, 8), 0.25, way)
    assert left == [4]
    assert (shapes["w1"][0], shapes["w2"][:2], shapes["w3"][1]) == (24, (24, 6), 24)


@pytest.mark.parametrize("criterion", ["fpgm", "lamp"])
def test_criteria_score_the_channels_of_all_groups(criterion: str) -> None:
    result = compile(branch(4, 8), amount=0.5, race=False, criterion=criterion, method="constrained", **EXACT)
    kept = {layer.weight: layer.kept for layer in kept_channels(result.model, "input", "constrained")}
    assert kept["w2"] == 4  # of eight of each group


def test_a_mask_file_names_the_channels_of_all_groups(tmp_path: Any) -> None:
    file = tmp_path / "mask.json"
    file.write_text('{"w2@input": {"pruned": [0, 9, 18, 27]}}')
    result = compile(branch(4, 8), mask=str(file), race=False, export="gather", align=1)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in result.model.graph.initializer}
    assert (shapes["w1"][0], shapes["w2"][:2]) == (28, (32, 7))
