"""Networks of published configurations as ONNX graphs, with random weights and pruned input channels.

The weights teach nothing; sizes, nodes and channel structure are what compile time depends on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Network:
    """Builds one graph, value by value. Every contraction has `amount` of its input channels zeroed."""

    def __init__(self, name: str, amount: float = 0.3, seed: int = 0) -> None:
        self._name, self._amount, self._rng = name, amount, np.random.default_rng(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def node(self, op: str, *inputs: str, **attrs: Any) -> str:
        """The output of a new node."""
        name = f"{op}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attrs))
        return name

    def weight(self, values: np.ndarray[Any, Any]) -> str:
        """A new initializer."""
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(
        self, x: str, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, group: int = 1, bias: bool = False
    ) -> str:
        """A Conv with `same` padding."""
        shape = (c_out, c_in // group, kernel, kernel)
        values = self._rng.standard_normal(shape, np.float32) * np.float32((2 / (shape[1] * kernel**2)) ** 0.5)
        if group == 1 and c_in > 3:
            values[:, self._pruned(c_in)] = 0
        inputs = [x, self.weight(values)] + ([self.weight(np.zeros(c_out))] if bias else [])
        pads = [kernel // 2] * 4
        return self.node("Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, group=group)

    def norm(self, x: str, channels: int) -> str:
        """A BatchNormalization."""
        rows = (self._rng.uniform(0.5, 1.5, channels), self._rng.normal(0, 0.1, channels))
        rest = (self._rng.normal(0, 0.1, channels), self._rng.uniform(0.5, 1.5, channels))
        return self.node("BatchNormalization", x, *(self.weight(row) for row in (*rows, *rest)))

    def silu(self, x: str) -> str:
        """x * sigmoid(x)."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def classifier(self, x: str, channels: int, classes: int) -> str:
        """Global average, flattened, times a matrix."""
        flat = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        values = self._rng.standard_normal((classes, channels), np.float32) * np.float32(channels**-0.5)
        values[:, self._pruned(channels)] = 0
        return self.node("Gemm", flat, self.weight(values), self.weight(np.zeros(classes)), transB=1)

    def model(self, output: str, size: int, classes: int) -> onnx.ModelProto:
        """The finished model, with input `image` of `(1, 3, size, size)`."""
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self._nodes, self._name, [image], [result], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def _pruned(self, channels: int) -> np.ndarray[Any, Any]:
        return self._rng.choice(channels, int(channels * self._amount), replace=False)


def densenet201() -> onnx.ModelProto:
    """DenseNet-201: growth 32, blocks of 6, 12, 48 and 32 layers. Source: Huang et al., CVPR 2017, table 1."""
    growth, net = 32, Network("densenet201")
    x = net.node("Relu", net.norm(net.conv("image", 3, 64, 7, 2), 64))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for block, layers in enumerate((6, 12, 48, 32)):
        parts = [x]
        for layer in range(layers):
            inner = channels + growth * layer
            y = net.node("Concat", *parts, axis=1) if layer else x
            y = net.node("Relu", net.norm(y, inner))
            y = net.node("Relu", net.norm(net.conv(y, inner, 4 * growth), 4 * growth))
            parts.append(net.conv(y, 4 * growth, growth, 3))
        channels += growth * layers
        x = net.node("Relu", net.norm(net.node("Concat", *parts, axis=1), channels))
        if block < 3:
            x = net.conv(x, channels, channels // 2)
            x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            channels //= 2
    return net.model(net.classifier(x, channels, 1000), 224, 1000)


# Fused, expansion, kernel, stride, channels in and out, layers.
_EFFICIENTNET_V2_M = (
    (True, 1, 3, 1, 24, 24, 3),
    (True, 4, 3, 2, 24, 48, 5),
    (True, 4, 3, 2, 48, 80, 5),
    (False, 4, 3, 2, 80, 160, 7),
    (False, 6, 3, 1, 160, 176, 14),
    (False, 6, 3, 2, 176, 304, 18),
    (False, 6, 3, 1, 304, 512, 5),
)


def efficientnet_v2_m() -> onnx.ModelProto:
    """EfficientNetV2-M. Source: Tan and Le, ICML 2021; stages as torchvision's `efficientnet_v2_m`."""
    net = Network("efficientnet_v2_m")
    x = net.silu(net.norm(net.conv("image", 3, 24, 3, 2), 24))
    for fused, expansion, kernel, stride, first, c_out, layers in _EFFICIENTNET_V2_M:
        for layer in range(layers):
            c_in, step = (c_out, 1) if layer else (first, stride)
            y = (_fused if fused else _mbconv)(net, x, c_in, c_out, expansion, kernel, step)
            x = net.node("Add", y, x) if step == 1 and c_in == c_out else y
    x = net.silu(net.norm(net.conv(x, 512, 1280), 1280))
    return net.model(net.classifier(x, 1280, 1000), 480, 1000)


def _fused(net: Network, x: str, c_in: int, c_out: int, expansion: int, kernel: int, stride: int) -> str:
    if expansion == 1:
        return net.silu(net.norm(net.conv(x, c_in, c_out, kernel, stride), c_out))
    wide = c_in * expansion
    x = net.silu(net.norm(net.conv(x, c_in, wide, kernel, stride), wide))
    return net.norm(net.conv(x, wide, c_out), c_out)


def _mbconv(net: Network, x: str, c_in: int, c_out: int, expansion: int, kernel: int, stride: int) -> str:
    wide, squeezed = c_in * expansion, c_in // 4
    x = net.silu(net.norm(net.conv(x, c_in, wide), wide))
    x = net.silu(net.norm(net.conv(x, wide, wide, kernel, stride, group=wide), wide))
    gate = net.silu(net.conv(net.node("GlobalAveragePool", x), wide, squeezed, bias=True))
    gate = net.node("Sigmoid", net.conv(gate, squeezed, wide, bias=True))
    return net.norm(net.conv(net.node("Mul", gate, x), wide, c_out), c_out)


def chain(layers: int, channels: int = 32) -> onnx.ModelProto:
    """`layers` times Conv, BatchNormalization and Relu; half of the channels pruned, which whole blocks are."""
    net = Network(f"chain_{layers}", amount=0.5)
    x, c_in = "image", 3
    for _ in range(layers):
        x, c_in = net.node("Relu", net.norm(net.conv(x, c_in, channels, 3), channels)), channels
    return net.model(net.classifier(x, channels, 10), 32, 10)
