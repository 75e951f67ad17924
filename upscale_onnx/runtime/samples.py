"""Calibration data in batches that a model can run, and the labels beside it."""

from __future__ import annotations

import numpy as np
import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.runtime.activations import batch_size, batches_of, has_fixed_batch
from upscale_onnx.runtime.inputs import Inputs, input_specs
from upscale_onnx.runtime.naming import arrays_of, labels_in, samples_in
from upscale_onnx.runtime.user_inputs import check_inputs
from upscale_onnx.types import Data, IntArray


def load_calibration(data: Data, model: onnx.ModelProto) -> tuple[Inputs, ...]:
    """The samples in `data`, one array for each input of `model`, cut into batches it can run.

    If the model fixes the batch size, samples that do not fill a batch are left out. Labels are left out, too
    (see `load_labels`).

    Raises:
        ArgumentError: it cannot be read, or its arrays do not fit the model's inputs.
    """
    named, path = arrays_of(data)
    arrays = samples_in(named, _input_names(model))
    _check_finite(arrays, path)
    size = batch_size(model, arrays)
    batches = batches_of(arrays, size)
    fixed = has_fixed_batch(model)
    whole = tuple(b for b in batches if not fixed or all(a.shape[0] == size for a in b.values() if a.ndim))
    if not whole:
        raise ArgumentError(f"{path}: holds no samples, or fewer than the {size} that the model takes as one batch")
    for batch in whole[:1] + whole[-1:]:
        check_inputs(batch, model, path)
    return whole


def _check_finite(arrays: Inputs, path: str) -> None:
    """Check that all values are finite: a single NaN would make all statistics, and all weights fitted to them, NaN."""
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            raise ArgumentError(f"{path}: {name!r} holds NaN or infinity; calibration needs finite numbers")


def load_labels(data: Data, model: onnx.ModelProto, samples: int) -> IntArray | None:
    """The class numbers of the first `samples` samples in `data`, as an array (samples,).

    They are in its array "y" or "labels"; None if it has neither.

    Raises:
        ArgumentError: it cannot be read, or the array does not hold one class number for each sample.
    """
    arrays, path = arrays_of(data)
    name = labels_in(arrays, _input_names(model))
    if name is None:
        return None
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.size != (array.shape[0] if array.ndim else 0) or array.size < samples:
        raise ArgumentError(f"{path}: {name!r} is {array.dtype} of shape {array.shape}: give one class number a sample")
    return array.ravel()[:samples].astype(np.int64)


def _input_names(model: onnx.ModelProto) -> list[str]:
    return [spec.name for spec in input_specs(model)]
