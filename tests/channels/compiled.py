"""The way from a model to the one without its dead channels, as the compiler goes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from tests.channels.case import check
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.model import cleanup, export_graph, import_graph, infer_shapes
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.plan.plan import Plan, make_plan


@dataclass(frozen=True, eq=False)
class Compiled:
    """A model, what was known of it, and what was decided."""

    model: onnx.ModelProto
    analysis: Analysis
    plan: Plan

    def weight_sizes(self) -> dict[str, int]:
        """Elements per initializer."""
        return {tensor.name: int(np.prod(tensor.dims)) for tensor in self.model.graph.initializer}


def compiled(model: onnx.ModelProto, align: int = 1, order: np.random.Generator | None = None) -> Compiled:
    """The model without its dead channels; `order` draws a random order for them."""
    graph = import_graph(model)
    analysis = analyse(graph, infer_shapes(model))
    emitted = emitted_classes(analysis, align)
    rank: npt.NDArray[np.int64] | None = None if order is None else order.permutation(analysis.live.size)
    plan = make_plan(analysis, emitted, rank)
    RemoveChannels(lambda _: plan)(Rewrite(graph, {}))
    cleanup(graph)
    small = export_graph(graph, model, plan.changed)
    check(small)
    return Compiled(small, analysis, plan)
