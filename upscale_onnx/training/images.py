"""Training data in memory, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.runtime.inputs import input_specs
from upscale_onnx.runtime.naming import labels_in, samples_in
from upscale_onnx.training.settings import Augmentation
from upscale_onnx.types import Array, IntArray

# Images are shifted by up to this share of their size. The image mirrored at its border fills the gap.
_MOST_MOVED = 1 / 8


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Samples of a model's only input, called `name`, and their labels (N,).

    samples: images (N, C, H + 2 * margin, W + 2 * margin) before preprocessing, or samples as the model takes them.
    """

    name: str
    samples: torch.Tensor
    labels: torch.Tensor
    preprocessing: Preprocessing | None
    margin: tuple[int, int]
    mirror: bool
    batch: int

    @property
    def steps(self) -> int:
        """How many batches an epoch has. An incomplete last one is left out."""
        return len(self.labels) // self.batch

    def epoch(self, generator: torch.Generator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled batches of what the model takes, and of labels."""
        order = torch.randperm(len(self.labels), generator=generator)
        for rows in order[: self.steps * self.batch].view(-1, self.batch):
            yield self._made(rows, generator), self.labels[rows]

    def _made(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.preprocessing is None:
            return self.samples[rows]
        down, right = self.margin
        height, width = (n - 2 * m for n, m in zip(self.samples.shape[2:], self.margin, strict=True))
        windows = self.samples.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, C, top, left, H, W)
        top = torch.randint(2 * down + 1, (len(rows),), generator=generator)
        left = torch.randint(2 * right + 1, (len(rows),), generator=generator)
        pixels = windows[rows, :, top, left]
        if self.mirror:
            mirrored = torch.rand(len(rows), 1, 1, 1, generator=generator) < 0.5
            pixels = torch.where(mirrored, pixels.flip(3), pixels)
        return self._inputs(pixels)

    def _inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        assert self.preprocessing is not None
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (self.preprocessing.mean, self.preprocessing.std))
        scale = 255.0 if self.preprocessing.scale and not pixels.is_floating_point() else 1.0
        made = ((pixels / scale - mean) / std).float()
        if self.preprocessing.layout == "nhwc":
            return made.permute(0, 2, 3, 1).contiguous()
        return made.contiguous(memory_format=torch.channels_last)


def training_data(
    model: onnx.ModelProto, data: str, preprocessing: Preprocessing, augment: Augmentation, batch: int
) -> TrainingData:
    """The labelled samples in `data` for `model`: images as `evaluate` takes them, or an array of other samples.

    Raises:
        ArgumentError: the data cannot be read, do not fit, or are less than one batch. ModelError: the model has
            several inputs.
    """
    specs = input_specs(model)
    if len(specs) != 1:
        raise ModelError(f"the model has {len(specs)} inputs: only models of one input can be trained")
    (spec,) = specs
    dims = spec.dims or ()
    size = dims[0] if dims and isinstance(dims[0], int) else batch
    if len(dims) != 4:
        array, labels = labelled_samples(data, spec.name)
        found = TrainingData(spec.name, torch.from_numpy(array), torch.from_numpy(labels), None, (0, 0), False, size)
    else:
        colours = dims[1 if preprocessing.layout == "nchw" else 3]
        images = open_images(data, preprocessing.size, spec.name, colours if isinstance(colours, int) else None)
        pixels = images.read(0, images.labels.size)
        preprocessing.apply(pixels[:1])  # colours that do not fit are said here
        down, right = (int(_MOST_MOVED * n) if augment != "none" else 0 for n in pixels.shape[1:3])
        padded = np.pad(pixels, ((0, 0), (down, down), (right, right), (0, 0)), mode="reflect").transpose(0, 3, 1, 2)
        samples, mirror = torch.from_numpy(np.ascontiguousarray(padded)), augment == "crop-flip"
        labels = images.labels
        found = TrainingData(spec.name, samples, torch.from_numpy(labels), preprocessing, (down, right), mirror, size)
    if not found.steps:
        raise ArgumentError(f"{data}: {len(found.labels)} samples are less than one batch of {size}")
    return found


def labelled_samples(data: str, name: str) -> tuple[Array, IntArray]:
    """Samples that are no images, for the input called `name`, and their labels (N,).

    Raises: ArgumentError where the file does not hold them.
    """
    arrays = read_arrays(Path(data))
    known, samples = labels_in(arrays, (name,)), samples_in(arrays, (name,)).get(name)
    if known is None or samples is None or samples.dtype.kind != "f" or arrays[known].shape != samples.shape[:1]:
        raise ArgumentError(
            f"{data}: training needs an array {name!r} or 'x' of floating-point samples, and labels 'y'"
        )
    return samples.astype(np.float32), arrays[known].astype(np.int64)
