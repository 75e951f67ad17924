"""Values inside bodies of If, Loop and Scan as values of the main graph, so that they can be watched.

Each body on the way out returns the value. A Loop or Scan stacks what its rounds made, along a first axis. The other
branch of an If returns an empty tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.bodies import Opened, flat_graphs, opened_nodes
from upscale_onnx.types import Array

_SCAN_OUTPUTS = {"scan_output_axes": 0, "scan_output_directions": 0}


@dataclass(frozen=True)
class InnerValue:
    """A value of the main graph that holds what a value in a body held. stacked: by how many Loops and Scans."""

    name: str
    stacked: int = 0

    def samples(self, array: Array) -> Array:
        """What the value held, with samples along the first axis: for each sample, what all rounds made of it. It is
        empty if no round did."""
        rest = array.shape[self.stacked :]
        if not self.stacked or not array.size or not rest:
            return array
        return np.moveaxis(array.reshape(-1, *rest), 0, 1).reshape(-1, *rest[1:])


def with_inner_values(
    model: ModelProto, names: Collection[str], shapes: Mapping[str, Shape] | None = None
) -> tuple[ModelProto, dict[str, InnerValue]]:
    """`model` whose main graph makes what those of the values `names` hold that are in bodies, and by their names the
    values that it makes. It is `model` itself where there are none. Values of unknown rank are left out. shapes: those
    of the values, where they are known."""
    made = {name for graph in flat_graphs(model)[1:] for name in _made(graph)}
    if shapes is None:
        shapes = infer_shapes(model) if made else {}
    wanted = [name for name in dict.fromkeys(names) if name in made and name in shapes and shapes[name].dtype]
    if not wanted:
        return model, {}
    result = ModelProto()
    result.CopyFrom(model)
    opened = opened_nodes(result)
    found = {name: _brought_out(result.graph, opened, name, shapes[name]) for name in wanted}
    return result, {name: value for name, value in found.items() if value is not None}


def inner_positions(model: ModelProto) -> dict[str, int]:
    """By the name of each value in a body, the position of the node of the main graph in whose bodies it is."""
    opened, found = opened_nodes(model), dict[str, int]()
    for position, node in enumerate(model.graph.node):
        pending = [node]
        while pending:
            bodies = [body for name in pending.pop().output[:] if name in opened for _, body in opened[name].bodies]
            found.update((name, position) for body in bodies for name in _made(body))
            pending += [inner for body in bodies for inner in body.node]
    return found


def _brought_out(graph: GraphProto, opened: Mapping[str, Opened], name: str, shape: Shape) -> InnerValue | None:
    """The value of `graph` that holds what a value in a body of it holds, made by edits. None where no body has it."""
    for known in (opened[key] for node in graph.node for key in node.output[:] if key in opened):
        for attribute, body in known.bodies:
            inner = InnerValue(name) if name in _made(body) else _brought_out(body, opened, name, shape)
            if inner is not None:
                rank = len(shape.dims) + inner.stacked
                seen = _returned(known.node, attribute, inner.name, shape.dtype, rank)
                return InnerValue(seen, inner.stacked + (known.node.op_type != "If"))
    return None


def _returned(node: NodeProto, attribute: str, inner: str, dtype: int, rank: int) -> str:
    """The new output of `node` for the value `inner` of one of its bodies."""
    seen = f"{inner}/seen"
    for own in node.attribute:
        if own.type == AttributeProto.GRAPH:
            name = f"{seen}/{own.name}"
            own.g.node.append(
                helper.make_node("Identity", [inner], [name])
                if own.name == attribute
                else helper.make_node("Constant", [], [name], value=_nothing(dtype, rank))
            )
            own.g.output.append(helper.make_tensor_value_info(name, dtype, None))
        elif own.name in _SCAN_OUTPUTS:
            own.ints.append(_SCAN_OUTPUTS[own.name])
    node.output.append(seen)
    return seen


def _nothing(dtype: int, rank: int) -> TensorProto:
    return numpy_helper.from_array(np.zeros((0,) * rank, helper.tensor_dtype_to_np_dtype(dtype)))


def _made(graph: GraphProto) -> Iterator[str]:
    yield from (value.name for value in graph.input)
    yield from (name for node in graph.node for name in node.output if name)
