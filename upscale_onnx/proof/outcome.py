"""What both models computed for one region."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from upscale_onnx.errors import ModelError
from upscale_onnx.proof.compare import fault_of, shape_fault
from upscale_onnx.proof.draws import Draw
from upscale_onnx.proof.regions import Region
from upscale_onnx.results import Claim


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

    def fault(self, claim: Claim | None, *, replaced: bool, at_random: bool) -> str:
        """What is wrong with the compiled model's value, according to `claim`; "" if nothing is.

        replaced: as for `fault_of`. at_random: whether both models draw the value, so that only its shape can be wrong.
        """
        if isinstance(self.actual, ModelError):
            return f"the compiled region fails: {self.actual}"
        if at_random:
            return shape_fault(self.expected.shape, self.expected, self.actual)
        return fault_of(self.expected, self.moved, self.actual, claim, replaced)


Watch = Callable[[RegionOutcome], object]
