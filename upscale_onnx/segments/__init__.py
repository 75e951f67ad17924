"""Segments: the parts of a graph within which channels stay, go and are reordered together."""

from upscale_onnx.segments.find import find_segments
from upscale_onnx.segments.picture import picture_of
from upscale_onnx.segments.stopped import priced_refusals

__all__ = ["find_segments", "picture_of", "priced_refusals"]
