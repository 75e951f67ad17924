"""What is interrupted: a compile by the command line, and a model that is written with its data beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
_SAVE = (
    "import sys; from upscale_onnx.model import load_model, save_model; model = load_model('in.onnx'); "
    "print('ready', flush=True); sys.stdin.readline(); save_model(model, 'out.onnx', external_over=0)"
)


def network(channels: int, *, seed: int = 0) -> onnx.ModelProto:
    """x (N, C, 8, 8) -> Conv, Relu, Conv that does not read every fourth channel -> y."""
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(size=(channels, channels, 3, 3)).astype(np.float32) for _ in range(2))
    second[:, ::4] = 0
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"], "conv_1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "second"], ["y"], "conv_2", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", channels, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", channels, 8, 8))],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@dataclass(frozen=True, eq=False)
class Subject:
    """A command that writes out.onnx, and maybe r.json, in a folder that holds in.onnx.

    ready: what it prints before the part that matters; it waits for a line then. read: what out.onnx holds.
    """

    command: tuple[str, ...]
    model: onnx.ModelProto
    ready: bool
    read: Callable[[Path], Any]

    def start(self, folder: Path) -> subprocess.Popen[str]:
        """The process, ready."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(self.command, cwd=folder, env=environment, text=True, **pipes)
        if self.ready:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        return process

    def prepare(self, folder: Path) -> None:
        """Put what is read, and an older result, into the empty `folder`."""
        onnx.save(self.model, folder / "in.onnx")
        onnx.save(network(2), folder / "out.onnx")
        (folder / "r.json").write_text('{"old": true}')


def compiling(channels: int = 16) -> Subject:
    """A compile without a race: the same bytes each time."""
    words = ("in.onnx", "out.onnx", "--json", "r.json", "--no-race", "-q")
    command = (sys.executable, "-m", "upscale_onnx", *words)
    return Subject(command, network(channels), ready=False, read=Path.read_bytes)


def saving(channels: int = 768) -> Subject:
    """A model of 42 MB that is written with a file of data; killed while it is."""
    return Subject((sys.executable, "-c", _SAVE), network(channels), ready=True, read=_weights)


def _weights(path: Path) -> Any:
    model = onnx.load(path)
    return [(tensor.name, tensor.raw_data) for tensor in model.graph.initializer]


def is_report(path: Path) -> bool:
    """Whether the report is the old one, or a whole new one."""
    return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
