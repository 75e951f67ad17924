"""A model in PyTorch that is planned once for inputs of one shape, so that many steps of training cost little beside
the kernels: sizes and constants are computed beforehand, and values stand in numbered slots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from upscale_onnx.torch_backend.network import Step, TorchNetwork
from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value

Override = Callable[[onnx.NodeProto], Rule | None]
"""The rule that runs a node in place of the usual one, or None."""

# What these return depends on the shape of their input alone, and the shape is known.
_OF_SHAPES = frozenset({"Shape", "Size"})
_NOTHING = 0  # the slot of inputs that are left out


@dataclass(frozen=True)
class _Call:
    rule: Rule
    operator: Operator
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    drops: tuple[int, ...]


class PlannedNetwork(TorchNetwork):
    """`model` for inputs with the shapes of `example`.

    live: tensors in place of the constants with these names. They may be changed in place between runs; all other
    constants, and what is computed of them alone, are fixed now.
    override: rules for running; planning uses the usual ones.
    shapes: of the outputs. has_gradient: whether the first output depends on a tensor in `live` that has one.

    Raises: ArgumentError if an operator cannot be run, or has no gradient here.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        live: Mapping[str, Tensor],
        example: Mapping[str, Tensor],
        override: Override = lambda node: None,
    ) -> None:
        super().__init__(model)
        self._slots: list[Value | None] = [None]
        self._calls: list[_Call] = []
        found: dict[str, Value] = {**self._constants, **live, **example}
        steps, varying = self._planned(found, live, example, override)
        slots = {name: self._slot(None) for name in example}
        self._number(steps, found, slots, varying - live.keys() - {*self.outputs})
        results = [found[name] for name in self.outputs]
        self.shapes = [tuple(value.shape) for value in results]
        self.has_gradient = isinstance(results[0], torch.Tensor) and results[0].requires_grad
        self._results = [slots[name] if name in slots else self._slot(found[name]) for name in self.outputs]

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs of the model. inputs: in the order of `example`."""
        values: list[Any] = list(self._slots)
        values[1 : 1 + len(inputs)] = inputs
        for call in self._calls:
            made = call.rule(call.operator, *[values[i] for i in call.reads])
            if len(call.writes) == 1:
                values[call.writes[0]] = made[0] if isinstance(made, tuple | list) else made
            else:
                for slot, value in zip(call.writes, made, strict=False):
                    values[slot] = value
            for slot in call.drops:
                values[slot] = None
        return [values[slot] for slot in self._results]

    def _planned(
        self,
        found: dict[str, Value],
        live: Mapping[str, Tensor],
        example: Mapping[str, Tensor],
        override: Override,
    ) -> tuple[list[tuple[Step, Rule]], set[str]]:
        """The steps to run for each input, with their rules, and the names of values that vary. All values for the
        example are put into `found`."""
        varying = {*example, *live}
        steps: list[tuple[Step, Rule]] = []
        for number, step in enumerate(self._steps):
            given = [found[name] if name else None for name in step.node.input]
            found.update(zip(step.node.output, self._made(step, number, given), strict=False))
            if varying.isdisjoint(filter(None, step.node.input)) or step.node.op_type in _OF_SHAPES:
                continue
            varying.update(filter(None, step.node.output))
            steps.append((step, override(step.node) or step.rule or _evaluated(self, step, number)))
        return steps, varying

    def _number(
        self, steps: Sequence[tuple[Step, Rule]], found: Mapping[str, Value], slots: dict[str, int], passing: set[str]
    ) -> None:
        """Make the calls, and number values in `slots`. Values in `passing` are dropped behind their last reader."""
        last = {name: position for position, (step, _) in enumerate(steps) for name in step.node.input if name}
        made = {name for step, _ in steps for name in step.node.output}
        for name in last.keys() - made - slots.keys():
            slots[name] = self._slot(found[name])
        for position, (step, rule) in enumerate(steps):
            reads = [slots[name] if name else _NOTHING for name in step.node.input]
            while reads and reads[-1] == _NOTHING:
                reads.pop()
            for name in step.node.output:
                slots[name] = self._slot(None)
            writes = tuple(slots[name] for name in step.node.output)
            drops = tuple(slots[name] for name in passing.intersection(step.node.input) if last[name] == position)
            self._calls.append(_Call(rule, step.operator, tuple(reads), writes, drops))

    def _slot(self, value: Value | None) -> int:
        self._slots.append(value)
        return len(self._slots) - 1


def _evaluated(network: PlannedNetwork, step: Step, number: int) -> Rule:
    """A rule for a node without gradients, such as a comparison of values that vary. number: its position."""

    def rule(operator: Operator, *given: Value | None) -> Any:
        missing = [None] * (len(step.node.input) - len(given))
        made = tuple(network._made(step, number, [*given, *missing]))
        return made if len(made) > 1 else made[0]

    return rule
