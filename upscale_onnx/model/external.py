"""External data: references are checked, then the data is read from the model's own folder, or refused.

Other readers look for the data beside the model, in the working directory, or behind links. A model that was loaded
here has no references left, so nobody can resolve one a second time and find another file.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
from onnx import ModelProto, TensorProto, helper

from upscale_onnx.errors import ModelError
from upscale_onnx.model import stored
from upscale_onnx.model.stored import WeightStore, is_plain, is_stored
from upscale_onnx.model.tensors import is_external, model_tensors, raw_length, tensor_problem

# A file may take less space on the disk than its size, since file systems compress and skip zeros. But a file of
# nothing but holes, or a thousand tensors that share their bytes, would fill the memory.
_MOST_TIMES_DISK = 8
_ALWAYS_BYTES = 2**30
_BLOCK_BYTES = 512  # the unit of st_blocks
_VALUE_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data", "raw_data")


@dataclass(frozen=True, eq=False)
class _Reference:
    """The place of the values of `tensor`: `length` bytes of the file called `location`, from byte `offset` on.

    fits: whether a store may take it: it is a large initializer of the main graph, of a type that numpy has.
    """

    tensor: TensorProto
    location: str
    offset: int
    length: int
    fits: bool


def load_external(model: ModelProto, path: Path, store: WeightStore | None = None) -> None:
    """Read all external data of `model` into it; `path` is the file of the model.

    store: takes the large initializers of a large model, which then refers to it. None: all are read into the model.

    Raises:
        ModelError: data is missing, too short, too large for the memory, or not in regular files in the folder of
            the model.
    """
    references = defaultdict(list)
    for reference in _references(model, path):
        references[reference.location].append(reference)
    if not references:
        return
    files = {location: _resolved(location, path) for location in references}
    missing = sorted(location for location, file in files.items() if not os.path.lexists(file))
    if missing:
        raise ModelError(f"{path}: its external data is missing: {', '.join(missing[:3])} (expected beside the model)")
    _check_memory(references, files, path)
    large = sum(reference.length for group in references.values() for reference in group if reference.fits)
    taker = store if large > stored.ALWAYS_IN_MEMORY else None
    for location, file in files.items():
        try:
            _read(references[location], file, path, taker)
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(f"{path}: its external data {location!r} cannot be read: {reason}") from error


def external_files(model: ModelProto, path: Path) -> tuple[Path, ...]:
    """The files with external data of the model at `path`, links resolved. What cannot be resolved is left out."""
    locations = {_entries(tensor).get("location", "") for tensor in model_tensors(model) if is_external(tensor)}
    return tuple(Path(os.path.realpath(path.parent / name)) for name in sorted(locations) if name and "\0" not in name)


def refuse_external(model: ModelProto, where: str) -> None:
    """Check that `model` has no external data that is not loaded.

    Raises:
        ModelError: it has some; the message starts with `where`.
    """
    tensor = next((tensor for tensor in model_tensors(model) if is_external(tensor) and not is_stored(tensor)), None)
    if tensor is not None:
        location = _entries(tensor).get("location", "")
        raise ModelError(f"{where}: its external data ({location}) is not loaded; give the path, or load it first")


def _references(model: ModelProto, path: Path) -> Iterator[_Reference]:
    for number, tensor in enumerate(model_tensors(model)):
        if is_external(tensor):
            yield _reference(tensor, path, is_initializer=number < len(model.graph.initializer))


def _reference(tensor: TensorProto, path: Path, is_initializer: bool) -> _Reference:
    problem = tensor_problem(tensor)
    if not problem and tensor.data_type == TensorProto.STRING:
        problem = "holds text, which cannot be external data"
    if problem:
        raise ModelError(f"{path}: tensor '{tensor.name}' {problem}")
    entries, expected = _entries(tensor), raw_length(tensor)
    offset = _count(entries.get("offset", "0"))
    length = _count(entries.get("length", str(expected)))
    if offset is None or length is None:
        raise ModelError(f"{path}: the external data of tensor '{tensor.name}' has an offset or length that is no size")
    if length != expected:
        shape = tuple(tensor.dims)
        raise ModelError(
            f"{path}: the external data of tensor '{tensor.name}' of shape {shape} is {length} bytes instead of "
            f"{expected}"
        )
    large = is_initializer and length >= stored.SMALLEST
    fits = large and is_plain(np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)))
    return _Reference(tensor, entries.get("location", ""), offset, length, fits)


def _entries(tensor: TensorProto) -> dict[str, str]:
    # Protobuf gives text that is not UTF-8 as bytes. It names no file.
    return {entry.key: entry.value for entry in tensor.external_data if isinstance(entry.value, str)}


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def _resolved(location: str, path: Path) -> Path:
    """The file called `location` in the folder of the model, links resolved.

    Raises: ModelError where it is not in this folder.
    """
    given = PureWindowsPath(location)  # which knows both separators
    if not location or "\0" in location or given.anchor or given.drive or ".." in given.parts:
        raise ModelError(f"{path}: its external data {location!r} is not in the folder of the model")
    file = Path(os.path.realpath(path.parent / location))
    # Download caches hold links only: the model and its data are then together in another folder.
    homes = (Path(os.path.realpath(path.parent)), Path(os.path.realpath(path)).parent)
    if not any(file.is_relative_to(home) for home in homes):
        raise ModelError(f"{path}: its external data {location!r} is a link out of the folder of the model")
    return file


def _check_memory(references: Mapping[str, Sequence[_Reference]], files: Mapping[str, Path], path: Path) -> None:
    wanted = sum(reference.length for group in references.values() for reference in group)
    if wanted <= _ALWAYS_BYTES:
        return
    on_disk = 0
    for file in set(files.values()):
        found = file.stat()
        on_disk += getattr(found, "st_blocks", found.st_size // _BLOCK_BYTES) * _BLOCK_BYTES
    if wanted > _MOST_TIMES_DISK * on_disk:
        raise ModelError(
            f"{path}: its external data takes {wanted} bytes of memory, but {on_disk} on the disk: it is a file of "
            "holes, or many tensors share their bytes; save the model anew"
        )


def _read(references: Sequence[_Reference], file: Path, path: Path, store: WeightStore | None) -> None:
    # Do not follow a link that was put there since the check, and do not wait for a writer of a pipe.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(file, flags), "rb") as source:
        found = os.fstat(source.fileno())
        name = references[0].location
        if not stat.S_ISREG(found.st_mode):
            raise ModelError(f"{path}: its external data {name!r} is not a regular file")
        if found.st_nlink > 1:  # a hard link can give any file of the system a name in this folder
            raise ModelError(f"{path}: its external data {name!r} is a hard link to another file; copy it")
        for reference in references:
            if reference.offset + reference.length > found.st_size:
                raise ModelError(
                    f"{path}: its external data {name!r} is too short: tensor '{reference.tensor.name}' ends at byte "
                    f"{reference.offset + reference.length} of {found.st_size}"
                )
        for reference in references:
            tensor = reference.tensor
            for name in _VALUE_FIELDS:
                tensor.ClearField(name)
            if store is not None and reference.fits:
                store.copy(tensor, source.fileno(), reference.offset, reference.length)
                continue
            source.seek(reference.offset)
            _fill(tensor, source.read(reference.length))


def _fill(tensor: TensorProto, data: bytes) -> None:
    tensor.raw_data = data
    tensor.ClearField("data_location")
    del tensor.external_data[:]
