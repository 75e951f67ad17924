"""One pass at a time on a model, checked."""

from __future__ import annotations

from collections.abc import Callable, Collection

import onnx
import onnx_graphsurgeon as gs

from tests.graphs import check
from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.costs.costs import Costs
from upscale_onnx.model import Shape, cleanup, export_graph, import_graph, infer_shapes
from upscale_onnx.passes.absorb_pixel_shuffles import AbsorbPixelShuffles
from upscale_onnx.passes.absorb_shuffles import AbsorbShuffles
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.plan.narrowing import narrowings
from upscale_onnx.plan.plan import make_plan
from upscale_onnx.plan.selection import partial_demands

# An edit: of the graph, given its analysis and shapes; returns what changed shape, None for anything.
Edit = Callable[[gs.Graph, Analysis, dict[str, Shape]], Collection[str] | None]


def applied(model: onnx.ModelProto, edit: Edit) -> onnx.ModelProto:
    """The model after one edit. It is valid and computes what `model` does, and `model` is as it was."""
    original = model.SerializeToString(deterministic=True)
    graph, shapes = import_graph(model), infer_shapes(model)
    changed = edit(graph, analyse(graph, shapes), shapes)
    cleanup(graph)
    after = export_graph(graph, model, changed)
    check(model, after)
    assert model.SerializeToString(deterministic=True) == original
    return after


def remove(model: onnx.ModelProto, align: int = 1, reorder: bool = False) -> onnx.ModelProto:
    """`RemoveChannels` by the plan that keeps what is demanded."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        plan = make_plan(analysis, emitted_classes(analysis, align), arrange(analysis) if reorder else None)
        RemoveChannels(plan)(graph)
        return plan.changed

    return applied(model, edit)


def select(model: onnx.ModelProto) -> onnx.ModelProto:
    """`SelectChannels` in front of every consumer that demands a part."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> None:
        demands = partial_demands(analysis)
        assert SelectChannels(analysis, demands, shapes)(graph) == len(demands)

    return applied(model, edit)


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """`FoldConstants`."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        FoldConstants(analysis)(graph)
        return ()

    return applied(model, edit)


def absorb(model: onnx.ModelProto) -> onnx.ModelProto:
    """`AbsorbShuffles`."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        AbsorbShuffles(analysis)(graph)
        return ()

    return applied(model, edit)


def absorb_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """`AbsorbPixelShuffles`."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        AbsorbPixelShuffles(analysis)(graph)
        return ()

    return applied(model, edit)


def narrow(model: onnx.ModelProto, costs: Costs) -> onnx.ModelProto:
    """`NarrowProducers` where `costs` say that it pays."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        NarrowProducers(analysis, narrowings(analysis, costs), shapes)(graph)
        return ()

    return applied(model, edit)


def merge(model: onnx.ModelProto) -> onnx.ModelProto:
    """`MergeSelections`."""

    def edit(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape]) -> Collection[str]:
        MergeSelections(shapes)(graph)
        return ()

    return applied(model, edit)
