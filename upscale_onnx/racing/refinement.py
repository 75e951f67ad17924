"""Refines the planned export by measurements: costs from profiles, and changes that are tried in races."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import onnx

from upscale_onnx.costs.costs import Costs, PresetCosts
from upscale_onnx.costs.profiled import NodeTime, ProfiledCosts, contraction_times, selection_price
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export
from upscale_onnx.export.planned import Planned
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.racing.decisions import decisions
from upscale_onnx.results import Decision, Race, Segment
from upscale_onnx.runtime.bench import race
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.profile import profile_operators

_PROFILE_RUNS = 8
# A change must win by more than the noise of a short race.
_WORTHWHILE = 0.995


def profiled_costs(draft: Draft, align: int, base: Costs | None, place: Place) -> Costs:
    """Costs from profiles of the draft's model and of its export with all selections; other costs are from `base`."""
    before = _profile(draft.model, place)
    narrowed = export(Making(recipes(align)["upscale"]), draft).model
    after = _profile(narrowed, place)
    price = selection_price(narrowed, after, before)
    return ProfiledCosts(base or PresetCosts(align), contraction_times(draft.model, before), price)


def decided(planned: Planned, best: Exported, segments: Sequence[Segment], place: Place) -> tuple[Decision, ...]:
    """The planner's decisions with predicted and measured times; `best` is the planned export."""
    making = _making(best)
    profile = _profile(best.model, place)
    pieces = planned.splits(making.without) if making.recipe.splits else ()
    return decisions(planned.analysis, planned.plans, making.without, segments, best.model, profile, pieces)


def _profile(model: onnx.ModelProto, place: Place) -> list[NodeTime]:
    times = profile_operators(model, **vars(place), runs=_PROFILE_RUNS)
    return [NodeTime(entry.op_type, entry.node, entry.least_ms) for entry in times]


def in_pieces(draft: Draft, planned: Planned, best: Exported, place: Place) -> Exported:
    """The planned export with values computed in pieces if it wins a race against `best`, else `best` itself."""
    making = _making(best)
    if not planned.splits(making.without):
        return best
    trial = export(replace(making, recipe=replace(making.recipe, splits=True)), draft)
    return trial if _ratio(best, trial, place) < _WORTHWHILE else best


def revert(draft: Draft, planned: Planned, best: Exported, place: Place, budget_s: float) -> Exported:
    """The planned export without the selections that cost more than they save.

    Values are tried in the order of predicted savings, the least first. Each trial races against the best export so
    far, until `budget_s` seconds are over.
    """
    deadline = time.perf_counter() + budget_s
    plans = [plan for plan in planned.plans if plan.saved_ms > 0]
    for plan in sorted(plans, key=lambda plan: plan.saved_ms):
        if time.perf_counter() > deadline:
            break
        making = _making(best)
        trial = export(replace(making, without=making.without | {plan.value}), draft)
        if _ratio(best, trial, place) < _WORTHWHILE:
            best = trial
    return best


def _making(planned: Exported) -> Making:
    assert planned.making is not None
    return planned.making


def _ratio(best: Exported, trial: Exported, place: Place) -> float:
    outcome: Race = race({"best": best.model, "trial": trial.model}, **vars(place), rounds=9, budget_s=1.5)
    return next(timing.ratio for timing in outcome.timings if timing.name == "trial")
