"""The record that a pass returns of its edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from upscale_onnx.model import Shape
from upscale_onnx.passes.opening import Opening
from upscale_onnx.plan.growth import StoredWeight
from upscale_onnx.plan.plan import Plan
from upscale_onnx.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Changes:
    """What one pass did, or several passes one after another.

    edits: the number of edits; with 0 the graph is unchanged. shapes: the shapes of values that are new or have
    another shape now; None where the shape is no longer known. replaced: values that hold something else under their
    name, while the results of their readers are unchanged. resized: the shapes of values that hold fewer channels, or
    the same in another order. narrowed: per value that was cut, the axis, the size before, and the positions that it
    still holds. constants: the contents of channels, by value, before any selection.
    handed: by the first output of a layer, the indices that are selected for it. plan: the plan by which channels were
    removed. stored: the size of each weight before and after. opened: nodes whose place others took for a while.
    """

    edits: int = 0
    shapes: Mapping[str, Shape | None] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    resized: Mapping[str, Shape] = field(default_factory=dict)
    narrowed: Mapping[str, tuple[int, int, IntArray]] = field(default_factory=dict)
    constants: Mapping[str, FloatArray] = field(default_factory=dict)
    handed: Mapping[str, IntArray] = field(default_factory=dict)
    plan: Plan | None = None
    stored: tuple[StoredWeight, ...] = ()
    opened: tuple[Opening, ...] = ()

    def then(self, later: Changes) -> Changes:
        """The record of these changes followed by `later`."""
        return Changes(
            self.edits + later.edits,
            {**self.shapes, **later.shapes},
            self.replaced | later.replaced,
            {**self.resized, **later.resized},
            {**self.narrowed, **later.narrowed},
            later.constants or self.constants,
            {**self.handed, **later.handed},
            later.plan or self.plan,
            self.stored + later.stored,
            self.opened + later.opened,
        )
