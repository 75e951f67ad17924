"""Drafts: graphs on the way to an export."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.model import Shape, import_graph
from upscale_onnx.model.stored import store_of
from upscale_onnx.passes.rewrite import Rewrite


class Draft:
    """The graph of `model` with its analysis.

    `take` hands over both and keeps neither, to save memory: the analysis stores for every weight slice whether it is
    zero, which takes a quarter of the model's memory where kernels are 1x1.
    alone: names of values; the nodes that compute them are left alone.
    """

    def __init__(
        self, model: onnx.ModelProto, shapes: Mapping[str, Shape], alone: frozenset[str] = frozenset()
    ) -> None:
        self.model, self.shapes, self.alone = model, shapes, alone
        self._begun: Rewrite | None = None

    @property
    def analysis(self) -> Analysis:
        """The analysis of the unedited graph, made at first use."""
        self._begun = self._begun or self._begin()
        return self._begun.analysis

    def take(self) -> Rewrite:
        """The graph, to be edited, with its analysis if there is one. The next call returns a new graph."""
        taken, self._begun = self._begun or self._begin(), None
        return taken

    def _begin(self) -> Rewrite:
        return Rewrite(import_graph(self.model), self.shapes, self.alone, store_of(self.model))
