"""What passes say that they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from upscale_onnx.model import Shape
from upscale_onnx.plan.growth import StoredWeight
from upscale_onnx.plan.plan import Plan
from upscale_onnx.types import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Changes:
    """What one pass did, or several one after another.

    edits: how many there were; after none the graph is as it was. shapes: of values that are new or have another
    shape now, None where it is not known any more. replaced: values that hold something else under their name, with
    what their readers make of them unchanged. narrowed: values that are cut down: along which axis, the size before,
    and the positions that they still hold. constants: the contents of channels, by value, before any selection.
    handed: by the first output of a layer, the indices that are selected for it. plan: of the channels that went.
    stored: what became of each weight.
    """

    edits: int = 0
    shapes: Mapping[str, Shape | None] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    narrowed: Mapping[str, tuple[int, int, IntArray]] = field(default_factory=dict)
    constants: Mapping[str, FloatArray] = field(default_factory=dict)
    handed: Mapping[str, IntArray] = field(default_factory=dict)
    plan: Plan | None = None
    stored: tuple[StoredWeight, ...] = ()

    def then(self, later: Changes) -> Changes:
        """These changes and `later` ones."""
        return Changes(
            self.edits + later.edits,
            {**self.shapes, **later.shapes},
            self.replaced | later.replaced,
            {**self.narrowed, **later.narrowed},
            later.constants or self.constants,
            {**self.handed, **later.handed},
            later.plan or self.plan,
            self.stored + later.stored,
        )
