"""Functions of a model written out, so that the operators in them are seen. Functions of runtimes stay: these have
kernels of their own for them."""

from __future__ import annotations

from google.protobuf.message import EncodeError
from onnx import ModelProto

from upscale_onnx.model.functions import written_bytes
from upscale_onnx.model.protos import copy_fields, iter_nodes, nodes_within
from upscale_onnx.worker.checks import inline

_MOST_BYTES = 2**28
_KEPT_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")


def inlined(model: ModelProto) -> ModelProto:
    """`model` with its own functions written out. It is `model` itself where there are none, where they would take too
    many bytes, and where onnx cannot do it. The model must be checked."""
    written = [f for f in model.functions if f.domain not in _KEPT_DOMAINS]
    if not written or written_bytes(model) > _MOST_BYTES:
        return model
    bare = ModelProto()
    copy_fields(model, bare, skip=("graph", "training_info"))
    copy_fields(model.graph, bare.graph, skip=("initializer",))
    for tensor in model.graph.initializer:
        # Their names are taken. Their values would be copied.
        bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=[0])
    _write_defaults(bare)
    kept = sorted({(f.domain, f.name) for f in model.functions if f.domain in _KEPT_DOMAINS})
    try:
        found = inline(bare.SerializeToString(), kept)
    except EncodeError:
        return model
    if isinstance(found, str):
        return model
    del found.graph.initializer[:]
    found.graph.initializer.extend(model.graph.initializer)
    found.training_info.extend(model.training_info)
    return found


def _write_defaults(model: ModelProto) -> None:
    """Give each call of a function the attributes that it leaves at their defaults. onnx's inliner knows no defaults of
    functions: an operator in them would be left at its own."""
    defaults = {(f.domain, f.name, f.overload): f.attribute_proto for f in model.functions if f.attribute_proto}
    if not defaults:
        return
    nodes = (*iter_nodes(model.graph), *(node for f in model.functions for node in nodes_within(f.node)))
    for node in nodes:
        given = {attribute.name for attribute in node.attribute}
        missing = defaults.get((node.domain, node.op_type, node.overload), ())
        node.attribute.extend(attribute for attribute in missing if attribute.name not in given)
