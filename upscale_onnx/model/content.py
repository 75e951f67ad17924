"""Constants and nodes of a graph in ONNX's own form. Large weights stay encoded until they are read."""

from __future__ import annotations

import weakref
from typing import Any, TypeAlias

import numpy as np
import onnx_graphsurgeon as gs
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx_graphsurgeon.exporters.onnx_exporter import OnnxExporter
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from upscale_onnx.model.stored import is_stored, stored_values
from upscale_onnx.types import Array

Encoded: TypeAlias = LazyValues
"""A weight as its file holds it: `.tensor` is the TensorProto."""


def is_sparse(tensor: gs.Constant) -> bool:
    """Whether a constant is stored as indices and values."""
    return isinstance(tensor._values, SparseValues)


def encoded(tensor: gs.Constant) -> Encoded | None:
    """A constant as its file holds it; None if its values are decoded already."""
    return tensor._values if isinstance(tensor._values, LazyValues) else None


def decoded(weight: Encoded) -> Array:
    """The values of a weight, read-only.

    The graph keeps the encoded form, so an unchanged weight is exported as it was. Decoded values are shared as long
    as anyone holds them.
    """
    shared = getattr(weight, "decoded", None)
    array: Array | None = None if shared is None else shared()
    if array is None:
        array = weight_values(weight.tensor)
        weight.decoded = weakref.ref(array)
    return array


class _StoredValues(LazyValues):  # type: ignore[misc]
    """The values of a weight in a store."""

    def load(self) -> Array:
        return weight_values(self.tensor)


def encoded_by(tensor: TensorProto) -> Encoded:
    """A weight as `tensor` holds it."""
    return _StoredValues(tensor) if is_stored(tensor) else LazyValues(tensor)


def weight_values(tensor: TensorProto) -> Array:
    """The values of a tensor, mapped if they are in a store."""
    found = stored_values(tensor)
    return numpy_helper.to_array(tensor) if found is None else found


def values_of(tensor: gs.Constant) -> Array:
    """The values of a constant in the type in which it is stored. graphsurgeon itself gives other types for some."""
    lazy = encoded(tensor)
    return np.asarray(tensor.values) if lazy is None else decoded(lazy)


def element_type(tensor: gs.Constant) -> np.dtype[Any] | None:
    """The type in which the values of a constant are stored; None where numpy has none for it."""
    dtype = tensor.dtype
    if isinstance(dtype, int):  # graphsurgeon has ONNX's own number for types that it does not know
        return np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    return np.dtype(dtype) if isinstance(dtype, np.dtype | type) else None


def node_proto(node: gs.Node) -> NodeProto:
    """A node in ONNX's form."""
    proto: NodeProto = OnnxExporter.export_node(node)
    return proto
