"""The command that compares two models node by node."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.cli.main import main


def _model(width: int, last: str) -> onnx.ModelProto:
    """x (1, 4) -> MatMul to `width` channels, Relu, MatMul to 2 -> y, through a node `last`."""
    weights = {"a": (4, width), "b": (width, 2)}
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "b"], ["s"], "second"),
        helper.make_node(last, ["s"], ["y"], last),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 4)), ("y", (1, 2))))
    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_nodes_that_differ_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after, data = (str(tmp_path / name) for name in ("a.onnx", "b.onnx", "d.json"))
    onnx.save(_model(8, "Sigmoid"), before)
    onnx.save(_model(5, "Tanh"), after)
    assert main(["diff", before, after, "--json", data]) == 0
    rows = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["diff.changed"][1] == "5"
    assert rows["diff.same"][1] == "0"
    assert " ".join(rows["diff.first"][3:]) == ("changed makes [1, 8] now [1, 5] parameters 32 parameters_now 20")
    assert rows["diff.Sigmoid"][3] == "removed"
    assert rows["diff.Tanh"][3] == "added"
    changes = {c["node"]: c for c in json.loads(Path(data).read_text())["changes"]}
    assert changes["second"]["before"] == changes["second"]["after"] == [1, 2]
    assert (changes["second"]["parameters_before"], changes["second"]["parameters_after"]) == (16, 10)


def test_a_model_is_the_same_as_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "a.onnx")
    onnx.save(_model(8, "Tanh"), path)
    assert main(["diff", path, path]) == 0
    assert capsys.readouterr().out.split() == ["diff.changed", "0", "diff.same", "4"]
