"""A ShuffleNet v1 with random weights, dense: `python docs/programs/shufflenet.py GROUPS OUT.onnx`."""

from __future__ import annotations

import argparse

import onnx
from networks import Network

# Channels of stage 2 by the number of groups; each later stage has twice as many.
_WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
_UNITS = (4, 8, 4)
_STEM, _IMAGE, _CLASSES = 24, 224, 1000


def shufflenet(groups: int) -> onnx.ModelProto:
    """ShuffleNet v1 of scale 1. Source: Zhang et al., CVPR 2018, table 1 and figure 2."""
    net = Network(f"shufflenet_v1_{groups}", amount=0.0)
    x = net.node("Relu", net.norm(net.conv("image", 3, _STEM, 3, 2), _STEM))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels, size = _STEM, _IMAGE // 4
    for stage, units in enumerate(_UNITS):
        width = _WIDTHS[groups] * 2**stage
        for unit in range(units):
            first = 1 if stage == unit == 0 else groups  # the first convolution reads too few channels for groups
            made = width - channels if unit == 0 else width
            y = _branch(net, x, (channels, width // 4, made), (first, groups), size, 2 if unit == 0 else 1)
            if unit == 0:
                x = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
                size //= 2
            x = net.node("Relu", net.node("Concat", x, y, axis=1) if unit == 0 else net.node("Add", x, y))
            channels = width
    return net.model(net.classifier(x, channels, _CLASSES), _IMAGE, _CLASSES)


def _branch(
    net: Network, x: str, channels: tuple[int, int, int], groups: tuple[int, int], size: int, stride: int
) -> str:
    """What a unit adds. channels: what it reads, holds and makes. groups: of its first and last convolution."""
    read, inner, made = channels
    y = net.node("Relu", net.norm(net.conv(x, read, inner, group=groups[0]), inner))
    parts = net.node("Constant", value_ints=[1, groups[1], inner // groups[1], size, size])
    whole = net.node("Constant", value_ints=[1, inner, size, size])
    y = net.node("Reshape", net.node("Transpose", net.node("Reshape", y, parts), perm=[0, 2, 1, 3, 4]), whole)
    y = net.norm(net.conv(y, inner, inner, 3, stride, inner), inner)
    return net.norm(net.conv(y, inner, made, group=groups[1]), made)


def main() -> None:
    """Write the network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("groups", type=int, choices=sorted(_WIDTHS))
    parser.add_argument("out", help="where the network is written")
    args = parser.parse_args()
    onnx.save(shufflenet(args.groups), args.out)


if __name__ == "__main__":
    main()
