"""Segments: the parts of a graph within which channels stay, go and are reordered together."""

from upscale_onnx.segments.find import find_segments

__all__ = ["find_segments"]
