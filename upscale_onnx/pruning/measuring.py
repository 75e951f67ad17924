"""Measured latency of a compile with given masks."""

from __future__ import annotations

import onnx

from upscale_onnx.costs.targets import Target
from upscale_onnx.export.contenders import contenders, wants_speed
from upscale_onnx.export.export import make
from upscale_onnx.export.sizes import smallest
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Masks
from upscale_onnx.model import infer_shapes
from upscale_onnx.options import Options
from upscale_onnx.timing.target_costs import chosen_costs

_RACE_SECONDS = 3.0
_RACE_ROUNDS = 15


def measured_share(model: onnx.ModelProto, masks: Masks, target: Target, options: Options) -> float:
    """Latency of the model compiled with `masks` of the input side, as a share of the latency of `model`. It is 1 where
    the choice of the export is free and none is faster, since a compile then gives its input back.

    Raises:
        ModelError: onnxruntime cannot run the model. ProviderError: no such device.
    """
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.place import Place
    from upscale_onnx.runtime.providers import resolve_provider

    masked, _ = write_masks(model, masks)
    shapes, costs = infer_shapes(masked), chosen_costs(target, options.target)
    known = contenders(options, target)
    made = {name: make(recipe, masked, shapes, costs) for name, recipe in known.items()}
    if not wants_speed(options.export):
        name = smallest(made)
        made = {name: made[name]}
    place = Place(resolve_provider(options.target.provider), options.target.threads, options.target.batch)
    models, seed = {"input": model, **made}, options.target.seed
    outcome = race(models, **vars(place), rounds=_RACE_ROUNDS, seed=seed, budget_s=_RACE_SECONDS, eliminate=True)
    exports = outcome.timings if wants_speed(options.export) else outcome.timings[1:]
    return min(timing.ratio for timing in exports)
