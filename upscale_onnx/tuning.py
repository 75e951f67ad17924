"""Where planning meets the machine: profile the input, plan by what it shows, race, try to revert."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import onnx

from upscale_onnx.decisions import decisions
from upscale_onnx.exports import Recipe, make, planned_values, recipes
from upscale_onnx.model import Shape
from upscale_onnx.plan.costs import Costs, PresetCosts
from upscale_onnx.plan.profiled import NodeTime, ProfiledCosts, contraction_times, selection_price
from upscale_onnx.results import Decision, Race, Segment
from upscale_onnx.runtime.bench import race
from upscale_onnx.runtime.profile import profile_operators
from upscale_onnx.runtime.providers import Device

_PROFILE_RUNS = 8
# A change must win by more than the noise of a short race.
_WORTHWHILE = 0.995


@dataclass(frozen=True)
class Place:
    """Where models are timed: the device, intra-op threads, and what a dynamic first axis is set to."""

    provider: Device
    threads: int = 1
    batch: int | None = None


def profiled_costs(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    align: int,
    base: Costs | None,
    place: Place,
) -> Costs:
    """Costs that go by profiles of the input and of its export with a selection everywhere."""
    before = _profile(model, place)
    narrowed = make(recipes(align)["upscale"], model, shapes)
    after = _profile(narrowed, place)
    price = selection_price(narrowed, after, before)
    return ProfiledCosts(base or PresetCosts(align), contraction_times(model, before), price)


def decided(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    costs: Costs,
    compiled: onnx.ModelProto,
    recipe: Recipe,
    without: frozenset[str],
    segments: Sequence[Segment],
    place: Place,
) -> tuple[Decision, ...]:
    """The planner's decisions with predicted and measured times; `compiled` was made by `recipe`."""
    analysis, plans, splits = planned_values(model, shapes, costs, without)
    profile = _profile(compiled, place)
    return decisions(analysis, plans, without, segments, compiled, profile, splits if recipe.splits else ())


def _profile(model: onnx.ModelProto, place: Place) -> list[NodeTime]:
    times = profile_operators(
        model, provider=place.provider, threads=place.threads, runs=_PROFILE_RUNS, batch=place.batch
    )
    return [NodeTime(entry.op_type, entry.node, entry.least_ms) for entry in times]


def in_pieces(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    recipe: Recipe,
    costs: Costs,
    best: onnx.ModelProto,
    place: Place,
) -> tuple[onnx.ModelProto, Recipe]:
    """The planned model with values computed in pieces where a race shows that this pays, and how it was made.

    `best` and `recipe` themselves where it does not, or where there is nothing to compute in pieces.
    """
    if not planned_values(model, shapes, costs).splits:
        return best, recipe
    splitting = replace(recipe, splits=True)
    trial = make(splitting, model, shapes, costs)
    return (trial, splitting) if _ratio(best, trial, place) < _WORTHWHILE else (best, recipe)


def revert(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    recipe: Recipe,
    costs: Costs,
    best: onnx.ModelProto,
    place: Place,
    budget_s: float,
) -> tuple[onnx.ModelProto, frozenset[str]]:
    """The planned model with the selections taken back that cost more than they save, and their values.

    Values are tried from the least predicted saving on, each against the best so far, until the budget
    is spent.
    """
    deadline = time.perf_counter() + budget_s
    without: frozenset[str] = frozenset()
    plans = [plan for plan in planned_values(model, shapes, costs)[1] if plan.saved_ms > 0]
    for plan in sorted(plans, key=lambda plan: plan.saved_ms):
        if time.perf_counter() > deadline:
            break
        trial = make(recipe, model, shapes, costs, without | {plan.value})
        if _ratio(best, trial, place) < _WORTHWHILE:
            best, without = trial, without | {plan.value}
    return best, without


def _ratio(best: onnx.ModelProto, trial: onnx.ModelProto, place: Place) -> float:
    outcome: Race = race(
        {"best": best, "trial": trial}, provider=place.provider, threads=place.threads, batch=place.batch, rounds=9,
        budget_s=1.5,
    )  # fmt: skip
    return next(timing.ratio for timing in outcome.timings if timing.name == "trial")
