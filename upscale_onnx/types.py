"""Type names for signatures in the whole package: arrays by what they hold, sizes, progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
# Arrays by name; one array, for the only input of a model; or the path of an .npz file that holds arrays.
Data = str | os.PathLike[str] | Mapping[str, Array] | Array
# A size along an axis: a number, the name of a dynamic size, or None where it is unknown. Sizes are never negative.
Dim = int | str | None
Dims = tuple[Dim, ...]
# A function that is called with the name of the current stage and the share of all work that is done, 0 to 1.
Progress = Callable[[str, float], None]
