"""The claims of a compile about values that the original and the compiled model both hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.results.equality import EqualByValue
from upscale_onnx.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Claim(EqualByValue):
    """What the compiled model holds of one value of the original.

    sizes: the number of channels of the original value along each axis, 1 along axes that are no channel axes.
    held: an array of the same rank. Each entry is the flat index, into `sizes`, of the original channel at this place
    of the compiled value, or -1 if nothing is claimed about the place. None: all channels, in their original order.
    constants: what each channel of the original holds for all inputs, to be broadcast to it: an array of shape `sizes`,
    which is longer along axes where places differ. NaN for channels that vary; None if all vary.
    """

    sizes: tuple[int, ...]
    held: IntArray | None = None
    constants: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Certificate(EqualByValue):
    """The claims of one compile, by the names of values. original, compiled: SHA-256 checksums of the two models."""

    claims: Mapping[str, Claim]
    original: str
    compiled: str
