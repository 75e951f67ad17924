"""Labelled images: an .npz of arrays or of encoded images, or a folder per class."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError
from upscale_onnx.runtime.naming import SAMPLES, arrays_of, labels_in, samples_in
from upscale_onnx.types import Array, Data, IntArray

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp"})


class Images(Protocol):
    """Labelled images. `read` returns some of them as an array (N, H, W, C)."""

    @property
    def labels(self) -> IntArray:
        """The class of each image, of shape (N,)."""

    def read(self, start: int, stop: int) -> Array:
        """The images from `start` up to, not including, `stop`."""


def open_images(
    data: Data,
    size: tuple[int, int] | None = None,
    name: str = SAMPLES[0],
    colours: int | None = None,
    *,
    labelled: bool = True,
) -> Images:
    """The images in `data`: an .npz or its arrays, or a folder with one folder of images per class.

    The names of the folders, sorted, are the classes. An .npz holds the labels, "y" or "labels", of shape (N,), and
    - either images, called `name`, "x" or "images", of shape (N, H, W, C), (N, C, H, W) or, if grey, (N, H, W),
    - or encoded images: "blob" (uint8) and "offsets" (N + 1). Image i is the file blob[offsets[i]:offsets[i + 1]].

    size: (height, width) in pixels to resize encoded images to.
    name: the name of the model's input.
    colours: in how many colours encoded images are read; 1 for grey.
    labelled: whether there must be labels. Images in an .npz without labels have the label -1.

    Raises:
        ArgumentError: the data cannot be read, or needs Pillow, which is not installed.
    """
    mode = "L" if colours == 1 else "RGB"
    if isinstance(data, str | os.PathLike) and Path(data).is_dir():
        return _folder(Path(data), size, mode)
    arrays, where = arrays_of(data)
    return _of_arrays(where, arrays, size, name, mode, labelled)


@dataclass(frozen=True, eq=False)
class _Arrays:
    labels: IntArray
    x: Array

    def read(self, start: int, stop: int) -> Array:
        return self.x[start:stop]


@dataclass(frozen=True, eq=False)
class _Encoded:
    labels: IntArray
    where: str
    size: tuple[int, int] | None
    mode: str
    source: Callable[[int], bytes]

    def read(self, start: int, stop: int) -> Array:
        images = [_decode(self.source(i), f"{self.where}, image {i}", self.size, self.mode) for i in range(start, stop)]
        if len({image.shape for image in images}) > 1:
            raise ArgumentError(f"{self.where}: images differ in size: give the size to resize them to")
        return np.stack(images)


def _of_arrays(
    where: str, arrays: dict[str, Array], size: tuple[int, int] | None, name: str, mode: str, labelled: bool
) -> Images:
    known, plain = labels_in(arrays, (name,)), samples_in(arrays, (name,)).get(name)
    labels = None if known is None else arrays[known]
    if labels is None and not labelled:
        count = arrays.get("offsets", np.zeros(1)).size - 1 if plain is None else len(plain)
        labels = np.full(count, -1)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ArgumentError(f"{where}: has no labels: an array 'y' or 'labels' of one integer per image")
    labels = labels.astype(np.int64)
    if plain is not None:
        return _plain(where, plain, labels, size)
    blob, offsets = arrays.get("blob"), arrays.get("offsets")
    if blob is None or offsets is None:
        wanted = " or ".join(repr(known) for known in dict.fromkeys((name, *SAMPLES)))
        raise ArgumentError(
            f"{where}: has no images, {wanted}, and no 'blob' and 'offsets'; it holds {', '.join(arrays)}"
        )
    if offsets.ndim != 1 or offsets.dtype.kind not in "iu" or offsets.size != labels.size + 1:
        raise ArgumentError(f"{where}: {labels.size} labels need {labels.size + 1} integers in 'offsets'")
    if blob.dtype != np.uint8 or blob.ndim != 1 or (np.diff(offsets.astype(np.int64)) < 0).any():
        raise ArgumentError(f"{where}: 'blob' is not bytes that 'offsets' cut into pieces")
    if offsets.size and not 0 <= int(offsets[0]) <= int(offsets[-1]) <= blob.size:
        raise ArgumentError(f"{where}: 'offsets' point outside of 'blob'")
    _pillow()
    return _Encoded(labels, where, size, mode, lambda i: blob[int(offsets[i]) : int(offsets[i + 1])].tobytes())


def _plain(where: str, x: Array, labels: IntArray, size: tuple[int, int] | None) -> Images:
    if x.ndim == 3:
        x = x[..., None]
    if x.ndim != 4 or x.shape[0] != labels.size or x.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{where}: the images are {x.dtype} of shape {x.shape}: it takes {labels.size} of 2 or 3 axes each"
        )
    if x.shape[3] not in (1, 3, 4) and x.shape[1] in (1, 3, 4):
        x = x.transpose(0, 2, 3, 1)
    if size is not None and x.shape[1:3] != size:
        raise ArgumentError(f"{where}: the images are {x.shape[1]}x{x.shape[2]}: only encoded images are resized")
    return _Arrays(labels, x)


def _folder(path: Path, size: tuple[int, int] | None, mode: str) -> Images:
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir())
    files: list[tuple[int, Path]] = []
    for label, folder in enumerate(classes):
        files += [(label, file) for file in sorted(folder.iterdir()) if file.suffix.lower() in _SUFFIXES]
    if not files:
        raise ArgumentError(f"{path}: has no folders, one per class, with images in them")
    _pillow()
    labels = np.array([label for label, _ in files], np.int64)
    return _Encoded(labels, str(path), size, mode, lambda i: files[i][1].read_bytes())


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ArgumentError("encoded images need Pillow: pip install 'upscale-onnx[images]'") from error
    return Image


def _decode(encoded: bytes, where: str, size: tuple[int, int] | None, mode: str) -> NDArray[np.uint8]:
    """The decoded image as an array (H, W, C): one colour in `mode` "L", three in "RGB"."""
    image_module = _pillow()
    try:
        with image_module.open(io.BytesIO(encoded)) as image:
            picture = image.convert(mode)
    except (OSError, ValueError, SyntaxError, image_module.DecompressionBombError) as error:
        raise ArgumentError(f"{where}: cannot be decoded") from error
    if size is not None and (picture.height, picture.width) != size:
        picture = _resize(picture, size)
    return np.atleast_3d(np.asarray(picture, np.uint8))


def _resize(picture: Any, size: tuple[int, int]) -> Any:
    height, width = size
    factor = max(height / picture.height, width / picture.width)
    scaled = picture.resize((max(round(picture.width * factor), width), max(round(picture.height * factor), height)))
    left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
    return scaled.crop((left, top, left + width, top + height))
