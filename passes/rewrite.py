"""A graph while passes edit it."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import Graph, Shape
from upscale_onnx.model.stored import WeightStore
from upscale_onnx.passes.changes import Changes


class Rewrite:
    """A graph, the shapes of its values, and the changes that passes have made so far.

    alone: names of values; the nodes that compute them are left alone.
    store: takes weights that passes cut; None keeps them in memory.
    """

    def __init__(
        self,
        graph: Graph,
        shapes: Mapping[str, Shape],
        alone: frozenset[str] = frozenset(),
        store: WeightStore | None = None,
    ) -> None:
        self.graph, self.alone, self.store = graph, alone, store
        self.done = Changes()
        self._shapes = dict(shapes)
        self._analysis: Analysis | None = None

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of values, as far as they are known after the edits."""
        return self._shapes

    @property
    def analysis(self) -> Analysis:
        """The analysis of the graph as it is now; made anew after an edit."""
        if self._analysis is None:
            self._analysis = analyse(self.graph, self._shapes, self.alone)
        return self._analysis

    def record(self, changes: Changes) -> None:
        """Add what a pass did to the changes so far."""
        self.done = self.done.then(changes)
        for name, shape in changes.shapes.items():
            if shape is None:
                self._shapes.pop(name, None)
            else:
                self._shapes[name] = shape
        if changes.edits:
            self._analysis = None
