"""If: both branches hold the channels of its result."""

from __future__ import annotations

from dataclasses import replace

from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.exits import Exit, read_whole
from upscale_onnx.model.bodies import DOMAIN


class _Branches(Exit):
    """The exit of an If. Its inputs are the condition, then what each branch returns."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        return 1 + slot, 1 + len(op.out_dims) + slot


class _OneBranch(Exit):
    """The exit of an If whose condition is known. Nothing is read of the other branch."""

    def members(self, op: Op, slot: int) -> tuple[int, ...]:
        return (1 + slot + (0 if _taken(op) else len(op.out_dims)),)

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = super().flow(op, maps, fresh)
        taken = {index for slot in range(len(op.out_dims)) for index in self.members(op, slot)}
        reads, fixed = read_whole(maps, taken & {read.input for read in found.reads})
        return replace(found, reads=reads, fixed=fixed, droppable=True)

    def resize(self, op: Op, request: Request) -> Resize:
        copies = [NewNode("Identity", self.members(op, slot), slot) for slot, used in enumerate(op.used) if used]
        return replace(super().resize(op, request), constants={}, replace=tuple(copies))


class _If(Rule):
    """The exit of an If."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        return _exit_of_if(op).flow(op, maps, fresh)

    def resize(self, op: Op, request: Request) -> Resize:
        return _exit_of_if(op).resize(op, request)


def _exit_of_if(op: Op) -> Exit:
    return _Branches() if _taken(op) is None else _OneBranch()


def _taken(op: Op) -> bool | None:
    """What the condition of an If is; None where that depends on the input."""
    condition = op.constant(0)
    return None if condition is None or condition.size != 1 else bool(condition.ravel()[0])


register(_If(), "If", domain=DOMAIN)
