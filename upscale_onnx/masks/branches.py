"""Branches: which decisions can keep nothing at all, because values have another way around what would be lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step
from upscale_onnx.masks.decisions import Decision
from upscale_onnx.masks.shared_weights import weight_of
from upscale_onnx.model import Shape, import_graph


def weights_in_front_of_sums(analysis: Analysis) -> frozenset[str]:
    """The weights of layers whose result is added to another value, maybe after operators that change each element."""
    producers = {name: step for step in analysis.steps for name in step.outputs}
    found = set()
    for step in analysis.steps:
        operands = [name for name, known in zip(step.inputs, step.maps, strict=True) if known is not None]
        if step.op.op_type not in ("Add", "Sum") or len(operands) < 2:
            continue
        for name in operands:
            maker = producers.get(name)
            while maker is not None and maker.flow.role is Role.POINTWISE and maker.inputs:
                maker = producers.get(maker.inputs[0])
            found.add("" if maker is None else weight_of(maker))
    return frozenset(found - {""})


def branches(
    decisions: Sequence[Decision], shapes: Mapping[str, Shape], masked_without: Callable[[int | None], onnx.ModelProto]
) -> dict[int, frozenset[int]]:
    """By the place of each decision that can keep nothing, the places of those whose layers are gone with it.

    masked_without: makes the model in which the decision at a place keeps nothing; None stands for no decision.
    """
    whole = analyse(import_graph(masked_without(None)), shapes)
    outputs, read_by_all = _outputs(whole), _read(whole)
    found = {}
    for place in range(len(decisions)):
        left = analyse(import_graph(masked_without(place)), shapes)
        read = _read(left)
        if _outputs(left) == outputs and read.intersection(left.inputs) == read_by_all.intersection(left.inputs):
            found[place] = frozenset(
                other for other, one in enumerate(decisions) if other == place or read.isdisjoint(one.weights)
            )
    return found


def _read(analysis: Analysis) -> set[str]:
    """What is read by the nodes on which a result depends."""
    return {name for step in analysis.steps if _is_computed(analysis, step) for name in step.inputs}


def _outputs(analysis: Analysis) -> frozenset[str]:
    """The outputs that hold anything but constants."""
    return frozenset(
        name
        for name in analysis.outputs
        if name not in analysis.maps or not is_constant(analysis.maps[name].state).all()
    )


def _is_computed(analysis: Analysis, step: Step) -> bool:
    """Whether a result depends on what a node makes."""
    known = [analysis.maps[name].labels for name in step.outputs if name in analysis.maps]
    return not known or any(analysis.live[labels].any() for labels in known)
