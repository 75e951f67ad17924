"""Export of onnx-graphsurgeon graphs as models, without losses.

graphsurgeon's own exporter rebuilds every proto from what it understood, and drops the rest: doc strings,
metadata, annotations, attributes of rare types, names inside subgraphs. Here the original protos are copied,
and only what was edited comes from the graph. Functions and training information are copied as they are, and so are
subgraphs that are no part of the graph: edits to them are ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx_graphsurgeon.ir.tensor import LazyValues

from upscale_onnx.errors import InternalError
from upscale_onnx.model.bodies import DOMAIN, Opened, first_of, flat_nodes, opened_nodes
from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.importing import is_imported
from upscale_onnx.model.nesting import Nesting, Place, exit_key, is_entry
from upscale_onnx.model.protos import copy_fields, overridable
from upscale_onnx.model.shapes import Shape
from upscale_onnx.model.stored import store_of
from upscale_onnx.model.weights import Pending, export_initializers, export_inputs, export_tensor

Stale = Mapping[str, Shape | None] | None
_EDITED_FIELDS = ("node", "initializer", "sparse_initializer", "input", "value_info", "quantization_annotation")


def export_graph(graph: gs.Graph, original: ModelProto, changed: Collection[str] | Stale = ()) -> ModelProto:
    """`graph` as a model. It was imported from `original`, and the model differs from that only where it was edited.

    Graph inputs that are weights get the shape of the weight. Initializers that nothing reads are left out.

    changed: names of values whose declared shape or type may no longer be right, with their shapes now where these are
        known; their `value_info` is left out. None means all values.

    Raises:
        InternalError: the graph's inputs or outputs are not those of `original`.
    """
    defaults = overridable(original)
    _check_interface(graph, original.graph, defaults)
    stale = changed if isinstance(changed, Mapping) or changed is None else dict.fromkeys(changed)
    model = ModelProto()
    copy_fields(original, model, skip=("graph",))
    source, target = original.graph, model.graph
    target.SetInParent()
    copy_fields(source, target, skip=_EDITED_FIELDS)
    opened = opened_nodes(original)
    constants = Pending(graph)
    _Nodes(graph, source, opened, constants, stale).write(target, ())
    export_initializers(constants, source, target, defaults, store_of(original))
    export_inputs(source, target, original.ir_version)
    _export_annotations(stale, source, target)
    return model


def _export_annotations(stale: Stale, source: GraphProto, target: GraphProto) -> None:
    """Write the declarations of the values that still exist and are not stale to `target`."""
    if stale is None:
        return
    values = {name for node in target.node for name in node.output}
    values.update(value.name for value in target.input)
    values.update(tensor.name for tensor in target.initializer)
    values -= stale.keys()
    target.value_info.extend(value for value in source.value_info if value.name in values)
    target.quantization_annotation.extend(a for a in source.quantization_annotation if a.tensor_name in values)


def _check_interface(graph: gs.Graph, source: GraphProto, defaults: frozenset[str]) -> None:
    weights = {tensor.name for tensor in source.initializer} | {s.values.name for s in source.sparse_initializer}
    inputs = [value.name for value in source.input if value.name not in weights - defaults]
    if [value.name for value in graph.inputs] != inputs:
        raise InternalError(f"the inputs of graph '{source.name}' were changed by an edit")
    if [value.name for value in graph.outputs] != [value.name for value in source.output]:
        raise InternalError(f"the outputs of graph '{source.name}' were changed by an edit")


class _Nodes:
    """The nodes of `graph`, by the body that they stand in."""

    def __init__(
        self,
        graph: gs.Graph,
        source: GraphProto,
        opened: Mapping[str, Opened],
        constants: Pending,
        stale: Stale,
    ) -> None:
        self._opened, self._constants, self._stale = opened, constants, stale
        self._nesting = Nesting(graph, source, opened)
        self._tensors = graph.tensors()
        self._names = set(self._tensors)
        self._groups: dict[Place, list[gs.Node]] = defaultdict(list)
        for node in graph.nodes:
            if not is_entry(node):
                self._groups[self._nesting.place(node)].append(node)
        # A value has one producer, so its first output identifies a node.
        self._originals = {first_of(n.output): n for n in flat_nodes(source.node, opened) if n.domain != DOMAIN}

    def write(self, target: GraphProto, place: Place) -> None:
        """Write the nodes that stand at `place` to `target`."""
        for node in self._groups[place]:
            proto, key = target.node.add(), exit_key(node)
            known = self._originals.get(first_of(value.name for value in node.outputs))
            if key is not None:
                self._write_exit(node, self._opened[key], proto, place)
            elif known is not None and known.op_type == node.op and known.domain == (node.domain or ""):
                _export_known(node, known, proto)
            else:
                _export_new(node, proto)

    def _write_exit(self, node: gs.Node, known: Opened, proto: NodeProto, place: Place) -> None:
        copy_fields(known.node, proto, skip=("input", "output", "attribute"))
        names = [value.name for value in node.inputs]
        proto.input.extend(names[: known.given])
        proto.output.extend(value.name for value in node.outputs)
        returned: dict[str, Sequence[str]] = {}
        for name, body in known.bodies:
            start = known.given + sum(len(before) for before in returned.values())
            returned[name] = names[start : start + len(body.output)]
        for attribute in known.node.attribute:
            copied = proto.attribute.add()
            copy_fields(attribute, copied, skip=("g",))
            if attribute.name in returned:
                inner = (*place, (known.key, attribute.name))
                self._write_body(attribute.g, returned[attribute.name], copied.g, inner)

    def _write_body(self, body: GraphProto, returned: Sequence[str], target: GraphProto, place: Place) -> None:
        target.SetInParent()
        copy_fields(body, target, skip=("node", "initializer", "input", "output", "value_info"))
        self.write(target, place)
        inside = partial(self._nesting.reads_inside, place)
        self._constants.write_known(body, target, captured_names(target.node), inside)
        target.input.extend(self._declared(value) for value in body.input)
        own = {name for node in target.node for name in node.output} | {tensor.name for tensor in target.initializer}
        own -= {value.name for value in body.output}
        for value, name in zip(body.output, returned, strict=True):
            output = target.output.add()
            output.CopyFrom(self._declared(value))
            if name == value.name:
                continue
            # A body returns no value from outside, and none twice.
            if name not in own:
                target.node.append(onnx.helper.make_node("Identity", [name], [self._fresh(f"{name}_returned")]))
            output.name = name if name in own else target.node[-1].output[0]
            _declare(output, self._shape(name))
            own.discard(name)
        _export_annotations(self._stale, body, target)

    def _declared(self, value: ValueInfoProto) -> ValueInfoProto:
        """The declaration of a value, with its shape as it is now."""
        declared = ValueInfoProto()
        declared.CopyFrom(value)
        if self._stale is None or value.name in self._stale:
            _declare(declared, self._shape(value.name))
        return declared

    def _shape(self, name: str) -> Shape | None:
        """The shape of a value that has another one than the model declares, if it is known."""
        tensor = self._tensors.get(name)
        if isinstance(tensor, gs.Constant):
            return Shape(0, tuple(tensor.shape))
        return None if self._stale is None else self._stale.get(name)

    def _fresh(self, base: str) -> str:
        name, number = base, 1
        while name in self._names:
            name, number = f"{base}_{number}", number + 1
        self._names.add(name)
        return name


def _declare(value: ValueInfoProto, shape: Shape | None) -> None:
    """Give the declaration of a value this shape; None: an unknown one. A body that runs not once returns values of the
    sizes that it declares."""
    if value.type.HasField("tensor_type"):
        value.type.tensor_type.ClearField("shape")
        if shape is not None:
            value.type.MergeFrom(onnx.helper.make_tensor_type_proto(value.type.tensor_type.elem_type, shape.dims))


def _export_known(node: gs.Node, known: NodeProto, proto: NodeProto) -> None:
    copy_fields(known, proto, skip=("input", "output", "attribute"))
    if node.name != known.name:
        proto.name = node.name
    proto.input.extend(value.name for value in node.inputs)
    proto.output.extend(value.name for value in node.outputs)
    names = set()
    for attribute in known.attribute:
        names.add(attribute.name)
        if not is_imported(attribute):
            proto.attribute.add().CopyFrom(attribute)
        elif attribute.name in node.attrs:
            _export_attribute(node.attrs[attribute.name], attribute, proto.attribute.add())
    for name, value in node.attrs.items():
        if name not in names:
            proto.attribute.append(_new_attribute(name, value))


def _export_new(node: gs.Node, proto: NodeProto) -> None:
    proto.op_type = node.op
    proto.input.extend(value.name for value in node.inputs)
    proto.output.extend(value.name for value in node.outputs)
    if node.name:
        proto.name = node.name
    if node.domain:
        proto.domain = node.domain
    proto.attribute.extend(_new_attribute(name, value) for name, value in node.attrs.items())


def _export_attribute(value: Any, known: AttributeProto, proto: AttributeProto) -> None:
    if _is_unchanged(value, known):
        proto.CopyFrom(known)
        return
    if known.type == AttributeProto.TENSOR and isinstance(value, gs.Constant):
        copy_fields(known, proto, skip=("t",))
        export_tensor(value, known.t, proto.t)
        return
    proto.CopyFrom(onnx.helper.make_attribute(known.name, value, known.doc_string or None, known.type))


def _is_unchanged(value: Any, known: AttributeProto) -> bool:
    if known.type == AttributeProto.TENSOR:
        lazy = isinstance(value, gs.Constant) and isinstance(value._values, LazyValues)
        return lazy and value.name == known.t.name and value._values.tensor is known.t
    if known.type == AttributeProto.STRINGS:
        return isinstance(value, list) and value == [text.decode() for text in known.strings]
    if known.type == AttributeProto.STRING:
        return isinstance(value, str) and value == known.s.decode()
    return bool(value == onnx.helper.get_attribute_value(known))


def _new_attribute(name: str, value: Any) -> AttributeProto:
    if isinstance(value, gs.Graph):
        raise InternalError(f"an edit made the attribute '{name}', which holds a subgraph")
    if isinstance(value, gs.Constant):
        tensor = TensorProto()
        export_tensor(value, None, tensor)
        return onnx.helper.make_attribute(name, tensor)
    if isinstance(value, np.ndarray):
        return onnx.helper.make_attribute(name, onnx.numpy_helper.from_array(value))
    return onnx.helper.make_attribute(name, value)
