"""Sparse initializers as ordinary ones, where that takes no more bytes: channels are followed through these alone.

Runtimes hold both alike. A sparse tensor of float32 takes 12 bytes for each value that is not zero, so it is the larger
one if more than a third of them are not.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ModelProto, SparseTensorProto, TensorProto, helper, numpy_helper

from upscale_onnx.model.stored import is_stored
from upscale_onnx.types import Array


def with_dense_weights(model: ModelProto) -> ModelProto:
    """`model`, which is valid, or a copy of it with ordinary initializers in place of sparse ones that take as many
    bytes or more."""
    given = {value.name for value in model.graph.input}
    dense = [t for t in model.graph.sparse_initializer if t.values.name not in given and _is_larger(t)]
    if not dense:
        return model
    names = {tensor.values.name for tensor in dense}
    found = ModelProto()
    found.CopyFrom(model)
    del found.graph.sparse_initializer[:]
    found.graph.sparse_initializer.extend(t for t in model.graph.sparse_initializer if t.values.name not in names)
    found.graph.initializer.extend(numpy_helper.from_array(_values(t), t.values.name) for t in dense)
    return found


def _is_larger(tensor: SparseTensorProto) -> bool:
    """Whether the sparse form takes as many bytes as the dense one, or more."""
    if (
        any(is_stored(part) for part in (tensor.values, tensor.indices))
        or tensor.values.data_type == TensorProto.STRING
    ):
        return False
    size: int = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.values.data_type)).itemsize
    held = math.prod(tensor.values.dims) * size + math.prod(tensor.indices.dims) * np.dtype(np.int64).itemsize
    return bool(math.prod(tensor.dims) * size <= held)


def _values(tensor: SparseTensorProto) -> Array:
    """The elements of a tensor whose indices are `(values,)`, in the order of all elements, or `(values, axes)`."""
    values, indices = numpy_helper.to_array(tensor.values), numpy_helper.to_array(tensor.indices)
    found = np.zeros(tuple(tensor.dims), values.dtype)
    if indices.ndim == 1:
        found.reshape(-1)[indices] = values
    else:
        found[tuple(indices.T)] = values
    return found
