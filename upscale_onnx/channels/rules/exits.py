"""What a node with bodies returns.

The graph is flat: an *entry* makes what a body is handed, an *exit* makes what the node returns (`model/bodies.py`).
Values that do not fit together stay whole.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.rules.alike import Ties, alike, common_shape, emitted, undivided
from upscale_onnx.types import Array, Dims, IntArray


class Exit(Rule):
    """What a node with bodies returns."""

    data_inputs: int | None = None

    @abstractmethod
    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        """The inputs that may become an output: they hold the same channels."""

    def sequences(self, op: Op) -> range:
        """The inputs of which the body is handed slices: what it reads of them is read there."""
        return range(0)

    def axis(self, op: Op, slot: int) -> int | None:
        """The axis along which an output stacks the values of all rounds; None where it is one of them."""
        return None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        outputs: list[ChannelMap | None] = []
        ties: Ties = ()
        whole = set(range(len(maps))) - set(self.sequences(op))
        for slot, dims in enumerate(op.out_dims):
            members, axis = self.members(op, slot), self.axis(op, slot)
            shape = common_shape(op, maps, members)
            if shape is None or dims is None:
                outputs.append(single_class(dims, maps, members, fresh))
                continue
            found, more = alike(op, maps, members, shape, fresh)
            if axis is not None:
                found = ChannelMap(np.expand_dims(found.labels, axis), np.expand_dims(found.state, axis))
            outputs.append(found)
            ties += more
            whole -= set(members) - set(undivided(maps, members, shape))
        reads, fixed = read_whole(maps, whole)
        return Flow(tuple(outputs), ties, reads, fixed=fixed, linear=False)

    def resize(self, op: Op, request: Request) -> Resize:
        outputs: list[IntArray] = []
        constants: dict[int, Array] = {}
        computed: dict[int, NewNode] = {}
        for slot, out in enumerate(request.out):
            members, axis = self.members(op, slot), self.axis(op, slot)
            shape = None if out is None else common_shape(op, request.maps, members)
            held = full_emission(() if out is None else out.shape)
            if shape is not None:
                held, cut, selected = emitted(op, request, members, shape)
                held = held if axis is None else np.expand_dims(held, axis)
                constants |= cut
                computed |= selected
            outputs.append(held)
        return Resize(tuple(outputs), constants, computed=computed)


def single_class(dims: Dims | None, maps: Maps, sources: Sequence[int], fresh: Fresh) -> ChannelMap | None:
    """The map of a value whose channels are not told apart."""
    if dims is None:
        return None
    known = [found for index in sources if (found := maps[index]) is not None]
    wild = any(is_wild(found.state).any() for found in known)
    ones = (1,) * len(dims)
    return ChannelMap(fresh(1).reshape(ones), np.full(ones, WILD if wild else VARYING))


def read_whole(maps: Maps, whole: Collection[int]) -> tuple[tuple[Read, ...], tuple[IntArray, ...]]:
    """Reads of all channels of these inputs in their order, and the classes whose order stays."""
    known = [(index, found.labels) for index in sorted(whole) if (found := maps[index]) is not None]
    return tuple(Read(index, labels.ravel()) for index, labels in known), tuple(labels for _, labels in known)
