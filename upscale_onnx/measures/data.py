"""Measures on given data: on labelled images, on inputs from a file, or on random inputs."""

from __future__ import annotations

from onnx import ModelProto

from upscale_onnx.measures.accuracy import Preprocessing, labelled_batches
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.runtime.inputs import feasible_inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.samples import load_calibration
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Data

_TRIALS = 8


def labelled(
    model: ModelProto,
    data: Data,
    preprocessing: Preprocessing | None = None,
    *,
    limit: int,
    seed: int = 0,
    place: Place | None = None,
) -> Top1:
    """A measure: the accuracy on `limit` of the images in `data`, drawn with `seed` and held in memory.

    data: what `upscale_onnx.measures.accuracy.evaluate` takes.

    Raises:
        ArgumentError: the data cannot be read, or does not fit the model.
        ModelError: the model is no classifier of images.
    """
    return Top1.of(model, list(labelled_batches(model, data, preprocessing, limit, seed)[1]), place)


def unlabelled(
    model: ModelProto, data: Data | None = None, *, limit: int, seed: int = 0, place: Place | None = None
) -> Distance:
    """A measure: the distance of outputs on about `limit` samples of `data`, or on a few random samples without `data`.

    Raises:
        ArgumentError: the data cannot be read, or does not fit the model.
        ModelError: no inputs are found for the model.
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
