"""Normalisations of which whole groups are dead, and of channels that are constant."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import upscale_onnx
from tests.graphs import indices, weight
from upscale_onnx.export.recipes import recipes
from upscale_onnx.types import Array

WIDTH, GROUPS = 24, 4
OPSETS = {"operator": 21, "first operator": 18}
"""Of opset 18, a GroupNormalization has a scale for each group, not for each channel."""


def group_norm(form: str, gamma: Array, last: Array) -> onnx.ModelProto:
    """A convolution, a GroupNorm as exporters write it, and a convolution that reads it beside a shortcut."""
    node = helper.make_node
    if form in OPSETS:
        norm = [node("GroupNormalization", ["h", "gamma", "beta"], ["n"], num_groups=GROUPS)]
    else:
        norm = [
            node("Reshape", ["h", "split"], ["g"]),
            node("InstanceNormalization", ["g", "ones", "zeros"], ["i"]),
            node("Reshape", ["i", "whole"], ["r"]),
            node("Mul", ["r", "gamma_3d"], ["m"]),
            node("Add", ["m", "beta_3d"], ["n"]),
        ]
    beta = weight(WIDTH)
    if form == "first operator":
        gamma, beta = gamma[:GROUPS], beta[:GROUPS]
    constants = {
        "w": weight(WIDTH, 3, 3, 3), "last": last, "side": weight(2, 3, 3, 3),
        "gamma": gamma, "beta": beta, "gamma_3d": gamma.reshape(-1, 1, 1), "beta_3d": beta.reshape(-1, 1, 1),
        "split": indices(0, GROUPS, -1), "whole": indices(1, WIDTH, 6, 6),
        "ones": np.ones(GROUPS, np.float32), "zeros": np.zeros(GROUPS, np.float32),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w"], ["h"], pads=[1, 1, 1, 1]),
        *norm,
        node("Conv", ["n", "last"], ["a"]),
        node("Conv", ["x", "side"], ["b"], pads=[1, 1, 1, 1]),
        node("Add", ["a", "b"], ["y"]),
    ]
    used = {name for item in nodes for name in item.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 6, 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", OPSETS.get(form, 21))])


@pytest.mark.parametrize("export", sorted(recipes(1)))
@pytest.mark.parametrize("form", [*OPSETS, "reshaped"])
@pytest.mark.parametrize("dead", ["readers", "scale", "one group"])
def test_dead_groups_go(form: str, dead: str, export: str) -> None:
    gone = range(6, 12) if dead == "one group" else range(WIDTH)
    gamma = np.ones(WIDTH, np.float32)
    if dead == "scale":
        gamma[:] = 0
    model = group_norm(form, gamma, weight(2, WIDTH, 1, 1, columns=gone if dead != "scale" else ()))
    result = upscale_onnx.compile(model, export=export, align=1, race=False)
    assert result.report.verification is not None
    assert result.report.verification.equal
    assert result.report.after.macs < result.report.before.macs


@pytest.mark.parametrize(("bias", "columns"), [(0.0, 4), (3.0, 8)])
def test_a_constant_channel_is_normalised_to_its_shift_where_that_is_exact(bias: float, columns: int) -> None:
    """Of a constant other than zero, the runtime leaves its rounding, divided by a deviation of nearly nothing."""
    shift = weight(8) * np.float32(1.3)
    values = np.r_[np.full(4, bias), np.ones(4)].astype(np.float32) * np.float32(1.7)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["h"]),
            helper.make_node("InstanceNormalization", ["h", "scale", "shift"], ["n"]),
            helper.make_node("Conv", ["n", "u"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 33, 33])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 33, 33])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {
                "w": weight(8, 3, 1, 1, rows=range(4)) * np.float32(0.37),
                "b": values,
                "scale": weight(8) * np.float32(2.1),
                "shift": shift,
                "u": weight(2, 8, 1, 1),
            }.items()
        ],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    compiled = upscale_onnx.compile(model, export="keep", align=1, race=False).model
    stored = {tensor.name: tuple(tensor.dims) for tensor in compiled.graph.initializer}
    assert stored["u"] == (2, columns, 1, 1)
