"""Types of arrays by what they hold, of sizes, and of progress, for signatures all over the package."""

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
# Arrays by name, one for the only input of a model, or the path of an .npz with some.
Data = str | os.PathLike[str] | Mapping[str, Array] | Array
# A size along an axis: a number, the name of a dynamic size (never negative), or None where nothing is known of it.
Dim = int | str | None
Dims = tuple[Dim, ...]
# What is called with the name of what is done now, and the share of it that is done, 0 to 1.
Progress = Callable[[str, float], None]
