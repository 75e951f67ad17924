"""Metadata of compiled models: right for a shipped model, the same each time, and no obstacle to a runtime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import NodeProto, StringStringEntryProto

import upscale_onnx
from tests.cli.test_command_line import network

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "digits_inception_masked.onnx"
QUICK: dict[str, Any] = {"race": False, "export": "upscale", "align": 1, "verify": False}


def told(props: Iterable[StringStringEntryProto]) -> dict[str, str]:
    return {entry.key: entry.value for entry in props}


def weights(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """The shape of the weight of each Conv, by its name."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return {node.name: shapes[node.input[1]] for node in model.graph.node if node.op_type == "Conv"}


@pytest.fixture(scope="module")
def compiled() -> onnx.ModelProto:
    return upscale_onnx.compile(SHIPPED, metadata=True, **QUICK).model


def test_channels_are_those_of_the_weights(compiled: onnx.ModelProto) -> None:
    before, after = weights(onnx.load(SHIPPED)), weights(compiled)
    makers = {name: node for node in compiled.graph.node for name in node.output}
    lowerings = set()
    for node in compiled.graph.node:
        if node.op_type != "Conv":
            continue
        found = told(node.metadata_props)
        assert found["upscale_onnx.source_layer"] == node.name
        assert found["upscale_onnx.made_channels"] == f"{after[node.name][0]}/{before[node.name][0]}"
        if node.input[0] not in makers:  # the first reads the image
            continue
        assert found["upscale_onnx.read_channels"] == f"{after[node.name][1]}/{before[node.name][1]}"
        lowering, handed = found["upscale_onnx.lowering"], makers[node.input[0]].op_type.lower()
        assert lowering == (handed if handed in ("slice", "gather") else "keep")
        lowerings.add(lowering)
    assert lowerings == {"keep", "slice", "gather"}


def test_nodes_that_the_compile_puts_in_have_no_source(compiled: onnx.ModelProto) -> None:
    known = {node.name for node in onnx.load(SHIPPED).graph.node}
    fresh = [node for node in compiled.graph.node if node.name not in known]
    assert fresh
    assert [node.name for node in fresh if node.metadata_props] == []


def test_the_model_says_how_it_was_made(compiled: onnx.ModelProto) -> None:
    found = told(compiled.metadata_props)
    assert found["upscale_onnx.version"] == upscale_onnx.__version__
    assert found["upscale_onnx.export"] == "upscale"
    assert 'export = "upscale"\n' in found["upscale_onnx.options"]
    assert len(found) == 3


def test_it_runs_and_is_the_same_each_time(compiled: onnx.ModelProto) -> None:
    again = upscale_onnx.compile(SHIPPED, metadata=True, **QUICK).model
    assert again.SerializeToString(deterministic=True) == compiled.SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
    assert "upscale_onnx.version" in session.get_modelmeta().custom_metadata_map


def test_entries_of_an_earlier_compile_go_and_others_stay() -> None:
    model = network()
    model.ir_version = 10
    for props in (model.metadata_props, model.graph.node[0].metadata_props):
        props.add(key="upscale_onnx.old", value="1")
        props.add(key="mine", value="2")
    made = upscale_onnx.compile(model, metadata=True, **QUICK).model
    for props in (made.metadata_props, made.graph.node[0].metadata_props):
        assert "upscale_onnx.old" not in told(props)
        assert told(props)["mine"] == "2"
    assert told(model.metadata_props)["upscale_onnx.old"] == "1"


def test_older_models_hold_it_as_a_whole_alone() -> None:
    result = upscale_onnx.compile(network(), metadata=True, **QUICK)
    assert result.model.ir_version == 8
    assert told(result.model.metadata_props)["upscale_onnx.export"] == "upscale"
    assert [node.name for node in result.model.graph.node if node.metadata_props] == []
    assert [note for note in result.report.notes if "IR version 10" in note]


def test_none_unless_asked_for() -> None:
    plain = upscale_onnx.compile(SHIPPED, **QUICK).model
    nodes: list[NodeProto] = [node for node in plain.graph.node if node.metadata_props]
    assert (len(plain.metadata_props), nodes) == (0, [])
