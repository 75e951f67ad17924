"""Accuracy of a classifier on labelled images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.model import Model, load_model
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Threaded, options_of
from upscale_onnx.options.checking import check_value
from upscale_onnx.options.ranges import POSITIVE
from upscale_onnx.results import Accuracy
from upscale_onnx.runtime.inputs import Inputs, input_specs
from upscale_onnx.runtime.naming import name_of
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array, Data, Dims, IntArray, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

Layout = Literal["nchw", "nhwc"]

_BATCH = 50


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a model: (pixel / 255 - mean) / std, per colour.

    mean, std: one number, or one per colour.
    size: (height, width) in pixels. Images of another size are resized until they cover it, then cropped at the
        centre. None takes images as they are.
    layout: the layout of the model's input.
    scale: whether pixels are divided by 255. Floating-point pixels never are.

    >>> import numpy
    >>> from upscale_onnx import Preprocessing
    >>> images = numpy.full((1, 2, 2, 3), 255, numpy.uint8)
    >>> Preprocessing(mean=(0.5,), std=(0.25,)).apply(images).shape
    (1, 3, 2, 2)
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: tuple[int, int] | None = None
    layout: Layout = "nchw"
    scale: bool = True

    def __post_init__(self) -> None:
        if not all(self.std):
            raise ArgumentError("a std of 0 cannot be divided by: give the standard deviation of the pixels")

    def apply(self, images: Array) -> NDArray[np.float32]:
        """Return the input of the model for `images`, an array (N, H, W, C) of uint8 or floating-point pixels."""
        given = max(len(self.mean), len(self.std))
        if given > 1 and images.shape[3] != given:
            raise ArgumentError(f"mean and std are of {given} colours, the images have {images.shape[3]}")
        values: Array = images.astype(np.float32)
        if self.scale and images.dtype.kind in "iu":
            values /= 255
        values = (values - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "nchw" else values)


def labelled_batches(
    model: onnx.ModelProto,
    data: Data,
    preprocessing: Preprocessing | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> tuple[int, Iterator[tuple[Inputs, IntArray]]]:
    """The number of images that are taken from `data`, and an iterator over them in batches that `model` can run.

    A batch is an input and the labels of its first samples. If the model fixes the batch size, the last batch is filled
    with repeated images, which have no labels.

    data: what `labelled_images.open_images` takes.
    limit: how many images to take, drawn with `seed`; None takes all.

    Raises:
        ArgumentError: the data cannot be read, or does not fit the model.
        ModelError: the model has several inputs.
    """
    chosen, specs = preprocessing or Preprocessing(), input_specs(model)
    if len(specs) != 1:
        raise ModelError(f"the model has {len(specs)} inputs: only models of one input can be evaluated")
    (spec,) = specs
    images = open_images(data, chosen.size, spec.name, colours_of(spec.dims, chosen.layout))
    order = np.arange(images.labels.size)
    if limit is not None and limit < order.size:
        order = np.sort(np.random.default_rng(seed).permutation(order.size)[:limit])
    if not order.size:
        raise ArgumentError(f"{name_of(data)}: holds no images")
    fixed = spec.dims[0] if spec.dims and isinstance(spec.dims[0], int) else None

    def batches() -> Iterator[tuple[Inputs, IntArray]]:
        for start in range(0, order.size, fixed or _BATCH):
            places = order[start : start + (fixed or _BATCH)]
            pieces = [images.read(first, stop) for first, stop in _runs(np.resize(places, fixed or places.size))]
            if len({piece.shape[1:] for piece in pieces}) > 1:
                raise ArgumentError(f"{name_of(data)}: images differ in size: give the size to resize them to")
            x = chosen.apply(np.concatenate(pieces)).astype(spec.dtype or np.float32)
            yield {spec.name: x}, images.labels[places]

    return order.size, batches()


def evaluate(
    model: Model,
    data: Data,
    preprocessing: Preprocessing | None = None,
    options: Options | None = None,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    **overrides: Unpack[Threaded],
) -> Accuracy:
    """The accuracy of `model` on `data`. The first output of the model holds one score per class.

    data: the path of an .npz or of a folder with one folder of images per class, or arrays by name: images "x", which
        may have the name of the model's input instead, and labels "y", one integer per image.
    limit: how many images to evaluate, drawn with the seed; None evaluates all.
    options, overrides: provider, threads and seed.

    Raises:
        ArgumentError: an option cannot be used, or the data cannot be read or does not fit the model.
        ModelError: the model cannot be read or run.
        ProviderError: there is no such device.

    >>> import upscale_onnx
    >>> found = upscale_onnx.evaluate("models/digits_cnet_masked.onnx", "models/digits_test.npz")
    >>> print(found)
    top-1 99.1%, top-5 100.0%, of 450 images
    """
    check_value("limit", limit, Annotated[int, POSITIVE] | None)
    wanted = options_of(Threaded, options, overrides).target
    loaded = load_model(model)
    count, batches = labelled_batches(loaded, data, preprocessing, limit, wanted.seed)
    session = make_session(loaded, provider=resolve_provider(wanted.provider), threads=wanted.threads)
    found, done = np.zeros(2, np.int64), 0
    for inputs, labels in batches:
        if progress is not None:
            progress("evaluate", done / count)
        found += hits(np.asarray(run(session, inputs, [loaded.graph.output[0].name])[0]), labels)
        done += labels.size
    return Accuracy(float(found[0] / count), float(found[1] / count), count)


def hits(scores: Array, labels: IntArray) -> IntArray:
    """How many of the N labels have the highest score, and how many have one of the five highest.

    scores: an array (N or more, classes).

    Raises: ArgumentError where a label is not one of the classes.
    """
    flat = scores[: labels.size].reshape(labels.size, -1).astype(np.float64)
    if labels.size and not 0 <= labels.min() <= labels.max() < flat.shape[1]:
        raise ArgumentError(
            f"labels reach from {labels.min()} to {labels.max()}, the model has {flat.shape[1]} classes"
        )
    best = np.argsort(-flat, axis=1, kind="stable")[:, :5] == labels[:, None]
    return np.array([best[:, 0].sum(), best.any(axis=1).sum()], np.int64)


def _runs(places: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Consecutive ranges as (start, stop)."""
    for part in np.split(places, np.flatnonzero(np.diff(places) != 1) + 1):
        yield int(part[0]), int(part[-1]) + 1


def colours_of(dims: Dims | None, layout: Layout) -> int | None:
    """How many colours an input of these dimensions takes; None if that is not fixed."""
    if dims is None or len(dims) != 4:
        return None
    size = dims[1 if layout == "nchw" else 3]
    return size if isinstance(size, int) else None
