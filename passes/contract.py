"""What every pass keeps to: what it is given, what it returns, and what it counts on and sees to."""

from __future__ import annotations

from typing import ClassVar, Protocol

from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.properties import WHOLE, Property
from upscale_onnx.passes.rewrite import Rewrite


class Pass(Protocol):
    """An edit of a graph. Its outputs stay as they are called and compute what they did.

    purpose: what it is for, in a line. requires, ensures: what must hold before it, and what holds after it, beside
    what holds between all passes (`properties.SOUND`).
    """

    purpose: ClassVar[str]
    requires: ClassVar[tuple[Property, ...]] = (WHOLE,)
    ensures: ClassVar[tuple[Property, ...]] = (WHOLE,)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit `rewrite.graph`, and say what changed."""
        ...
