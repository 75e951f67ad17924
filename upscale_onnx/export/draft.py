"""Drafts: a graph and its analysis, on the way to an export."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import Graph, Shape, import_graph
from upscale_onnx.passes.hold_weights import HoldWeights


class Draft:
    """The graph of `model` with its analysis.

    Whoever edits the graph takes both, which leaves nothing behind: the analysis knows of every weight slice
    whether it is zero, which takes a quarter of the model's memory where kernels are 1x1.
    held: weights that stay as they are. alone: values; the nodes that compute them are left alone.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        shapes: Mapping[str, Shape],
        held: frozenset[str] = frozenset(),
        alone: frozenset[str] = frozenset(),
    ) -> None:
        self.model, self.shapes, self.held, self.alone = model, shapes, held, alone
        self._begun: tuple[Graph, Analysis] | None = None

    @property
    def analysis(self) -> Analysis:
        """The analysis of the unedited graph, made at first use."""
        if self._begun is None:
            self._begun = self._begin()
        return self._begun[1]

    def take(self) -> tuple[Graph, Analysis]:
        """The graph, to be edited, and its analysis. The next one to ask gets new ones."""
        taken, self._begun = self._begun or self._begin(), None
        return taken

    def holding(self, held: frozenset[str]) -> Draft:
        """This draft, and the weights `held` stay as they are."""
        return self if held <= self.held else Draft(self.model, self.shapes, self.held | held, self.alone)

    def _begin(self) -> tuple[Graph, Analysis]:
        graph = import_graph(self.model)
        HoldWeights(self.held)(graph)
        return graph, analyse(graph, self.shapes, self.alone)
