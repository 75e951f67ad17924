"""How far a model is from itself when nothing but rounding changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array

if TYPE_CHECKING:
    import onnxruntime as ort

_NUDGES = 3


def noisy_runs(
    model: ModelProto, session: ort.InferenceSession, feeds: Sequence[Inputs], provider: Device, seed: int
) -> Iterator[list[list[Any]]]:
    """The outputs of every trial, once for each way in which rounding may change.

    These are: without onnxruntime's optimisations, and in `session`, as before, on inputs that are moved by one unit
    in the last place.
    """
    try:
        plain = make_session(model, provider=provider, exact=True, optimize=False)
        yield [run(plain, feed) for feed in feeds]
    except ModelError:
        pass  # a model that runs only when it is optimised has other ways to show its noise
    if not any(_is_float(array) for feed in feeds for array in feed.values()):
        return
    for number in range(_NUDGES):
        rng = np.random.default_rng((seed, number))
        try:
            yield [run(session, {name: _nudged(rng, array) for name, array in feed.items()}) for feed in feeds]
        except ModelError:
            continue


def _nudged(rng: np.random.Generator, array: Array) -> Array:
    """The values, each the next one up or down."""
    if not _is_float(array):
        return array
    towards = np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf).astype(array.dtype)
    return np.where(array == 0, array, np.nextafter(array, towards))


def _is_float(array: Array) -> bool:
    return bool(array.dtype.kind == "f")
