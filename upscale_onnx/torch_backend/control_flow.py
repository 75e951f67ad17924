"""If, Loop and Scan: which bodies are run, and on what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import torch

from upscale_onnx.torch_backend.values import Operator, Value, array, tensor

Body: TypeAlias = Callable[..., list[Value]]
"""Runs a body on what it is handed. It returns what the body returns."""
Flow: TypeAlias = Callable[[Operator, Sequence[Value | None], Mapping[str, Body]], list[Value]]
"""A function of a node, its inputs and its bodies by the names of their attributes. It returns the node's outputs."""


def _branch(operator: Operator, given: Sequence[Value | None], bodies: Mapping[str, Body]) -> list[Value]:
    (condition,) = given
    assert condition is not None
    return bodies["then_branch" if array(condition).item() else "else_branch"]()


def _loop(operator: Operator, given: Sequence[Value | None], bodies: Mapping[str, Body]) -> list[Value]:
    most, condition = (*given[:2], None, None)[:2]
    states = [value for value in given[2:] if value is not None]
    goes_on, number, rounds = condition is None or bool(array(condition).item()), 0, list[list[Value]]()
    while goes_on and (most is None or number < int(array(most).item())):
        made = bodies["body"](np.asarray(number, np.int64), np.asarray(True), *states)
        goes_on, states = bool(array(made[0]).item()), made[1 : 1 + len(states)]
        rounds.append(made[1 + len(states) :])
        number += 1
    return states + _all_stacked(rounds, operator.outputs - len(states))


def _scan(operator: Operator, given: Sequence[Value | None], bodies: Mapping[str, Body]) -> list[Value]:
    values, count = [value for value in given if value is not None], int(operator.get("num_scan_inputs"))
    states, read = values[:-count], values[-count:]
    axes, backward = (operator.get(f"scan_input_{name}") or [0] * count for name in ("axes", "directions"))
    read = [_reversed(_moved(one, axis, 0), back) for one, axis, back in zip(read, axes, backward, strict=True)]
    rounds = []
    for number in range(len(read[0])):
        returned = bodies["body"](*states, *(value[number] for value in read))
        states = returned[: len(states)]
        rounds.append(returned[len(states) :])
    stacked = _all_stacked(rounds, operator.outputs - len(states))
    axes, backward = (operator.get(f"scan_output_{name}") or [0] * len(stacked) for name in ("axes", "directions"))
    return states + [
        _moved(_reversed(one, back), 0, axis) for one, axis, back in zip(stacked, axes, backward, strict=True)
    ]


def _all_stacked(rounds: Sequence[Sequence[Value]], count: int) -> list[Value]:
    """What rounds made, along a new first axis. count: the number of values that a round makes, if there is none."""
    return [_stacked(made) for made in zip(*rounds, strict=True)] if rounds else [torch.zeros(0)] * count


def _stacked(values: Sequence[Value]) -> Value:
    if any(isinstance(value, torch.Tensor) for value in values):
        return torch.stack([tensor(value) for value in values])
    return np.stack([array(value) for value in values])


def _moved(value: Value, source: int, target: int) -> Value:
    return (
        torch.movedim(value, source, target) if isinstance(value, torch.Tensor) else np.moveaxis(value, source, target)
    )


def _reversed(value: Value, is_backward: int) -> Value:
    if not is_backward:
        return value
    return value.flip(0) if isinstance(value, torch.Tensor) else value[::-1]


FLOWS: Mapping[str, Flow] = {"If": _branch, "Loop": _loop, "Scan": _scan}
