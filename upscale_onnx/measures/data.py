"""What a scan is measured on: labelled images, inputs of a file, or random inputs."""

from __future__ import annotations

import os

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.measures.accuracy import Preprocessing, colours
from upscale_onnx.measures.labelled_images import open_images
from upscale_onnx.measures.measure import Distance, Place, Top1
from upscale_onnx.runtime.inputs import Inputs, feasible_inputs, input_specs
from upscale_onnx.runtime.samples import load_calibration
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Data, IntArray

_BATCH = 50
_TRIALS = 8


def labelled(
    model: ModelProto,
    data: str | os.PathLike[str],
    preprocessing: Preprocessing | None = None,
    *,
    limit: int,
    seed: int = 0,
    place: Place | None = None,
) -> Top1:
    """Accuracy on `limit` of the images in `data`, drawn with `seed` and held in memory.

    data: as `upscale_onnx.measures.accuracy.evaluate` takes it.

    Raises:
        ArgumentError: the data cannot be read, or does not fit. ModelError: the model is no classifier of images.
    """
    chosen = preprocessing or Preprocessing()
    specs = input_specs(model)
    if len(specs) != 1:
        raise ModelError(f"the model has {len(specs)} inputs: only models of one input can be evaluated")
    images = open_images(data, chosen.size, specs[0].name, colours(specs[0].dims, chosen.layout))
    order = np.sort(np.random.default_rng(seed).permutation(images.labels.size)[:limit])
    if not order.size:
        raise ArgumentError(f"{data}: holds no images")
    fixed = specs[0].dims[0] if specs[0].dims and isinstance(specs[0].dims[0], int) else None
    batches: list[tuple[Inputs, IntArray]] = []
    for start in range(0, order.size, fixed or _BATCH):
        places = order[start : start + (fixed or _BATCH)]
        filled = np.resize(places, fixed or places.size)  # repeats images where the model wants more
        pieces = [chosen.apply(images.read(int(i), int(i) + 1)) for i in filled]
        if len({piece.shape for piece in pieces}) > 1:
            raise ArgumentError(f"{data}: images differ in size: give the size to bring them to")
        x = np.concatenate(pieces)
        batches.append(({specs[0].name: x.astype(specs[0].dtype or np.float32)}, images.labels[places]))
    return Top1.of(model, batches, place)


def unlabelled(
    model: ModelProto, data: Data | None = None, *, limit: int, seed: int = 0, place: Place | None = None
) -> Distance:
    """The distance of outputs on about `limit` samples of `data`, or on a few random ones.

    Raises:
        ArgumentError: the data cannot be read, or do not fit. ModelError: no inputs are found for the model.
    """
    if data is not None:
        batches = load_calibration(data, model)
        size = max((array.shape[0] for array in batches[0].values() if array.ndim), default=1)
        return Distance.of(model, batches[: max(limit // size, 1)], place)
    device = place or Place()
    session = make_session(model, provider=device.provider, threads=device.threads)
    trials = [
        feasible_inputs(lambda inputs: run(session, inputs), model, seed=seed, trial=trial) for trial in range(_TRIALS)
    ]
    return Distance.of(model, trials, place)
