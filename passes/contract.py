"""The contract of passes: what a pass is given and returns, and what it requires and ensures."""

from __future__ import annotations

from typing import ClassVar, Protocol

from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.properties import WHOLE, Property
from upscale_onnx.passes.rewrite import Rewrite


class Pass(Protocol):
    """An edit of a graph. The graph's outputs keep their names and their values.

    purpose: what the pass is for, in one line. requires, ensures: what must hold before it, and what holds after it,
    in addition to what holds between all passes (`properties.SOUND`).
    """

    purpose: ClassVar[str]
    requires: ClassVar[tuple[Property, ...]] = (WHOLE,)
    ensures: ClassVar[tuple[Property, ...]] = (WHOLE,)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit `rewrite.graph`, and return what changed."""
        ...
