"""The names of arrays in files of samples. Comparing, calibrating and evaluating use the same names.

An array has the name of its input. If the model has only one input, the array may also be called "x" or "images".
Labels are called "y" or "labels".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.types import Array, Data

SAMPLES = ("x", "images")
LABELS = ("y", "labels")


def arrays_of(data: Data) -> tuple[dict[str, Array], str]:
    """The arrays in `data` by name, and what to call it in messages.

    Raises: ArgumentError where it is the path of a file that cannot be read.
    """
    if isinstance(data, np.ndarray):
        return {SAMPLES[0]: data}, name_of(data)
    return dict(data) if isinstance(data, Mapping) else read_arrays(data), name_of(data)


def name_of(data: Data) -> str:
    """What to call `data` in messages."""
    if isinstance(data, np.ndarray):
        return "the array given"
    return "the arrays given" if isinstance(data, Mapping) else str(data)


def samples_in(arrays: Mapping[str, Array], inputs: Collection[str]) -> dict[str, Array]:
    """`arrays` without the labels, under the names in `inputs`."""
    labels = labels_in(arrays, inputs)
    found = {name: array for name, array in arrays.items() if labels is None or name != labels}
    alias = next((name for name in SAMPLES if name in found), None)
    if len(inputs) != 1 or alias is None or any(name in found for name in inputs):
        return found
    (only,) = inputs
    return {only if name == alias else name: array for name, array in found.items()}


def labels_in(arrays: Mapping[str, Array], inputs: Collection[str]) -> str | None:
    """The name of the labels in `arrays`, or None without labels. An array with the name of an input is no label."""
    return next((name for name in LABELS if name in arrays and name not in inputs), None)
