"""The accuracy of a model in training, as onnxruntime runs the file that would be written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from upscale_onnx.measures.accuracy import Preprocessing, labelled_batches
from upscale_onnx.measures.measure import Top1
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.training.images import TrainingData, labelled_samples, only_input
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Data, IntArray

Judge = Callable[[onnx.ModelProto], float]


def judge_on(
    val: Data,
    model: onnx.ModelProto,
    data: TrainingData,
    settings: Training,
    preprocessing: Preprocessing,
    limit: int | None = None,
) -> Judge:
    """A function that returns the top-1 accuracy, 0 to 1, of variants of `model` on `val`, which is read once.

    limit: judge on that many images, drawn with the seed, or on the first other samples.

    Raises: ArgumentError where `val` cannot be used.
    """
    if data.preprocessing is None:
        batches: Sequence[tuple[Inputs, IntArray]] = _plain_batches(val, model, data.batch, limit)
    else:
        batches = list(labelled_batches(model, val, preprocessing, limit, settings.seed)[1])
    return Top1(batches, 0.0, Place(threads=settings.threads)).value


def _plain_batches(val: Data, model: onnx.ModelProto, size: int, limit: int | None) -> list[tuple[Inputs, IntArray]]:
    """Batches of samples that are no images. The last one is filled by repeating samples, which have no labels."""
    spec = only_input(model)
    x, labels = labelled_samples(val, spec.name)
    x, labels = x[:limit].astype(spec.dtype or np.float32), labels[:limit]
    places = np.split(np.arange(len(labels)), range(size, len(labels), size))
    return [({spec.name: x[np.resize(part, size)]}, labels[part]) for part in places]
