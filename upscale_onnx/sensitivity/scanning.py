"""A whole scan: what each layer of a model can lose by itself, and what all of them can lose together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.measures.data import labelled, unlabelled
from upscale_onnx.measures.measure import Measure
from upscale_onnx.model import Model, load_model
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Scanning, options_of
from upscale_onnx.options.checking import check_value
from upscale_onnx.options.ranges import FRACTION, POSITIVE
from upscale_onnx.results import Sensitivity
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.sensitivity.scan import scan_layers
from upscale_onnx.sensitivity.together import pruned_together
from upscale_onnx.types import Data, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TOLERATED = {"top1": 0.01, "distance": 0.1}


def scan(
    model: Model,
    data: Data | None = None,
    preprocessing: Preprocessing | None = None,
    options: Options | None = None,
    *,
    amounts: Sequence[float] = (0.1, 0.3, 0.5),
    layers: Sequence[str] = (),
    tolerated: float | None = None,
    limit: int = 256,
    progress: Progress | None = None,
    **overrides: Unpack[Scanning],
) -> Sensitivity:
    """Prune one layer of `model` at a time, and measure the loss; then all layers together, as much as is tolerated.

    data: labelled images, as for `evaluate`, to measure accuracy on. None measures how far the outputs move: on the
        calibration data of the options, or on random inputs.
    amounts: the shares (0 to 1) of a layer's channels that are pruned.
    layers: glob patterns of names of weights or of nodes; without them, all layers that can be pruned.
    tolerated: the largest allowed loss: of top-1 accuracy, as a share of 1 (None: 0.01), or the distance of outputs
        relative to their size (None: 0.1).
    limit: on how many samples to measure, held in memory.
    options, overrides: criterion, side, calibration, provider, threads and seed.

    Raises:
        ArgumentError: an argument cannot be used, or data cannot be read or does not fit the model.
        ModelError: the model cannot be read or run.
        ProviderError: there is no such device.

    >>> import upscale_onnx
    >>> model, data = "models/digits_cnet_masked.onnx", "models/digits_test.npz"
    >>> found = upscale_onnx.scan(model, data, amounts=(0.3,), layers=("features.3*",), limit=64)
    >>> found.layers[0].weight, found.layers[0].largest_amount
    ('features.3.0.weight', 0.3)
    """
    check_value("limit", limit, Annotated[int, POSITIVE])
    check_value("tolerated", tolerated, Annotated[float, FRACTION] | None)
    if data is None and preprocessing not in (None, Preprocessing()):
        raise ArgumentError("only labelled images are preprocessed: give data, or leave out the preprocessing")
    wanted = options_of(Scanning, options, overrides)
    tell = progress or (lambda stage, fraction: None)
    tell("baseline", 0.0)
    loaded = load_model(model)
    measure = _measure(loaded, data, preprocessing, wanted, limit)
    most = _TOLERATED[measure.name] if tolerated is None else tolerated
    found = scan_layers(loaded, measure, amounts, wanted, tolerated=most, layers=layers, progress=tell)
    return replace(found, together=pruned_together(loaded, measure, found, wanted, tell))


def _measure(
    model: onnx.ModelProto, data: Data | None, preprocessing: Preprocessing | None, options: Options, limit: int
) -> Measure:
    place, seed = Place(resolve_provider(options.target.provider), options.target.threads), options.prune.seed
    if data is None:
        return unlabelled(model, options.prune.calibration, limit=limit, seed=seed, place=place)
    return labelled(model, data, preprocessing, limit=limit, seed=seed, place=place)
