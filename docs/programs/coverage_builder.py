"""Small networks with random weights as ONNX graphs, each with half of its channels zeroed, or built without them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Channels(NamedTuple):
    """A number of channels, and those that are not zeroed."""

    size: int
    kept: np.ndarray[Any, Any]


class Builder:
    """Builds a graph, value by value. narrow: whether channels are left out instead of zeroed."""

    def __init__(self, narrow: bool, seed: int = 0) -> None:
        self.narrow, self._rng = narrow, np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._input: Sequence[int] = ()
        self._output = ""

    def model(self) -> onnx.ModelProto:
        """The network from "x" to "y"."""
        shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, self._input)
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        nodes = [*self._nodes, helper.make_node("Identity", [self._output], ["y"])]
        graph = helper.make_graph(nodes, "network", [shape], [result], self._weights)
        return onnx.shape_inference.infer_shapes(
            helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
        )

    def input(self, *shape: int) -> str:
        """The input of the network."""
        self._input = shape
        return "x"

    def output(self, name: str) -> None:
        """The value `name` is the output of the network."""
        self._output = name

    def all(self, size: int) -> Channels:
        """Channels that all stay."""
        return Channels(size, np.arange(size))

    def half(self, size: int, block: int = 1) -> Channels:
        """Channels of which half stay, in blocks of so many."""
        blocks = np.sort(self._rng.choice(size // block, size // block // 2, replace=False))
        return Channels(size, (blocks[:, None] * block + np.arange(block)).ravel())

    def node(self, op: str, *inputs: str, outputs: int = 1, **attrs: Any) -> str:
        """The first output of a new node."""
        name = f"{op}_{len(self._nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self._nodes.append(helper.make_node(op, list(inputs), names, name=name, **attrs))
        return name

    def weight(self, *axes: Channels | int, gates: int = 1) -> str:
        """An initializer; the first axis of channels holds `gates` times its channels."""
        sizes = [axis if isinstance(axis, int) else axis.size for axis in axes]
        values = self._rng.standard_normal((gates, *sizes)).astype(np.float32) * np.float32(sizes[-1] ** -0.5)
        for number, axis in enumerate(axes, 1):
            if isinstance(axis, int):
                continue
            if self.narrow:
                values = values.take(axis.kept, number)
            else:
                gone = np.setdiff1d(np.arange(axis.size), axis.kept)
                values[(slice(None),) * number + (gone,)] = 0
        values = values.reshape(-1, *values.shape[2:])
        return self.constant(values)

    def constant(self, values: np.ndarray[Any, Any]) -> str:
        """An initializer with these values."""
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), f"w{len(self._weights)}"))
        return self._weights[-1].name

    def conv(self, x: str, read: Channels, made: Channels, kernel: int = 3, stride: int = 1) -> str:
        """A Conv with bias."""
        inputs = [x, self.weight(made, read, kernel, kernel), self.weight(made)]
        return self.node("Conv", *inputs, kernel_shape=[kernel] * 2, pads=[kernel // 2] * 4, strides=[stride] * 2)

    def depthwise(self, x: str, channels: Channels) -> str:
        """A Conv of 3x3 for each channel by itself."""
        group = channels.kept.size if self.narrow else channels.size
        inputs = [x, self.weight(channels, 1, 3, 3), self.weight(channels)]
        return self.node("Conv", *inputs, kernel_shape=[3, 3], pads=[1] * 4, group=group)

    def classifier(self, x: str, channels: Channels) -> None:
        """The average of each channel, times a matrix, as the output."""
        flat = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        made = self.all(10)
        self.output(self.node("Gemm", flat, self.weight(made, channels), self.weight(made), transB=1))


def _plain(net: Builder) -> None:
    x, read = net.input(1, 3, 16, 16), net.all(3)
    for size in (32, 48, 64):
        made = net.half(size)
        x, read = net.node("Relu", net.conv(x, read, made)), made
    net.classifier(x, read)


def _residual(net: Builder) -> None:
    stream = net.half(32)
    x = net.node("Relu", net.conv(net.input(1, 3, 16, 16), net.all(3), stream))
    for size in (48, 64):
        inner = net.half(size)
        hidden = net.node("Relu", net.conv(x, stream, inner))
        x = net.node("Relu", net.node("Add", x, net.conv(hidden, inner, stream)))
    net.classifier(x, stream)


def _inverted(net: Builder) -> None:
    stream = net.half(24)
    x = net.conv(net.input(1, 3, 16, 16), net.all(3), stream)
    for size in (96, 96):
        inner = net.half(size)
        hidden = net.node("Relu", net.conv(x, stream, inner, kernel=1))
        hidden = net.node("Relu", net.depthwise(hidden, inner))
        x = net.node("Add", x, net.conv(hidden, inner, stream, kernel=1))
    net.classifier(x, stream)


def _dense(net: Builder) -> None:
    read = net.half(32)
    x = net.node("Relu", net.conv(net.input(1, 3, 16, 16), net.all(3), read))
    for _ in range(3):
        grown = net.half(24)
        x = net.node("Concat", x, net.node("Relu", net.conv(x, read, grown)), axis=1)
        read = Channels(read.size + grown.size, np.concatenate((read.kept, read.size + grown.kept)))
    net.classifier(x, read)


def _perceptron(net: Builder) -> None:
    x, read = net.input(4, 64), net.all(64)
    for size in (128, 96, 64):
        made = net.half(size, block=16)
        x = net.node("Add", net.node("MatMul", x, net.weight(read, made)), net.weight(made))
        x, read = net.node("Relu", x), made
    net.output(net.node("MatMul", x, net.weight(read, net.all(16))))


def _recurrent(op: str, layers: int, directions: int) -> Callable[[Builder], None]:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]

    def build(net: Builder) -> None:
        x, read = net.input(5, 2, 16), net.all(16)
        for _ in range(layers):
            units = [net.half(32) for _ in range(directions)]
            x = _layer(net, op, gates, x, read, units)
            kept = [index * one.size + one.kept for index, one in enumerate(units)]
            read = Channels(32 * directions, np.concatenate(kept))
        net.output(net.node("MatMul", x, net.weight(read, net.all(10))))

    return build


def _layer(net: Builder, op: str, gates: int, x: str, read: Channels, units: Sequence[Channels]) -> str:
    """A recurrent layer, with the directions side by side in the last axis of its result."""
    kinds = ("forward",) if len(units) == 1 else ("forward", "reverse")
    sides = []
    for kind, one in zip(kinds, units, strict=True):
        hidden = one.kept.size if net.narrow else one.size
        parts = [
            net.weight(one, read, gates=gates),
            net.weight(one, one, gates=gates),
            net.weight(one, gates=2 * gates),
        ]
        wide = [net.node("Unsqueeze", part, net.constant(np.asarray([0]))) for part in parts]
        made = net.node(op, x, *wide, hidden_size=hidden, direction=kind)
        sides.append(net.node("Squeeze", made, net.constant(np.asarray([1]))))
    return sides[0] if len(sides) == 1 else net.node("Concat", *sides, axis=2)


NETWORKS: dict[str, Callable[[Builder], None]] = {
    "convolutions": _plain,
    "residual blocks": _residual,
    "inverted residuals": _inverted,
    "dense blocks": _dense,
    "matrices": _perceptron,
}
RECURRENT: dict[str, Callable[[Builder], None]] = {
    f"{op}, {layers} layers, {'both directions' if directions == 2 else 'forward'}": _recurrent(op, layers, directions)
    for op in ("LSTM", "GRU", "RNN")
    for layers, directions in ((1, 1), (2, 1), (2, 2))
}
