"""Making an export: a smaller model of one whose dead channels are known."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx

from upscale_onnx.costs.costs import Costs
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.pipeline import pipeline_of, plan_of
from upscale_onnx.export.recipes import Making, Recipe
from upscale_onnx.model import Shape, export_graph
from upscale_onnx.model.bodies import all_nodes, flat_graphs
from upscale_onnx.model.protos import iter_nodes
from upscale_onnx.model.shapes import initializer_shapes
from upscale_onnx.model.stream import file_bytes
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.plan.claims import plan_claims
from upscale_onnx.plan.growth import outgrown
from upscale_onnx.plan.plan import Plan
from upscale_onnx.plan.standing import Standing, standing
from upscale_onnx.results import Claim
from upscale_onnx.worker import release_memory

_MOST_HOLDS = 3
# From this size on, a second copy of the weights must not stay in memory until the next garbage collection.
_MANY_WEIGHTS = 1 << 22


@dataclass(frozen=True, eq=False)
class Exported:
    """A candidate.

    claims: what it holds of the values that it shares with the model from which it was made. making: how it was made;
    None where it is that model itself. shapes: those of all its values; None where they have to be inferred.
    """

    model: onnx.ModelProto
    claims: Mapping[str, Claim]
    making: Making | None
    shapes: Mapping[str, Shape] | None = None

    @cached_property
    def file_bytes(self) -> int:
        """The bytes that the model takes as a file."""
        return file_bytes(self.model)


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
    """The candidate that `making` describes, made of the draft's model. That model is not changed.

    A weight that several nodes read stays whole where the parts cut for these nodes would take more bytes.
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
        other, grown = _made(making, draft, held)
        if other.file_bytes < best.file_bytes:
            best, best_held = other, held
    return best, best_held


def _widened(plan: Plan) -> frozenset[str]:
    """The first outputs of contractions whose groups the plan puts together."""
    groupings, steps = plan.emitted.groupings, plan.analysis.steps
    return frozenset(steps[number].outputs[0] for number, found in groupings.items() if found.widened)


def _made(making: Making, draft: Draft, held: frozenset[str] = frozenset()) -> tuple[Exported, frozenset[str]]:
    """The candidate in which the weights `held` stay whole, and the further weights that should stay whole."""
    model, rewrite = draft.model, draft.take()
    pipeline_of(making, held).run(rewrite)
    done = rewrite.done
    assert done.plan is not None
    claims = plan_claims(done.plan, done.constants, done.narrowed, done.replaced)
    graph, changed, shapes = rewrite.graph, {**done.shapes, **done.resized}, {**done.resized, **rewrite.shapes}
    grown = outgrown(done.stored, _widened(done.plan) if making.widens else frozenset())
    del rewrite, done  # they hold the analysis of every weight; the exported weights are about to take memory too
    exported = export_graph(graph, model, changed)
    # Nodes and values refer to each other. Without a garbage collection their weights, and the model from which they
    # were decoded, would stay in memory for long. A collection takes longer than the whole compile of a small model.
    del graph
    if sum(math.prod(tensor.dims) for tensor in model.graph.initializer) > _MANY_WEIGHTS:
        gc.collect()
        release_memory()
    return Exported(exported, claims, making, _all_shapes(exported, shapes)), grown


def _all_shapes(model: onnx.ModelProto, known: Mapping[str, Shape]) -> Mapping[str, Shape] | None:
    """The shapes of all values of `model`, from those that are `known`; None where one is not among them."""
    if not all(name in known for node in iter_nodes(model.graph) for name in node.output if name):
        return None
    return {**known, **initializer_shapes(model.graph)}


def standing_channels(making: Making, draft: Draft) -> Standing:
    """The channels that are left in the candidate that `export` returns for the same arguments."""
    held: frozenset[str] = frozenset()
    if _shares_weights(draft.model):
        held = _settled(making, draft)[1]
    rewrite = draft.take()
    pipeline_of(making, held).before(RemoveChannels).run(rewrite)
    return standing(plan_of(making, rewrite), rewrite.done.handed)


def _shares_weights(model: onnx.ModelProto) -> bool:
    """Whether any initializer is read more than once."""
    reads = Counter(name for node in all_nodes(model) for name in node.input)
    return any(reads[tensor.name] > 1 for graph in flat_graphs(model) for tensor in graph.initializer)
