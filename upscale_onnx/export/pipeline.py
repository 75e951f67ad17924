"""The passes that make an export, in order: what `pipeline_of` prints is what runs."""

from __future__ import annotations

from upscale_onnx.export.recipes import Making, Recipe
from upscale_onnx.passes.absorb_pads import AbsorbPads
from upscale_onnx.passes.absorb_pixel_shuffles import AbsorbPixelShuffles
from upscale_onnx.passes.absorb_shuffles import AbsorbShuffles
from upscale_onnx.passes.close_openings import CloseOpenings
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.hold_weights import HoldWeights
from upscale_onnx.passes.merge_constants import MergeConstants
from upscale_onnx.passes.merge_selections import MergeSelections
from upscale_onnx.passes.narrow_producers import NarrowProducers
from upscale_onnx.passes.open_sequences import OpenSequences
from upscale_onnx.passes.open_stacks import OpenStacks
from upscale_onnx.passes.pipeline import Pipeline, with_added
from upscale_onnx.passes.plain_equations import PlainEquations
from upscale_onnx.passes.plain_products import PlainProducts
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.remove_unread import RemoveUnread
from upscale_onnx.passes.restore_inputs import RestoreInputs
from upscale_onnx.passes.restore_outputs import RestoreOutputs
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.scalar_inputs import ScalarInputs
from upscale_onnx.passes.select_channels import SelectChannels
from upscale_onnx.passes.split_producers import SplitProducers
from upscale_onnx.passes.store_weights import StoreWeights
from upscale_onnx.plan.arrange import arrange
from upscale_onnx.plan.grouping import Grouper
from upscale_onnx.plan.narrowing import narrowings
from upscale_onnx.plan.plan import Plan, settled_plan
from upscale_onnx.plan.planner import plan_selections, selected
from upscale_onnx.plan.selection import Demand, partial_demands
from upscale_onnx.plan.splitting import plan_splits

# Edits after which rules look through more nodes. Each may make another one possible, so they repeat.
_PREPARATION = Pipeline(
    (
        OpenSequences(), PlainEquations(), PlainProducts(), AbsorbShuffles(), AbsorbPixelShuffles(), AbsorbPads(),
        FoldConstants(), MergeSelections(), OpenStacks(), RemoveUnread(),
    ),
    repeats=True,
)  # fmt: skip


def pipeline_of(making: Making, held: frozenset[str] = frozenset()) -> Pipeline:
    """All passes of the export that `making` describes, in which the weights `held` stay whole."""
    holding = (HoldWeights(held),) if held else ()
    prepared = (*holding, _PREPARATION, MergeConstants(), *_restoring(making.recipe))
    return with_added(Pipeline((*prepared, *_selecting(making), *_removing(making))))


def preparation() -> Pipeline:
    """The passes with which every export begins. They change no weights."""
    return with_added(Pipeline((_PREPARATION,)))


def _restoring(recipe: Recipe) -> tuple[Pass, ...]:
    """The passes that put constant channels back where they are needed."""
    return (RestoreInputs(), RestoreOutputs(small=True)) if recipe.restores else (RestoreOutputs(),)


def _selecting(making: Making) -> tuple[Pass, ...]:
    """The passes that decide what consumers are handed."""
    recipe, costs = making.recipe, making.known_costs
    passes: list[Pass] = []
    if recipe.selects == "planned":
        passes.append(NarrowProducers(lambda now: narrowings(now.analysis, costs)))
    if recipe.selects == "planned" and recipe.splits:
        splits = SplitProducers(lambda now: plan_splits(now.analysis, now.shapes, costs, making.without))
        passes += [splits, RemoveUnread()]
    if recipe.selects != "none":
        passes += [SelectChannels(lambda now: _selections(making, now)), RemoveUnread()]
    return tuple(passes)


def _selections(making: Making, now: Rewrite) -> tuple[Demand, ...]:
    if making.recipe.selects == "all":
        return partial_demands(now.analysis)
    return selected(now.analysis, plan_selections(now.analysis, now.shapes, making.known_costs), making.without)


def _removing(making: Making) -> tuple[Pass, ...]:
    """The passes that remove all channels and nodes that are not demanded."""
    removal = RemoveChannels(lambda now: plan_of(making, now))
    return removal, CloseOpenings(), MergeSelections(), ScalarInputs(), RemoveUnread(), StoreWeights()


def plan_of(making: Making, now: Rewrite) -> Plan:
    """The plan of the channels that go, once all selections are in place."""
    rank = arrange(now.analysis) if making.recipe.reorders else None
    grouper = Grouper(now.analysis, making.recipe.align, making.known_costs, making.widens)
    return settled_plan(now.analysis, making.recipe.align, rank, grouper, now.store)
