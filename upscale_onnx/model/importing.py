"""Import of models as onnx-graphsurgeon graphs.

Bodies of If, Loop and Scan become parts of the graph (see `bodies`). Other subgraphs, which graphsurgeon confuses with
what is outside of them, are imported as stand-ins: a subgraph with a single node, which reads exactly what the original
captures.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto
from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter
from onnx_graphsurgeon.logger import G_LOGGER
from onnx_graphsurgeon.util.exception import OnnxGraphSurgeonException

from upscale_onnx.errors import ModelError
from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.model.content import encoded, encoded_by
from upscale_onnx.model.edit import free_names
from upscale_onnx.model.protos import attribute_graphs, copy_fields, iter_nodes, one_line, overridable
from upscale_onnx.model.stored import is_stored, store_of

_IMPORTED = (
    AttributeProto.FLOAT,
    AttributeProto.INT,
    AttributeProto.STRING,
    AttributeProto.FLOATS,
    AttributeProto.INTS,
    AttributeProto.STRINGS,
    AttributeProto.TENSOR,
)


def quiet() -> AbstractContextManager[Any]:
    """A context in which graphsurgeon prints nothing to standard output. It still raises errors."""
    silence: AbstractContextManager[Any] = G_LOGGER.suppress(G_LOGGER.CRITICAL + 1)
    return silence


def import_graph(model: ModelProto) -> gs.Graph:
    """The main graph of `model` and its bodies as one flat graphsurgeon graph. Weights stay in the model until they are
    read.

    Functions are not imported: a node that calls one looks like a custom operator. An initializer that is the default
    of an input is an input of the graph.

    Raises:
        ModelError: graphsurgeon cannot represent some part of the graph.
    """
    source, defaults, graphs = model.graph, overridable(model), flat_graphs(model)
    # The importer reads only these fields. A copy of the model would hold every weight twice.
    shown = SimpleNamespace(
        name=source.name,
        doc_string=source.doc_string,
        initializer=[t for graph in graphs for t in graph.initializer if t.name not in defaults],
        sparse_initializer=[tensor for tensor in source.sparse_initializer if tensor.values.name not in defaults],
        value_info=[*source.value_info, *(value for body in graphs[1:] for value in (*body.value_info, *body.input))],
        input=source.input,
        output=source.output,
        node=[_shown(node) for node in all_nodes(model)],
    )
    try:
        with quiet():
            graph = OnnxImporter.import_graph(
                shown,
                opset=OnnxImporter.get_opset(model),
                import_domains=model.opset_import,
                producer_name=model.producer_name,
                producer_version=model.producer_version,
                ir_version=model.ir_version,
            )
    except (OnnxGraphSurgeonException, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"graph '{source.name}': cannot be imported: {one_line(error)}") from error
    if store_of(model) is None:
        return graph
    for tensor in graph.tensors().values():
        weight = encoded(tensor) if isinstance(tensor, gs.Constant) else None
        if weight is not None and is_stored(weight.tensor):
            tensor._values = encoded_by(weight.tensor)
    return graph


def is_imported(attribute: AttributeProto) -> bool:
    """Whether graphsurgeon can hold the value of `attribute`. It cannot hold byte strings that are not UTF-8 text."""
    if attribute.type in (AttributeProto.STRING, AttributeProto.STRINGS):
        return all(map(_is_text, (attribute.s, *attribute.strings)))
    return attribute.type in _IMPORTED


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(node: NodeProto) -> NodeProto:
    """`node` in the form in which graphsurgeon imports it: with stand-ins for subgraphs."""
    if all(is_imported(attribute) for attribute in node.attribute):
        return node
    shown = NodeProto()
    copy_fields(node, shown, skip=("attribute",))
    for attribute in node.attribute:
        graphs = attribute_graphs(attribute)
        if graphs:
            shown.attribute.add(name=attribute.name, type=AttributeProto.GRAPH, g=_stand_in(graphs))
        elif is_imported(attribute):
            shown.attribute.append(attribute)
    return shown


def _stand_in(graphs: Sequence[GraphProto]) -> GraphProto:
    """A graph that reads what `graphs` capture and makes all other names in them, so that no new value takes one."""
    captured = set().union(*(free_names(graph) for graph in graphs))
    own = {name for graph in graphs for node in iter_nodes(graph) for name in (*node.input, *node.output)} - {""}
    reader = NodeProto(op_type="Captured", input=sorted(captured), output=sorted(own - captured))
    return GraphProto(name="captured", node=[reader])
