"""Segments as objects. The weights of their layers can be read, written and masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.compat.source import Source
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.targets import mask_targets
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side
from upscale_onnx.results import Consumer, Producer, Segment
from upscale_onnx.segments import find_segments
from upscale_onnx.types import Array


class Layer:
    """A node of a segment.

    name, op_type: those of the node.
    parameter: the name of the weight that can be masked, None if there is none.
    """

    def __init__(self, name: str, op_type: str, parameter: str | None, source: Source) -> None:
        self.name, self.op_type, self.parameter = name, op_type, parameter
        self._source = source

    def __repr__(self) -> str:
        return f"Layer(name={self.name!r}, op_type={self.op_type!r}, parameter={self.parameter!r})"

    @property
    def weight(self) -> Array:
        """The weight as a read-only array. To change the model, assign a new array of the same shape.

        Raises: ArgumentError where the node has no constant weight.
        """
        return self._source.read(self._parameter())

    @weight.setter
    def weight(self, array: Array) -> None:
        self._source.write(self._parameter(), array)

    def _parameter(self) -> str:
        if self.parameter is None:
            raise ArgumentError(f"{self.op_type} {self.name!r} has no constant weight of its own")
        return self.parameter


@dataclass(frozen=True, eq=False)
class MaskSegment:
    """A closed set of layers that create and read the same channels.

    producers, consumers: the layers that create these channels, and those that read them.
    layers: the producers or the consumers, whichever the side masks.

    The sets are the same for every method: "unconstrained" does not split them.
    """

    segment: Segment
    producers: tuple[Layer, ...]
    consumers: tuple[Layer, ...]
    layers: tuple[Layer, ...]
    prune: Callable[[Sequence[str], float], None]

    def mask(self, amount: float = 0.5) -> MaskSegment:
        """Mask the layers of this segment only, by the manager's importance. Return the segment.

        Raises: ArgumentError where `amount` is not in [0, 1).
        """
        self.prune([layer.parameter for layer in self.layers if layer.parameter is not None], amount)
        return self


def mask_segments(source: Source, side: Side, prune: Callable[[Sequence[str], float], None]) -> tuple[MaskSegment, ...]:
    """The segments of the source's model. prune: masks weights, given by names, by an amount."""
    model = source.model
    targets = {target.node: target for target in mask_targets(model)}

    def layer(node: Producer | Consumer) -> Layer:
        target = targets.get(node.node)
        return Layer(node.node, node.op_type, None if target is None else target.weight, source)

    found = []
    for segment in find_segments(analyse(import_graph(model), infer_shapes(model))):
        producers = tuple(layer(node) for node in segment.producers)
        consumers = tuple(layer(node) for node in segment.consumers)
        chosen = consumers if side == "input" else producers
        masked = tuple(x for x in chosen if x.parameter is not None and targets[x.name].axis(side) is not None)
        found.append(MaskSegment(segment, producers, consumers, masked, prune))
    return tuple(found)
