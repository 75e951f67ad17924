"""One pass at a time on a model, checked."""

from __future__ import annotations

import onnx

from tests.graphs import check
from upscale_onnx.costs.costs import Costs
from upscale_onnx.model import Shape, export_graph, import_graph, infer_shapes
from upscale_onnx.passes.absorb_pixel_shuffles import AbsorbPixelShuffles
from upscale_onnx.passes.absorb_shuffles import AbsorbShuffles
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.passes.pipeline import Pipeline, checking
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.remove_unread import RemoveUnread
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.plan.emitted import emitted_classes
from upscale_onnx.plan.narrowing import narrowings
from upscale_onnx.plan.plan import Plan, make_plan
from upscale_onnx.plan.selection import partial_demands


def begun(model: onnx.ModelProto) -> Rewrite:
    """The graph of `model`, of which nothing is edited yet."""
    return Rewrite(import_graph(model), infer_shapes(model))


def edited(model: onnx.ModelProto, edit: Pass) -> tuple[onnx.ModelProto, Changes]:
    """The model after one edit, which kept to its contract, and what the pass tells of it."""
    rewrite = begun(model)
    with checking():
        Pipeline((edit,)).run(rewrite)
        done = rewrite.done
        Pipeline((RemoveUnread(),)).run(rewrite)
    return export_graph(rewrite.graph, model, done.shapes), done


def applied(model: onnx.ModelProto, edit: Pass) -> onnx.ModelProto:
    """The model after one edit. It is valid and computes what `model` does, and `model` is as it was; values have the
    shapes that the pass tells."""
    original = model.SerializeToString(deterministic=True)
    after, done = edited(model, edit)
    check(model, after)
    assert model.SerializeToString(deterministic=True) == original
    found, before = infer_shapes(after), infer_shapes(model)
    for name in {name for node in after.graph.node for name in node.output}:
        told = done.shapes.get(name, before.get(name))
        assert told is None or _agree(found[name], told), name
    return after


def _agree(one: Shape, other: Shape) -> bool:
    """Whether two shapes are of one type and rank, with the same sizes where both are known."""
    sizes = zip(one.dims, other.dims, strict=False)
    same = all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in sizes)
    return one.dtype == other.dtype and one.rank == other.rank and same


def remove(model: onnx.ModelProto, align: int = 1, reorder: bool = False) -> onnx.ModelProto:
    """`RemoveChannels` by the plan that keeps what is demanded."""

    def plan(now: Rewrite) -> Plan:
        rank = arrange(now.analysis) if reorder else None
        return make_plan(now.analysis, emitted_classes(now.analysis, align), rank)

    return applied(model, RemoveChannels(plan))


def select(model: onnx.ModelProto) -> onnx.ModelProto:
    """`SelectChannels` in front of every consumer that demands a part."""
    edit = SelectChannels(lambda now: partial_demands(now.analysis))
    assert edited(model, edit)[1].edits == len(partial_demands(begun(model).analysis))
    return applied(model, edit)


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """`FoldConstants`."""
    return applied(model, FoldConstants())


def absorb(model: onnx.ModelProto) -> onnx.ModelProto:
    """`AbsorbShuffles`."""
    return applied(model, AbsorbShuffles())


def absorb_pixels(model: onnx.ModelProto) -> onnx.ModelProto:
    """`AbsorbPixelShuffles`."""
    return applied(model, AbsorbPixelShuffles())


def narrow(model: onnx.ModelProto, costs: Costs) -> onnx.ModelProto:
    """`NarrowProducers` where `costs` say that it pays."""
    return applied(model, NarrowProducers(lambda now: narrowings(now.analysis, costs)))


def merge(model: onnx.ModelProto) -> onnx.ModelProto:
    """`MergeSelections`."""
    return applied(model, MergeSelections())
