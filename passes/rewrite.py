"""A graph while passes edit it."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import Graph, Shape
from upscale_onnx.passes.changes import Changes


class Rewrite:
    """A graph, the shapes of its values, and what the passes so far have done.

    alone: values; the nodes that compute them are left alone.
    """

    def __init__(self, graph: Graph, shapes: Mapping[str, Shape], alone: frozenset[str] = frozenset()) -> None:
        self.graph, self.alone = graph, alone
        self.done = Changes()
        self._shapes = dict(shapes)
        self._analysis: Analysis | None = None

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of values, as far as they are known now."""
        return self._shapes

    @property
    def analysis(self) -> Analysis:
        """The analysis of the graph as it is, made where an edit has made the last one untrue."""
        if self._analysis is None:
            self._analysis = analyse(self.graph, self._shapes, self.alone)
        return self._analysis

    def record(self, changes: Changes) -> None:
        """Take note of what a pass did."""
        self.done = self.done.then(changes)
        for name, shape in changes.shapes.items():
            if shape is None:
                self._shapes.pop(name, None)
            else:
                self._shapes[name] = shape
        if changes.edits:
            self._analysis = None
