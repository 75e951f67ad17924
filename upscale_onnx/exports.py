"""The exports: ways to make a smaller model of one whose dead channels are known."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import onnx
import onnx_graphsurgeon as gs

from upscale_onnx.channels.analysis import Analysis, analyse
from upscale_onnx.channels.channel_map import IntArray
from upscale_onnx.claims import Claim
from upscale_onnx.drafts import Draft
from upscale_onnx.model import Shape, cleanup, export_graph
from upscale_onnx.model.stream import file_bytes
from upscale_onnx.passes.absorb_pixel_shuffles import AbsorbPixelShuffles
from upscale_onnx.passes.absorb_shuffles import AbsorbShuffles
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.passes.split_producers import SplitProducers
from upscale_onnx.passes.store_weights import StoreWeights
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.plan.claims import Trace, plan_claims
from upscale_onnx.plan.costs import Costs, PresetCosts
from upscale_onnx.plan.growth import StoredWeight, outgrown
from upscale_onnx.plan.narrowing import narrowings
from upscale_onnx.plan.plan import Plan, settled_plan
from upscale_onnx.plan.planner import ValuePlan, plan_selections, selected
from upscale_onnx.plan.selection import Demand, partial_demands
from upscale_onnx.plan.splitting import Split, plan_splits
from upscale_onnx.plan.standing import Standing, standing

_MOST_FOLDS = 8
_MOST_HOLDS = 3
# Weights of which no second copy should wait for a garbage collection.
_MANY_WEIGHTS = 1 << 22


@dataclass(frozen=True)
class Recipe:
    """How one candidate is made.

    selects: whether consumers are handed exactly what they demand ("all"), what the planner finds
    cheapest ("planned"), or never a selection ("none"). reorders: whether channels are ordered for
    contiguous selections. align: block that emitted channel counts fill. splits: whether values are computed in
    pieces where the planner finds that faster than a selection.
    """

    name: str
    selects: str = "none"
    reorders: bool = False
    align: int = 1
    splits: bool = False


@dataclass(frozen=True)
class Making:
    """How an export is made: by a recipe, with what the planner goes by (None: a preset), and without selections of
    the values `without`."""

    recipe: Recipe
    costs: Costs | None = None
    without: frozenset[str] = frozenset()

    @property
    def known_costs(self) -> Costs:
        """What the planner goes by."""
        return self.costs or PresetCosts(self.recipe.align)


def recipes(block: int) -> dict[str, Recipe]:
    """The exports by name; `block` is the channel block of the machine."""
    return {
        "keep": Recipe("keep", align=block),
        "planned": Recipe("planned", "planned", reorders=True, align=block),
        "upscale": Recipe("upscale", "all", reorders=True),
        "gather": Recipe("gather", "all"),
    }


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

    graph: gs.Graph
    plan: Plan
    changed: set[str]
    handed: Mapping[str, IntArray]


def _laid_out(making: Making, draft: Draft, shapes: dict[str, Shape], trace: Trace) -> _LaidOut:
    """Everything but the removal; `shapes` are those of the graph afterwards, and `trace` is filled."""
    recipe = making.recipe
    graph, analysis = _prepare(draft, shapes, trace)
    trace.know(analysis)
    changed: set[str] = set()
    if recipe.selects == "planned":
        analysis = _narrowed(graph, analysis, shapes, making.known_costs)
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


def _prepare(draft: Draft, shapes: dict[str, Shape], trace: Trace) -> tuple[gs.Graph, Analysis]:
    """The graph, edited so that it is easier to see through, and its analysis."""
    graph, analysis = draft.take()
    for _ in range(_MOST_FOLDS):
        absorb = (AbsorbShuffles(analysis), AbsorbPixelShuffles(analysis))
        folds = FoldConstants(analysis, trace.replaced)
        if sum(edit(graph) for edit in (*absorb, folds, MergeSelections(shapes))) == 0:
            break
        cleanup(graph)
        analysis = analyse(graph, shapes, analysis.alone)
    return graph, analysis


def _narrowed(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape], costs: Costs) -> Analysis:
    """The analysis of the graph after its producers are narrowed."""
    edits = NarrowProducers(analysis, narrowings(analysis, costs), shapes)(graph)
    return analyse(graph, shapes, analysis.alone) if edits else analysis


def _split(graph: gs.Graph, analysis: Analysis, shapes: dict[str, Shape], making: Making) -> Analysis:
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


class Planned(NamedTuple):
    """What the planner decides for every value of a model, with the analysis it goes by."""

    analysis: Analysis
    plans: tuple[ValuePlan, ...]
    splits: tuple[Split, ...]


def planned_values(draft: Draft, making: Making) -> Planned:
    """The plans of all values of the draft's model, and what would be computed in pieces but for values that
    `making` goes without."""
    shapes = dict(draft.shapes)
    graph, analysis = _prepare(draft, shapes, Trace())
    analysis = _narrowed(graph, analysis, shapes, making.known_costs)
    splits = plan_splits(analysis, shapes, making.known_costs, making.without)
    return Planned(analysis, plan_selections(analysis, shapes, making.known_costs), splits)


def prepared_analysis(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> Analysis:
    """The analysis of `model` after the edits that every export begins with; they leave weights as they are."""
    return _prepare(Draft(model, shapes), dict(shapes), Trace())[1]
