"""The reader of .npz files: what is whole is read, everything else is one line, and nothing large is made of little."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import read_arrays

ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "y": np.array(["a", "bc"]), "layer/w": np.array(True)}
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def npy(array: object) -> bytes:
    content = io.BytesIO()
    np.save(content, np.asarray(array))
    return content.getvalue()


def header(text: str, version: bytes = b"\x01\x00") -> bytes:
    """The beginning of a .npy whose header is `text`."""
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode("latin1")


def archive(path: Path, parts: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in parts.items():
            file.writestr(name, data)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_arrays_are_read_by_name(tmp_path: Path, method: int) -> None:
    found = read_arrays(archive(tmp_path / "a.npz", {f"{n}.npy": npy(a) for n, a in ARRAYS.items()}, method))
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    fortran = np.asfortranarray(np.arange(6).reshape(2, 3))
    np.savez_compressed(tmp_path / "a.npz", fortran=fortran, empty=np.zeros((0, 3)), wide=np.zeros((1,) * 20))
    found = read_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["fortran"], fortran)
    assert found["empty"].shape == (0, 3)
    assert found["wide"].ndim == 20


def flipped(place: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        data = np.random.default_rng(0).normal(size=5000)
        archive(path, {"x.npy": npy(data)}, zipfile.ZIP_LZMA)
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= 0x55
        path.write_bytes(content)

    return write


def part(data: bytes, name: str = "x.npy") -> Callable[[Path], None]:
    return lambda path: archive(path, {name: data}) and None


def patched(offset: int, value: int, behind: bytes = b"PK\x01\x02") -> Callable[[Path], None]:
    """An archive with a byte of the record of its part, that at `offset`, set to `value`; of both its records."""

    def write(path: Path) -> None:
        archive(path, {"x.npy": npy(np.zeros(100))})
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + offset] = value
        content[content.index(b"PK\x03\x04") + offset - 2] = value
        path.write_bytes(content)

    return write


def twice(path: Path) -> None:
    archive(path, {"x.npy": npy(1), "y.npy": npy(2)})
    path.write_bytes(path.read_bytes().replace(b"y.npy", b"x.npy"))


def cut(path: Path) -> None:
    archive(path, {"x.npy": npy(np.arange(1000))})
    path.write_bytes(path.read_bytes()[:-30])


SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n"
BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("missing", lambda path: None, "no such file"),
    ("folder", Path.mkdir, "cannot be read"),
    ("empty", Path.touch, "cannot be read as .npz"),
    ("text", lambda path: path.write_text("text"), "cannot be read as .npz"),
    ("one array", lambda path: path.write_bytes(npy(1)), "holds one array"),
    ("cut", cut, "cannot be read as .npz"),
    ("twice", twice, "'x' occurs twice"),
    ("not an array", part(b"text", "x.txt"), "'x.txt' is not an array"),
    ("no magic", part(b"text of some length"), "cannot be read as .npz"),
    ("no bytes", part(b""), "cannot be read as .npz"),
    ("version 9", part(header("", b"\x09\x00")), "cannot be read as .npz|unknown version"),
    ("pickle", part(npy(np.array([None]))), "Python objects"),
    ("header is code", part(header("__import__('os').system('true')")), "cannot be read as .npz"),
    ("header is deep", part(header("(" * 5000)), "cannot be read as .npz"),
    ("negative size", part(header(SHAPE.format("<f4", "(-4,)"))), "negative size"),
    ("terabytes", part(header(SHAPE.format("<f4", "(1099511627776,)"))), "holds another number"),
    ("more than 64 bits", part(header(SHAPE.format("<f4", f"({2**40}, {2**40})"))), "holds another number"),
    ("too short", part(npy(np.arange(4))[:-8]), "holds another number"),
    ("too long", part(npy(np.arange(4)) + b"more"), "holds another number"),
    ("encrypted", patched(8, 1), "encrypted"),
    ("unknown method", patched(10, 77), "cannot be read as .npz"),
    *((f"flipped at {place}", flipped(place), "cannot be read as .npz") for place in (0.1, 0.5, 0.9)),
]


@pytest.mark.parametrize(("write", "message"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_everything_else_is_one_line(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "a.npz"
    write(path)
    with pytest.raises(ArgumentError, match=message) as caught:
        read_arrays(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 300


def test_a_bomb_is_refused_by_its_headers(tmp_path: Path) -> None:
    zeros = np.zeros(2**26, np.uint8)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for number in range(17):
            with file.open(f"x{number}.npy", "w") as member:
                np.lib.format.write_array(member, zeros)
    tracemalloc.start()
    with pytest.raises(ArgumentError, match=f"unpack to {17 * 2**26}"):
        read_arrays(tmp_path / "a.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
