"""Training data in memory, and the batches of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import torch

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.accuracy import Preprocessing, colours_of
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.runtime.inputs import InputSpec, input_specs
from upscale_onnx.runtime.naming import arrays_of, labels_in, name_of, samples_in
from upscale_onnx.torch_backend.devices import CPU
from upscale_onnx.training.settings import Augmentation
from upscale_onnx.types import Array, Data, IntArray

# Images are shifted by up to this share of their size. The image mirrored at its border fills the gap.
_MOST_MOVED = 1 / 8


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Samples of a model's only input, called `name`, and their labels (N,), which are -1 where they are unknown.

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

    @property
    def is_labelled(self) -> bool:
        """Whether labels are known."""
        return bool((self.labels != -1).any())

    def epoch(
        self, generator: torch.Generator, device: torch.device = CPU
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled batches of what the model takes, and of labels, on `device`. All devices get the same ones."""
        order = torch.randperm(len(self.labels), generator=generator, device=CPU)
        for rows in order[: self.steps * self.batch].view(-1, self.batch):
            yield self._augmented(rows, generator, device), self.labels[rows].to(device)

    def first(self) -> torch.Tensor:
        """The first batch, as it is."""
        return self.inputs(torch.arange(self.batch, device=CPU))

    def inputs(self, rows: torch.Tensor) -> torch.Tensor:
        """What the model takes of the samples at `rows`, as they are."""
        if self.preprocessing is None:
            return self.samples[rows]
        down, right = self.margin
        return self._inputs(self._windows()[rows, :, down, right])

    def _augmented(self, rows: torch.Tensor, generator: torch.Generator, device: torch.device) -> torch.Tensor:
        if self.preprocessing is None:
            return self.samples[rows].to(device)
        count = len(rows)
        top, left = (torch.randint(2 * m + 1, (count,), generator=generator, device=CPU) for m in self.margin)
        pixels = self._windows()[rows, :, top, left].to(device)
        if self.mirror:
            mirrored = torch.rand(count, 1, 1, 1, generator=generator, device=CPU).to(device) < 0.5
            pixels = torch.where(mirrored, pixels.flip(3), pixels)
        return self._inputs(pixels)

    def _windows(self) -> torch.Tensor:
        """The images at all places, as a view: (N, C, top, left, H, W)."""
        height, width = (n - 2 * m for n, m in zip(self.samples.shape[2:], self.margin, strict=True))
        return self.samples.unfold(2, height, 1).unfold(3, width, 1)

    def _inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        assert self.preprocessing is not None
        numbers = (self.preprocessing.mean, self.preprocessing.std)
        mean, std = (torch.tensor(each, device=pixels.device).view(1, -1, 1, 1) for each in numbers)
        scale = 255.0 if self.preprocessing.scale and not pixels.is_floating_point() else 1.0
        made = ((pixels / scale - mean) / std).float()
        if self.preprocessing.layout == "nhwc":
            return made.permute(0, 2, 3, 1).contiguous()
        return made.contiguous(memory_format=torch.channels_last)


def training_data(
    model: onnx.ModelProto,
    data: Data,
    preprocessing: Preprocessing,
    augment: Augmentation,
    batch: int,
    *,
    labelled: bool = True,
) -> TrainingData:
    """The labelled samples in `data` for `model`: images as `evaluate` takes them, or an array of other samples.

    labelled: whether there must be labels.

    Raises:
        ArgumentError: the data cannot be read, do not fit, or are less than one batch. ModelError: the model has
            several inputs.
    """
    spec = only_input(model)
    dims = spec.dims or ()
    size = dims[0] if dims and isinstance(dims[0], int) else batch
    if len(dims) == 4:
        images = open_images(
            data, preprocessing.size, spec.name, colours_of(dims, preprocessing.layout), labelled=labelled
        )
        pixels = images.read(0, images.labels.size)
        preprocessing.apply(pixels[:1])  # colours that do not fit are said here
        margin = [int(_MOST_MOVED * n) if "crop" in augment else 0 for n in pixels.shape[1:3]]
        padded = np.pad(pixels, ((0, 0), *((most, most) for most in margin), (0, 0)), mode="reflect")
        samples = torch.from_numpy(np.ascontiguousarray(padded.transpose(0, 3, 1, 2)))
        labels, mirror = torch.from_numpy(images.labels), "flip" in augment
        found = TrainingData(spec.name, samples, labels, preprocessing, (margin[0], margin[1]), mirror, size)
    else:
        if augment != "none" or preprocessing != Preprocessing():
            said = "only images are augmented and preprocessed: leave out the options for images"
            raise ArgumentError(f"{name_of(data)}: {said}")
        plain, known = (torch.from_numpy(part) for part in labelled_samples(data, spec.name, labelled=labelled))
        found = TrainingData(spec.name, plain, known, None, (0, 0), False, size)
    if not found.steps:
        raise ArgumentError(f"{name_of(data)}: {len(found.labels)} samples are less than one batch of {size}")
    if found.samples.is_floating_point() and not bool(found.samples.isfinite().all()):
        raise ArgumentError(f"{name_of(data)}: holds NaN or infinity; training needs finite numbers")
    _check_shape(data, found.first().shape[1:], spec)
    return found


def only_input(model: onnx.ModelProto) -> InputSpec:
    """The input of `model`. Raises: ModelError where it has several."""
    specs = input_specs(model)
    if len(specs) != 1:
        raise ModelError(f"the model has {len(specs)} inputs: only models of one input can be trained")
    return specs[0]


def labelled_samples(data: Data, name: str, *, labelled: bool = True) -> tuple[Array, IntArray]:
    """Samples that are no images, for the input called `name`, and their labels (N,), -1 where there are none.

    labelled: whether there must be labels.

    Raises: ArgumentError where the data do not hold them.
    """
    arrays, where = arrays_of(data)
    known, samples = labels_in(arrays, (name,)), samples_in(arrays, (name,)).get(name)
    if samples is None or samples.dtype.kind != "f" or samples.ndim < 2 or (known is None and labelled):
        raise ArgumentError(
            f"{where}: training needs an array {name!r} or 'x' of floating-point samples, and labels 'y'"
        )
    labels = np.full(len(samples), -1) if known is None else arrays[known]
    if labels.dtype.kind not in "iu" or labels.shape != samples.shape[:1]:
        raise ArgumentError(f"{where}: {len(samples)} samples need as many labels, one integer each")
    return samples.astype(np.float32), labels.astype(np.int64)


def _check_shape(data: Data, shape: tuple[int, ...], spec: InputSpec) -> None:
    """Raises: ArgumentError if samples of `shape` do not fit the input."""
    if spec.dims is None:
        return
    dims = spec.dims[1:]
    if len(dims) != len(shape) or any(isinstance(d, int) and d != n for d, n in zip(dims, shape, strict=True)):
        wanted = ", ".join(str("?" if dim is None else dim) for dim in dims)
        made = f"{name_of(data)}: makes inputs of shape {tuple(shape)} a sample"
        raise ArgumentError(f"{made}, the model takes ({wanted})")
