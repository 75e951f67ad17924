"""The only reader and writer of .npz files. Headers are read and their sizes checked before any data; no pickles.

An .npz is a zip of .npy files. A few kilobytes of it can unpack to terabytes, and its parts can declare wrong sizes.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.types import Array

try:
    from lzma import LZMAError
except ImportError:  # a Python without lzma cannot read such archives either
    LZMAError = zlib.error  # type: ignore[assignment, misc]


_SUFFIX = ".npy"
_ARRAY_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_ENCRYPTED = 0x1
# An archive may unpack to this many bytes, or to this multiple of its own size if that is more.
_ALWAYS_BYTES = 2**30
_MOST_TIMES = 64
# What zipfile, the decompressors and numpy raise on damaged files; RuntimeError includes NotImplementedError.
_DAMAGED = (
    ValueError,
    EOFError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    LZMAError,
    OverflowError,
    RecursionError,
)


@dataclass(frozen=True)
class _Member:
    name: str
    info: zipfile.ZipInfo
    nbytes: int


def read_arrays(path: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of the .npz file at `path`, by name.

    Raises:
        ArgumentError: the file does not exist, is damaged, holds anything but plain arrays, or unpacks to far more
            than its size.
    """
    try:
        with Path(path).open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files of Python 2 are read all the same
            if file.read(len(_ARRAY_MAGIC)) == _ARRAY_MAGIC:
                raise ArgumentError(f"{path}: holds one array; give an .npz of arrays by name")
            with zipfile.ZipFile(file) as archive:
                members = list(_members(archive))
                _check(members, os.fstat(file.fileno()).st_size)
                return {member.name: _array(archive, member) for member in members}
    except FileNotFoundError as error:
        raise ArgumentError(f"{path}: no such file") from error
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read: {error.strerror or error}") from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArgumentError(f"{path}: cannot be read as .npz of plain arrays: {reason}") from error


def _members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        if info.flag_bits & _ENCRYPTED:
            raise ValueError(f"{info.filename!r} is encrypted")
        if not info.filename.endswith(_SUFFIX):
            raise ValueError(f"{info.filename!r} is not an array")
        with archive.open(info) as source:
            yield _Member(info.filename[: -len(_SUFFIX)], info, _announced(source, info))


def _announced(source: IO[bytes], info: zipfile.ZipInfo) -> int:
    """The bytes of the array in `source`, by its header.

    Raises: ValueError where the header is damaged, or another number of bytes follows.
    """
    version = np.lib.format.read_magic(source)
    if version not in _HEADERS:
        raise ValueError(f"{info.filename!r} is of an unknown version")
    try:
        shape, _, dtype = _HEADERS[version](source)
    except (MemoryError, SyntaxError, TokenError) as error:  # numpy reads the header with Python's parser
        raise ValueError(f"{info.filename!r} has a damaged header") from error
    if dtype.hasobject:
        raise ValueError(f"{info.filename!r} holds Python objects")
    count = 1
    for size in shape:
        if size < 0:
            raise ValueError(f"{info.filename!r} has a negative size")
        count *= size
    nbytes = count * dtype.itemsize
    if source.tell() + nbytes != info.file_size:
        raise ValueError(f"{info.filename!r} of shape {shape} takes {nbytes} bytes, but holds another number")
    return nbytes


def _check(members: list[_Member], size: int) -> None:
    names: set[str] = set()
    for member in members:
        if member.name in names:
            raise ValueError(f"{member.name!r} occurs twice")
        names.add(member.name)
    wanted = sum(member.nbytes for member in members)
    if wanted > max(_ALWAYS_BYTES, _MOST_TIMES * size):
        raise ValueError(f"its {size} bytes unpack to {wanted}")


def _array(archive: zipfile.ZipFile, member: _Member) -> Array:
    with archive.open(member.info) as source:
        array: Array = np.lib.format.read_array(source, allow_pickle=False)
        source.read(1)  # zipfile checks the checksum of a part at its end
        return array


def archive_bytes(arrays: Mapping[str, Array]) -> bytes:
    """The bytes of an .npz file of `arrays`; the same for the same arrays."""
    file = io.BytesIO()
    write_arrays(arrays, file, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def write_arrays(arrays: Mapping[str, Array], file: IO[bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Write an .npz file of `arrays` to `file`."""
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, array in arrays.items():
            # numpy.savez would write the time of day, and fails on an array with the name "file".
            info = zipfile.ZipInfo(f"{name}{_SUFFIX}")
            info.compress_type, info.file_size = compression, array.nbytes
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
