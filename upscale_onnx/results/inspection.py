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

    >>> import upscale_onnx
    >>> print(upscale_onnx.inspect("models/digits_cnet_masked.onnx"))
    140 of 362 channels are read by none, 0 nodes left alone
    #  classes  live  producers  carriers  consumers  forks  joins  refusals
    0       48    29          1         1          1      0      0         0
    1       48    29          1         2          1      0      0         0
    2       80    48          1         1          1      0      0         0
    3       80    48          1         2          1      0      0         0
    4       96    58          1         3          1      0      0         0
    5       10    10          1         0          0      0      0         0
    """

    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]
    stats: ModelStats
    picture: Picture
    origin: Origin | None = None
