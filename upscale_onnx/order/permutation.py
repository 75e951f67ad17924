"""Orders of channels as index arrays: `new[i] = old[order[i]]`, as Gather reads."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Indices: TypeAlias = NDArray[np.int64]
