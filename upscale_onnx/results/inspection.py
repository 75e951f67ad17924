"""What the analysis finds in a model."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.models import ModelStats, Refusal, Segment
from upscale_onnx.results.origin import Origin
from upscale_onnx.results.picture import Picture
from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class Inspection(Shown):
    """What the analysis finds in a model: its segments, its refusals, its size, and its picture.

    origin: the command, the versions and the machine; None where nobody asked.
    """

    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]
    stats: ModelStats
    picture: Picture
    origin: Origin | None = None
