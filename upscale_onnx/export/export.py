"""The exports: ways to make a smaller model of one whose dead channels are known."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import onnx

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.costs.costs import Costs
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.preparation import narrowed, prepared
from upscale_onnx.export.recipes import Making, Recipe
from upscale_onnx.model import Graph, Shape, cleanup, export_graph
from upscale_onnx.model.stream import file_bytes
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.passes.split_producers import SplitProducers
from upscale_onnx.passes.store_weights import StoreWeights
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.plan.claims import Trace, plan_claims
from upscale_onnx.plan.growth import StoredWeight, outgrown
from upscale_onnx.plan.plan import Plan, settled_plan
from upscale_onnx.plan.planner import plan_selections, selected
from upscale_onnx.plan.selection import Demand, partial_demands
from upscale_onnx.plan.splitting import plan_splits
from upscale_onnx.plan.standing import Standing, standing
from upscale_onnx.results import Claim
from upscale_onnx.types import IntArray

_MOST_HOLDS = 3
# Weights of which no second copy should wait for a garbage collection.
_MANY_WEIGHTS = 1 << 22


class Exported(NamedTuple):
    """A candidate, what it claims of each value that it shares with the model it was made from, and how it was made:
    None where it is that model itself."""

    model: onnx.ModelProto
    claims: Mapping[str, Claim]
    making: Making | None


def make(
    recipe: Recipe,
    model: onnx.ModelProto,
    shapes: Mapping[str, Shape],
    costs: Costs | None = None,
    without: frozenset[str] = frozenset(),
) -> onnx.ModelProto:
    """The model that `export` makes."""
    return export(Making(recipe, costs, without), Draft(model, shapes)).model


def export(making: Making, draft: Draft) -> Exported:
    """The candidate that is made of the draft's model, which is not changed, as `making` says.

    Weights that several nodes read stay whole where the parts that each of these is left with would take more bytes.
    """
    return _settled(making, draft)[0]


def _settled(making: Making, draft: Draft) -> tuple[Exported, frozenset[str]]:
    """The candidate, and the weights that stay whole in it."""
    held: frozenset[str] = frozenset()
    best, grown = _made(making, draft)
    best_held = held
    for _ in range(_MOST_HOLDS):
        if not grown:
            break
        held |= grown
        other, grown = _made(making, draft.holding(held))
        if file_bytes(other.model) < file_bytes(best.model):
            best, best_held = other, held
    return best, best_held


def no_larger(made: Mapping[str, Exported], model: onnx.ModelProto) -> dict[str, Exported]:
    """The exports that take no more bytes than `model`: no other is ever written."""
    most = file_bytes(model)
    return {name: one for name, one in made.items() if file_bytes(one.model) <= most}


def _made(making: Making, draft: Draft) -> tuple[Exported, frozenset[str]]:
    """The candidate, and the weights that had better stay whole."""
    model, shapes = draft.model, dict(draft.shapes)
    trace = Trace()
    graph, plan, changed, _ = _laid_out(making, draft, shapes, trace)
    RemoveChannels(plan)(graph)
    changed |= plan.changed
    MergeSelections({name: shape for name, shape in shapes.items() if name not in changed})(graph)
    cleanup(graph)
    stored: list[StoredWeight] = []
    StoreWeights(changed, stored)(graph)
    claims = plan_claims(plan, trace)
    del plan  # it holds what is known of every weight, and the exported ones are about to come on top
    exported = export_graph(graph, model, changed)
    # Nodes and values refer to each other: without this their weights, and the model they were decoded from,
    # would stay until Python next looks for cycles. Looking takes longer than a small model's whole compile.
    del graph
    if sum(math.prod(tensor.dims) for tensor in model.graph.initializer) > _MANY_WEIGHTS:
        gc.collect()
    return Exported(exported, claims, making), outgrown(stored)


def standing_channels(making: Making, draft: Draft) -> Standing:
    """The channels that are left in the candidate that `export` returns of the same arguments."""
    held: frozenset[str] = frozenset()
    if _shares_weights(draft.model):
        held = _settled(making, draft)[1]
    laid_out = _laid_out(making, draft.holding(held), dict(draft.shapes), Trace())
    return standing(laid_out.plan, laid_out.handed)


def _shares_weights(model: onnx.ModelProto) -> bool:
    """Whether any initializer is read more than once."""
    reads = Counter(name for node in model.graph.node for name in node.input)
    return any(reads[tensor.name] > 1 for tensor in model.graph.initializer)


class _LaidOut(NamedTuple):
    """A graph with its selections in place, and the plan of the channels that go.

    changed: values of another shape. handed: by the first output of a layer, the indices that are selected for it.
    """

    graph: Graph
    plan: Plan
    changed: set[str]
    handed: Mapping[str, IntArray]


def _laid_out(making: Making, draft: Draft, shapes: dict[str, Shape], trace: Trace) -> _LaidOut:
    """Everything but the removal; `shapes` are those of the graph afterwards, and `trace` is filled."""
    recipe = making.recipe
    graph, analysis = prepared(draft, shapes, trace)
    trace.know(analysis)
    changed: set[str] = set()
    if recipe.selects == "planned":
        analysis = narrowed(graph, analysis, shapes, making.known_costs)
        if recipe.splits:
            analysis = _split(graph, analysis, shapes, making)
    chosen = _selections(making, analysis, shapes)
    handed = {analysis.steps[item.step].outputs[0]: item.positions for item in chosen}
    if chosen:
        before = set(shapes.items())
        SelectChannels(analysis, chosen, shapes, trace.narrowed)(graph)
        changed |= {name for name, shape in shapes.items() if (name, shape) not in before}
        cleanup(graph)
        analysis = analyse(graph, shapes, analysis.alone)
    rank = arrange(analysis) if recipe.reorders else None
    return _LaidOut(graph, settled_plan(analysis, recipe.align, rank), changed, handed)


def _split(graph: Graph, analysis: Analysis, shapes: dict[str, Shape], making: Making) -> Analysis:
    """The analysis of the graph after values are computed in pieces where that is faster."""
    splits = plan_splits(analysis, shapes, making.known_costs, making.without)
    if not SplitProducers(analysis, splits, shapes)(graph):
        return analysis
    cleanup(graph)
    return analyse(graph, shapes, analysis.alone)


def _selections(making: Making, analysis: Analysis, shapes: dict[str, Shape]) -> tuple[Demand, ...]:
    if making.recipe.selects == "none":
        return ()
    if making.recipe.selects == "all":
        return partial_demands(analysis)
    return selected(analysis, plan_selections(analysis, shapes, making.known_costs), making.without)
