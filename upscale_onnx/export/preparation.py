"""What every export begins with: edits that make a graph easier to see through, and producers that are narrowed."""

from __future__ import annotations

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.costs.costs import Costs
from upscale_onnx.export.draft import Draft
from upscale_onnx.model import Graph, Shape, cleanup
from upscale_onnx.passes.absorb_pixel_shuffles import AbsorbPixelShuffles
from upscale_onnx.passes.absorb_shuffles import AbsorbShuffles
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.plan.claims import Trace
from upscale_onnx.plan.narrowing import narrowings

_MOST_FOLDS = 8


def prepared(draft: Draft, shapes: dict[str, Shape], trace: Trace) -> tuple[Graph, Analysis]:
    """The draft's graph, edited so that it is easier to see through, and its analysis. `shapes` and `trace` follow."""
    graph, analysis = draft.take()
    for _ in range(_MOST_FOLDS):
        absorb = (AbsorbShuffles(analysis), AbsorbPixelShuffles(analysis))
        folds = FoldConstants(analysis, trace.replaced)
        if sum(edit(graph) for edit in (*absorb, folds, MergeSelections(shapes))) == 0:
            break
        cleanup(graph)
        analysis = analyse(graph, shapes, analysis.alone)
    return graph, analysis


def narrowed(graph: Graph, analysis: Analysis, shapes: dict[str, Shape], costs: Costs) -> Analysis:
    """The analysis of the graph after its producers are narrowed."""
    edits = NarrowProducers(analysis, narrowings(analysis, costs), shapes)(graph)
    return analyse(graph, shapes, analysis.alone) if edits else analysis
