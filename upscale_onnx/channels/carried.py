"""What values hold that a Loop or a Scan hands on from one round to the next.

They are first taken to hold what they hold at the start. Where the body hands on anything else, less is taken for
granted, and the graph is analysed again. What is left is true in the first round, and in every further round if it was
true in the round before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, is_wild
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.step import Step
from upscale_onnx.model.bodies import DOMAIN, ENTRY
from upscale_onnx.types import FloatArray

_LOOP_COUNTERS = 2  # the number of rounds and the condition


@dataclass(frozen=True)
class Rounds:
    """The inputs of a Loop or Scan.

    first: the first initial value. carried: how many of them there are. given: how many inputs the node has. Its exit
    reads these, then what the body returns (`conditions`, then values), then the carried values that it was handed.
    """

    first: int
    carried: int
    given: int
    conditions: int

    @property
    def initial(self) -> range:
        """The places of the initial values among the inputs of entry and exit, and of what the entry makes of them."""
        return range(self.first, self.first + self.carried)


def rounds_of(op: Op) -> Rounds:
    """The inputs of the Loop or Scan for which an entry or an exit stands."""
    loop, entry = op.op_type.startswith("Loop"), op.op_type.endswith(ENTRY)
    others = _LOOP_COUNTERS if loop else int(op.attrs.get("num_scan_inputs", 0))
    behind = 0 if entry else len(op.out_dims) + loop
    carried = (len(op.present) - behind - others) // (1 if entry else 2)
    return Rounds(_LOOP_COUNTERS if loop else 0, carried, carried + others, int(loop))


def joined(one: FloatArray, other: FloatArray) -> FloatArray:
    """The contents of channels that hold one or the other."""
    mixed = np.where(is_wild(one) | is_wild(other), WILD, VARYING)
    return np.where(one == other, one, mixed)


def over(state: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Contents for a map of `shape`, of the same rank, whose channels may be joined."""
    for axis, size in enumerate(shape):
        if size == 1 and state.shape[axis] > 1:
            first = state.take([0], axis)
            wild = np.where(is_wild(state).any(axis, keepdims=True), WILD, VARYING)
            state = np.where((state == first).all(axis, keepdims=True), first, wild)
    return np.broadcast_to(state, shape)


def weaker_contents(steps: Iterable[Step], sure: bool) -> Mapping[str, FloatArray]:
    """The carried values that may hold something else than was taken for granted, with what they may hold.

    sure: whether those of them are to be taken as any number that may be infinite.
    """
    found: dict[str, FloatArray] = {}
    confirmed: dict[str, FloatArray] = {}
    for step in steps:
        confirmed.update((step.inputs[index], state) for index, state in step.flow.carried)
    for step in steps:
        if step.op.domain != DOMAIN or not step.op.op_type.endswith(ENTRY):
            continue
        for index in rounds_of(step.op).initial:
            name, held = step.outputs[index], step.flow.outputs[index]
            if held is None:
                continue
            state = confirmed.get(name)
            wanted = np.full(held.shape, WILD) if state is None else joined(held.state, over(state, held.shape))
            if not np.array_equal(wanted, held.state, equal_nan=True):
                found[name] = np.full(held.shape, WILD) if sure else wanted
    return found
