"""Mirrors and shifts images at random, so that few images can replace many."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from upscale_onnx.types import Array

# Images are shifted by up to this share of their size; the image mirrored at its border fills the gap.
_MOST_MOVED = 1 / 8
_COLOURS = (1, 3, 4)
_LEAST_SIZE = 16


def moved(inputs: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """`inputs` with about half of the images mirrored and each image shifted by a random distance.

    Images are floating-point arrays, (N, C, H, W) or (N, H, W, C), with 1, 3 or 4 colours C. Other inputs are returned
    as they are, and so are all inputs if there are several, since they may belong together.
    """
    found = dict(inputs)
    if len(found) != 1:
        return found
    ((name, array),) = found.items()
    axes = _spatial_axes(array)
    if axes is not None:
        found[name] = np.stack([_moved(image, axes, rng) for image in array])
    return found


def _spatial_axes(array: Array) -> tuple[int, int] | None:
    """The axes of height and width in one image; None if `array` holds no images."""
    if array.ndim != 4 or array.dtype.kind != "f":
        return None
    for colours, axes in ((1, (1, 2)), (3, (0, 1))):
        if array.shape[colours] in _COLOURS and min(array.shape[axis + 1] for axis in axes) >= _LEAST_SIZE:
            return axes
    return None


def _moved(image: Array, axes: tuple[int, int], rng: np.random.Generator) -> Array:
    if rng.random() < 0.5:
        image = np.flip(image, axes[1])
    margins, cut = [(0, 0)] * 3, [slice(None)] * 3
    for axis in axes:
        margin = int(_MOST_MOVED * image.shape[axis])
        margins[axis] = (margin, margin)
        first = int(rng.integers(0, 2 * margin + 1))
        cut[axis] = slice(first, first + image.shape[axis])
    return np.pad(image, margins, mode="reflect")[tuple(cut)]
