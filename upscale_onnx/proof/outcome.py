"""What both models computed for one region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from upscale_onnx.proof.draws import Draw
from upscale_onnx.proof.regions import Region


@dataclass(frozen=True)
class RegionOutcome:
    """The target of one region in both models, computed from `draw`.

    expected: the value in the original.
    moved: the values in the original when the inputs of the region move a little.
    actual: the value in the compiled model, or the error if it fails.
    """

    region: Region
    draw: Draw
    expected: Any
    moved: Sequence[Any]
    actual: Any


Watch = Callable[[RegionOutcome], object]
