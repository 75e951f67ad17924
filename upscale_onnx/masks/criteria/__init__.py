"""Criteria: functions of arrays that score channels; the lowest are pruned. `pruning/criteria.py` has them by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from upscale_onnx.types import Array, FloatArray

WeightCriterion: TypeAlias = Callable[[Array, int, np.random.Generator], FloatArray]
"""Scores the channels along an axis of a weight by its values alone; the generator is for random numbers."""
