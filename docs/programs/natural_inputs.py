"""Inputs as networks get them: photographs, scans and sounds, in the scales that are in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.runtime.draws import Drawing
from upscale_onnx.runtime.inputs import Inputs, InputSource
from upscale_onnx.runtime.sizes import Sizes

Array = np.ndarray[Any, Any]

_MEAN, _DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
_CHANNELS = (1, 3)
_SEED = 1000  # other draws than those of the check


def natural_inputs(model: Any, usual: Inputs, images: Sequence[Path], count: int) -> Iterator[Inputs]:
    """Inputs like `usual`, whose floating-point data is what the model's kind of network is fed.

    Networks whose first input has the shape of a picture get `count` pictures of each of `images`, in four scales;
    those whose first input is a sequence get sounds; all get two draws of each kind.
    """
    name, array = next(iter(usual.items()))
    if array.ndim == 4 and array.dtype.kind in "fu" and (array.shape[1] in _CHANNELS or array.shape[3] in _CHANNELS):
        for picture in _pictures(name, array.shape, images, count):
            yield usual | {name: picture.astype(array.dtype)}
    elif array.dtype.kind == "f" and array.ndim in (2, 3):
        for sound in _sounds(array.shape, count):
            yield usual | {name: sound.astype(array.dtype)}
    source = InputSource(model, _SEED)
    shapes = {key: value.shape for key, value in usual.items()}
    for trial in range(2 * len(Drawing)):
        drawn = source.draw(_SEED + trial, Sizes(integers_below=None), tuple(Drawing)[trial % len(Drawing)])
        if {key: value.shape for key, value in drawn.items()} == shapes:
            yield drawn


def _pictures(name: str, shape: tuple[int, ...], images: Sequence[Path], count: int) -> Iterator[Array]:
    """Pictures of `shape`, (1, C, H, W) or (1, H, W, C): of 0 to 255, 0 to 1, -1 to 1, and standardised."""
    first = shape[1] in _CHANNELS
    height, width, channels = (shape[2], shape[3], shape[1]) if first else (shape[1], shape[2], shape[3])
    for path in images:
        opened = open_images(path, (height, width), name)
        for i in np.linspace(0, opened.labels.size - 1, count).astype(int):
            pixels = np.asarray(opened.read(int(i), int(i) + 1), float)
            if pixels.shape[1:3] != (height, width):  # arrays of another size, which nobody resizes
                continue
            colours = pixels if pixels.shape[3] == channels else np.repeat(pixels.mean(3, keepdims=True), channels, 3)
            standard = (colours / 255 - _MEAN[:channels]) / _DEVIATION[:channels]
            for scaled in (colours, colours / 255, colours / 127.5 - 1, standard):
                yield np.moveaxis(scaled, 3, 1) if first else scaled


def _sounds(shape: tuple[int, ...], count: int) -> Iterator[Array]:
    """Vowel-like sums of harmonics with some noise, quiet and loud."""
    rng = np.random.default_rng(_SEED)
    time = np.arange(np.prod(shape[1:])) / 16000
    for loudness in np.geomspace(0.01, 1, count):
        pitch = rng.uniform(80, 400)
        tones = sum(np.sin(2 * np.pi * pitch * k * time + rng.uniform(0, 6)) / k for k in range(1, 12))
        wave = loudness * (0.3 * tones + 0.05 * rng.standard_normal(time.size))
        yield np.broadcast_to(wave.reshape(1, *shape[1:]), shape)
