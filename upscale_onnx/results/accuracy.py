"""The accuracy of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class Accuracy(Shown):
    """Accuracy on `images` images.

    top1, top5: the share (0 to 1) of images whose label has the highest score, or one of the five highest.

    >>> from upscale_onnx import Accuracy
    >>> print(Accuracy(top1=0.991, top5=1.0, images=450))
    top-1 99.1%, top-5 100.0%, of 450 images
    """

    top1: float
    top5: float
    images: int
