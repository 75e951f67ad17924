"""Export of constants from graphsurgeon graphs. A constant that nothing changed is exported as it was."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import GraphProto, TensorProto, ValueInfoProto
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from upscale_onnx.errors import InternalError
from upscale_onnx.model.content import encoded_by
from upscale_onnx.model.edit import captured_names
from upscale_onnx.model.nesting import is_entry
from upscale_onnx.model.protos import IR_WITH_FREE_INITIALIZERS, set_sizes
from upscale_onnx.model.stored import WeightStore, is_stored


class Pending:
    """The constants that the nodes of `graph` read and that are not written yet, by name, in order of use.

    Raises:
        InternalError: two constants have one name.
    """

    def __init__(self, graph: gs.Graph) -> None:
        self.left: dict[str, gs.Constant] = {}
        read = (tensor for node in graph.nodes if not is_entry(node) for tensor in node.inputs)
        for tensor in (*read, *graph.outputs):
            if isinstance(tensor, gs.Constant) and self.left.setdefault(tensor.name, tensor) is not tensor:
                raise InternalError(f"two different constants are called '{tensor.name}'")

    def write_known(
        self,
        source: GraphProto,
        target: GraphProto,
        kept: Collection[str],
        here: Callable[[str], bool] | None = None,
        store: WeightStore | None = None,
    ) -> None:
        """Write the constants of `source` that are read or `kept` to `target`, in their order.

        here: whether all readers of a constant are inside `target`; the others are left. None: they are.
        """
        for tensor in source.initializer:
            if tensor.name in self.left and (here is None or here(tensor.name)):
                _move(self.left.pop(tensor.name), tensor, target.initializer.add(), store)
            elif tensor.name in kept:
                target.initializer.add().CopyFrom(tensor)


def export_initializers(
    pending: Pending,
    source: GraphProto,
    target: GraphProto,
    defaults: Collection[str] = (),
    store: WeightStore | None = None,
) -> None:
    """Write the constants that are left to `target`: first those of `source` in their order, then new ones.

    The nodes of `target` must be written already.

    defaults: names of initializers that stay as they are, since they are defaults of inputs.
    store: takes the large ones; None keeps all in `target`.
    """
    # Constants that are read by name in places that graphsurgeon's main graph does not show.
    kept = captured_names(target.node) | set(defaults)
    kept.update(entry.value for note in source.quantization_annotation for entry in note.quant_parameter_tensor_names)
    sparse = {proto.values.name: proto for proto in source.sparse_initializer}
    pending.write_known(source, target, kept, store=store)
    left = pending.left
    for name, proto in sparse.items():
        if name in kept or (name in left and isinstance(left[name]._values, SparseValues)):
            left.pop(name, None)
            target.sparse_initializer.add().CopyFrom(proto)
    for constant in left.values():
        _move(constant, None, target.initializer.add(), store)


def _move(constant: gs.Constant, known: TensorProto | None, proto: TensorProto, store: WeightStore | None) -> None:
    """Write `constant` to `proto`. Afterwards it reads its values from there, so they are not held twice."""
    export_tensor(constant, known, proto, store)
    if isinstance(constant._values, np.ndarray):
        constant._values = encoded_by(proto)


def export_tensor(
    constant: gs.Constant, known: TensorProto | None, proto: TensorProto, store: WeightStore | None = None
) -> None:
    """Write `constant` to the empty `proto`. If the values are those of `known`, its original, so is the encoding."""
    if isinstance(constant._values, LazyValues):  # `.values` would load and keep it
        proto.CopyFrom(constant._values.tensor)
        if proto.name != constant.name:
            proto.name = constant.name
        return
    if known is None:
        _encode(constant, proto, store)
        return
    _encode(constant, proto, store)
    in_store = is_stored(known) or is_stored(proto)
    if not in_store and not known.HasField("raw_data") and _same_values(known, proto):
        proto.CopyFrom(known)  # was read, not edited: keep its encoding too
        return
    proto.metadata_props.extend(known.metadata_props)
    for name in ("doc_string",) if in_store else ("doc_string", "data_location"):
        if known.HasField(name):
            setattr(proto, name, getattr(known, name))


def _encode(constant: gs.Constant, proto: TensorProto, store: WeightStore | None) -> None:
    array = np.asarray(constant.values)
    if store is not None and store.encode(array, constant.name, proto):
        return
    if array.dtype.kind not in "fiubc":
        proto.CopyFrom(onnx.numpy_helper.from_array(array, constant.name))  # strings, and numbers that need packing
        return
    if constant.name:  # values of attributes have none
        proto.name = constant.name
    proto.dims.extend(array.shape)
    proto.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    # In place: a finished tensor would have to be copied once more.
    proto.raw_data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _same_values(a: TensorProto, b: TensorProto) -> bool:
    if a.name != b.name or a.data_type != b.data_type or a.dims != b.dims:
        return False
    first, second = onnx.numpy_helper.to_array(a), onnx.numpy_helper.to_array(b)
    if first.dtype == object:
        return bool(first.tolist() == second.tolist())
    return bool(first.tobytes() == second.tobytes())


def export_inputs(source: GraphProto, target: GraphProto, ir_version: int) -> None:
    """Write the inputs of `source` to `target`.

    An input that is a weight gets the shape and type of its initializer. It is left out if that is.
    """
    weights = {tensor.name: tensor for tensor in target.initializer}
    sparse = {tensor.values.name for tensor in target.sparse_initializer}
    gone = {tensor.name for tensor in source.initializer} | {t.values.name for t in source.sparse_initializer}
    gone -= weights.keys() | sparse
    for value in source.input:
        if value.name in gone:
            continue
        copy = target.input.add()
        copy.CopyFrom(value)
        weight = weights.pop(value.name, None)
        if weight is not None:
            _follow_weight(copy, weight)
    if ir_version < IR_WITH_FREE_INITIALIZERS:
        target.input.extend(onnx.helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in weights.values())


def _follow_weight(value: ValueInfoProto, weight: TensorProto) -> None:
    shape = value.type.tensor_type.shape
    if value.type.tensor_type.HasField("shape") and [dim.dim_value for dim in shape.dim] != list(weight.dims):
        set_sizes(shape, weight.dims)
    value.type.tensor_type.elem_type = weight.data_type
