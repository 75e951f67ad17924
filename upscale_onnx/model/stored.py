"""Large weights in a file of our own: they take memory only while their values are read, and are mapped for that.

The file is a private copy, so it does not shrink under its maps. Nobody else writes a reference to it: `load_model`
refuses a model of a user that refers to files by absolute paths.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model.protos import element_count
from upscale_onnx.model.tensors import is_external, raw_length
from upscale_onnx.types import Array

# Models with fewer bytes of weights stay in memory, which is as quick.
ALWAYS_IN_MEMORY = 2**28
# Smaller weights stay in the model: the sizes and thresholds among them are read in many places.
SMALLEST = 2**20
PREFIX = "upscale_onnx-"
_NAME = "weights.data"
_BLOCK = 2**24
_NO_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_SOON_COPIED = 2**14  # elements; it takes longer to add up the size of a smaller tensor than to copy it
_RAW_TAG = 1  # bytes of the tag of raw_data


class WeightStore:
    """A file that holds weights, one after the other. It only grows."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / _NAME
        self._file = self.path.open("x+b", buffering=0)
        self._end = 0
        self._places: dict[int, tuple[weakref.ref[Array], int]] = {}

    def copy(self, tensor: TensorProto, source: int, offset: int, length: int) -> None:
        """Take the values of `tensor` from `length` bytes of the open file `source`, from `offset` on.

        Raises:
            ModelError: the disk is full, or the file has become shorter.
        """
        start = done = self._begin()
        with _full_disk(self.path):
            while done < start + length:
                count = _copied(source, self._file.fileno(), min(_BLOCK, start + length - done), offset, done)
                if not count:
                    raise ModelError(f"tensor '{tensor.name}': its file has become shorter while it was read")
                offset, done = offset + count, done + count
        self._end = done
        self._refer(tensor, start, length)

    def kept(self, array: Array) -> Array:
        """`array` read-only and in the file, or itself if it is small or of a type that numpy lacks.

        Raises:
            ModelError: the disk is full.
        """
        if array.nbytes < SMALLEST or not is_plain(array.dtype):
            return array
        start = self._written(array)
        found = self.mapped(start, array.dtype, array.shape)
        key = id(found)
        self._places[key] = weakref.ref(found, lambda _: self._places.pop(key, None)), start
        return found

    def encode(self, array: Array, name: str, proto: TensorProto) -> bool:
        """Write a weight to the empty `proto`, by reference; return False, and write nothing, where `kept` would not.

        Raises:
            ModelError: the disk is full.
        """
        if array.nbytes < SMALLEST or not is_plain(array.dtype):
            return False
        known = self._places.get(id(array))
        start = known[1] if known is not None and known[0]() is array else self._written(array)
        proto.name, proto.data_type = name, helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.dims.extend(array.shape)
        self._refer(proto, start, array.nbytes)
        return True

    def mapped(self, start: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
        """The values at a place of the file. Their pages are given back as soon as nobody holds them."""
        length = int(np.prod(shape)) * dtype.itemsize
        held = mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=start)
        return np.frombuffer(held, dtype.newbyteorder("<")).reshape(shape)

    def close(self) -> None:
        """Close the file. Maps stay."""
        self._file.close()

    def _begin(self) -> int:
        return self._end + -self._end % mmap.ALLOCATIONGRANULARITY

    def _written(self, array: Array) -> int:
        start = self._begin()
        left = byte_view(np.ascontiguousarray(array, array.dtype.newbyteorder("<")))
        with _full_disk(self.path):
            self._file.seek(start)
            while left:
                left = left[self._file.write(left[:_BLOCK]) :]
        self._end = start + array.nbytes
        return start

    def _refer(self, tensor: TensorProto, offset: int, length: int) -> None:
        tensor.data_location = TensorProto.EXTERNAL
        del tensor.external_data[:]
        for key, value in (("location", str(self.path)), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))


_OPEN: dict[str, WeightStore] = {}


@contextmanager
def weight_store() -> Iterator[WeightStore]:
    """A context with a store in a temporary folder.

    Raises:
        ModelError: the folder cannot be made.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        store = WeightStore(Path(folder).resolve())
        _OPEN[str(store.path)] = store
        try:
            yield store
        finally:
            del _OPEN[str(store.path)]
            store.close()


def store_of(model: ModelProto) -> WeightStore | None:
    """The store that holds weights of `model`; None if there is none."""
    return next((found for tensor in model.graph.initializer if (found := _store(tensor)) is not None), None)


def is_stored(tensor: TensorProto) -> bool:
    """Whether the values of `tensor` are in an open store."""
    return _store(tensor) is not None


def stored_values(tensor: TensorProto) -> Array | None:
    """The values of `tensor`, mapped; None if they are in no store."""
    store = _store(tensor)
    if store is None:
        return None
    offset = next(int(entry.value) for entry in tensor.external_data if entry.key == "offset")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return store.mapped(offset, dtype, tuple(tensor.dims))


def whole(tensor: TensorProto) -> TensorProto:
    """`tensor` with its values: itself, or a copy that holds them if they are in a store."""
    values = stored_values(tensor)
    if values is None:
        return tensor
    found = _bare(tensor)
    found.raw_data = values.tobytes()
    return found


def whole_bytes(tensor: TensorProto) -> int:
    """The bytes of `whole(tensor)` as a message. Nothing is read."""
    if not is_stored(tensor):
        return int(tensor.ByteSize())
    length = next(int(entry.value) for entry in tensor.external_data if entry.key == "length")
    return int(_bare(tensor).ByteSize()) + _RAW_TAG + varint_length(length) + length


def stated_bytes(tensor: TensorProto) -> int:
    """What `whole_bytes` returns, as far as the shape states it: to find the size of a message, protobuf copies it."""
    if element_count(tensor.dims) <= _SOON_COPIED or not tensor.HasField("raw_data") or is_stored(tensor):
        return whole_bytes(tensor)
    bare, length = TensorProto(dims=tensor.dims, metadata_props=tensor.metadata_props), raw_length(tensor)
    for name in ("data_type", "name", "doc_string", "data_location"):
        if tensor.HasField(name):
            setattr(bare, name, getattr(tensor, name))
    return int(bare.ByteSize()) + _RAW_TAG + varint_length(length) + length


def varint_length(value: int) -> int:
    """The bytes of a number as a varint of protobuf: one for each seven bits."""
    return max(1, -(-value.bit_length() // 7))


def byte_view(array: Array) -> memoryview:
    """The bytes of an array in C order, not copied."""
    return memoryview(array.reshape(-1).view(np.uint8).data)


def is_plain(dtype: np.dtype[Any]) -> bool:
    """Whether numpy itself has the type, in the form in which ONNX stores it."""
    return dtype.kind in "fiub" and dtype.type.__module__ == np.__name__


def _store(tensor: TensorProto) -> WeightStore | None:
    if not _OPEN or not is_external(tensor):
        return None
    return next((_OPEN.get(entry.value) for entry in tensor.external_data if entry.key == "location"), None)


def _bare(tensor: TensorProto) -> TensorProto:
    found = TensorProto()
    found.CopyFrom(tensor)
    found.ClearField("data_location")
    del found.external_data[:]
    return found


def _copied(source: int, target: int, count: int, offset: int, place: int) -> int:
    """Copy up to `count` bytes between files, in the kernel where that is possible. Returns how many."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(source, target, count, offset, place)
        except OSError as error:
            if error.errno not in _NO_COPY:
                raise
    os.lseek(source, offset, os.SEEK_SET)
    os.lseek(target, place, os.SEEK_SET)
    return os.write(target, os.read(source, count))


@contextmanager
def _full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ModelError(
            f"large weights cannot be copied to {path.parent}: {reason}; let TMPDIR name a folder with more space"
        ) from error
