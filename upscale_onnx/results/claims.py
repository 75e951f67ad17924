"""What a compile claims of the values that the model and its compiled form both hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Claim:
    """What the compiled model holds of one value of the original.

    sizes: `(rank,)`, the number of channels along each axis of the original value, 1 along axes that are no channel
    axes. held: same rank, the flat position in `sizes` of the original channel that now sits there; -1 where nothing
    is claimed of what sits there. None: every channel, in its original order. constants: of shape `sizes`, the number
    that a channel of the original always is, NaN where it varies; None where all vary.
    """

    sizes: tuple[int, ...]
    held: IntArray | None = None
    constants: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Certificate:
    """The claims of one compile by the name of the value. original, compiled: digests of the two models."""

    claims: Mapping[str, Claim]
    original: str
    compiled: str
