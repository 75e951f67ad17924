"""Which channels are the graph's outputs: class scores, boxes, features that leave the network.

They reach an output through carriers, through operators that take a whole axis together (Softmax, a normalisation, a
mean over channels) and through what no rule looks through. A layer stands in between where weights make new channels
of them, or where a product of two activations contracts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.flow import Read, Role
from upscale_onnx.channels.step import Step
from upscale_onnx.model.operators import SIZES
from upscale_onnx.types import BoolArray


@dataclass(frozen=True, eq=False)
class Reach:
    """What reaches an output. classes: for each class id, whether its channels do. values: the names of the values
    that do, also of those without classes. makers: the first outputs of the nodes whose weights make such channels."""

    classes: BoolArray
    values: frozenset[str]
    makers: frozenset[str]


def reach_of_outputs(analysis: Analysis) -> Reach:
    """Return what reaches the graph's outputs without a layer in between."""
    classes = np.zeros(analysis.live.size, np.bool_)
    values = set(analysis.outputs)
    for name in analysis.outputs & analysis.maps.keys():
        classes[analysis.maps[name].labels] = True
    makers = set()
    for step in reversed(analysis.steps):
        if step.op.op_type in SIZES or not _reaches(analysis, step, classes, values):
            continue
        if _is_layer(step):
            makers.add(step.outputs[0])
        elif step.flow.role is not Role.CONTRACTION:
            for read in step.flow.reads:
                classes[read.sources[_is_read(read, classes)]] = True
            if step.barrier:
                values.update(step.inputs)
    return Reach(classes, frozenset(values), frozenset(makers))


def _reaches(analysis: Analysis, step: Step, classes: BoolArray, values: set[str]) -> bool:
    made = [analysis.maps[name] for name in step.outputs if name in analysis.maps]
    return any(classes[found.labels].any() for found in made) or not values.isdisjoint(step.outputs)


def _is_layer(step: Step) -> bool:
    """Whether the node makes its channels by weights. Where no rule tells, it does if one of them is a matrix."""
    if step.flow.creates or not step.barrier:
        return step.flow.creates
    arrays = (step.op.constant(index) for index in range(len(step.inputs)))
    return any(array is not None and sum(size > 1 for size in array.shape) > 1 for array in arrays)


def _is_read(read: Read, classes: BoolArray) -> BoolArray:
    """Which channels the node reads for a result that reaches an output."""
    if read.targets is None:
        return np.ones(read.sources.size, np.bool_)
    wanted = classes[read.targets]
    if read.known is None:
        return np.full(read.sources.size, wanted.any())
    return read.known.read_by(wanted)
