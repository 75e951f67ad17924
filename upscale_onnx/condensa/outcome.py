"""What a compressor returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Tried:
    """A density that was tried. accuracy: after training. value: of the objective; None where the accuracy is too low.
    distance: of the trained weights from the compressed ones after the last step, relative to their size."""

    density: float
    accuracy: float
    value: float | None
    distance: float


@dataclass(frozen=True)
class Statistics:
    """density: what the search chose; None where the scheme leaves none open. densities: the share of each compressed
    weight that is not zero, by name. overall: the share of all of them together.

    accuracy: top-1 before and after, 0 to 1. value: of the objective before and after, in its `unit`.
    """

    density: float | None
    densities: Mapping[str, float]
    overall: float
    accuracy: tuple[float, float]
    objective: str
    unit: str
    value: tuple[float, float]
    tried: tuple[Tried, ...]


@dataclass(frozen=True, eq=False)
class Compressed:
    """A compressed model: the given one with zeros. smaller: an equal model without the channels that are zero.

    >>> import upscale_onnx
    >>> from upscale_onnx.condensa import Compressed
    >>> from upscale_onnx.condensa.outcome import Statistics
    >>> result = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False, verify=False)
    >>> shares = {"features.0.weight": 0.6}
    >>> statistics = Statistics(0.6, shares, 0.6, (0.991, 0.987), "size", "bytes", (739e3, 293e3), ())
    >>> Compressed(result.masked, result.model, statistics).statistics.accuracy
    (0.991, 0.987)
    """

    model: onnx.ModelProto
    smaller: onnx.ModelProto
    statistics: Statistics
