"""The contest of exports: what is planned, made and raced, and who wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from upscale_onnx.drafts import Draft
from upscale_onnx.exports import Recipe, make, recipes
from upscale_onnx.model import Shape
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options
from upscale_onnx.plan.bound import latency_bound
from upscale_onnx.plan.targets import Target
from upscale_onnx.pruning.sizes import is_small_enough, size_goal
from upscale_onnx.results import Decision, Race, Segment
from upscale_onnx.target_costs import chosen_costs, chosen_target

INPUT = "input"
# How long single selections of the planned export are tried without.
_REVERT_SECONDS = 3.0
# An export that takes more than this of the input's time must win once more, in a longer race against it alone.
_CLEARLY_FASTER = 0.97
_FINAL_ROUNDS = 61
_FINAL_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """The winner with its model, the race if there was one, what the planner decided, and the bound: the share of
    the input's latency below which no selections could bring it (None without a race)."""

    name: str
    model: onnx.ModelProto
    race: Race | None = None
    decisions: tuple[Decision, ...] = ()
    bound_ratio: float | None = None


def contest(
    model: onnx.ModelProto, shapes: dict[str, Shape], draft: Draft, segments: tuple[Segment, ...], options: Options
) -> Outcome:
    """The best export of `model` by what `options` ask for; `draft` is of this model.

    Raises:
        ArgumentError: there is no such target. ModelError: onnxruntime cannot run the model.
        ProviderError: no such device.
    """
    target = chosen_target(options)
    known = _recipes(target, options)
    if not _races(target, options):
        costs = chosen_costs(target, options) if "planned" in known else None
        made = {name: make(recipe, model, shapes, costs, draft=draft) for name, recipe in known.items()}
        name = min(made, key=lambda name: _size(made[name])) if len(made) > 1 else next(iter(made))
        return Outcome(name, made[name])
    return _raced(model, shapes, draft, segments, target, known, options)


def _raced(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    draft: Draft,
    segments: tuple[Segment, ...],
    target: Target,
    known: Mapping[str, Recipe],
    options: Options,
) -> Outcome:
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.providers import resolve_provider
    from upscale_onnx.tuning import Place, decided, in_pieces, profiled_costs, revert

    place = Place(resolve_provider(options.provider), options.threads, options.batch)
    base = chosen_costs(target, options)
    costs = profiled_costs(model, shapes, known["planned"].align, base, place)
    analysis = draft.analysis
    made = {name: make(recipe, model, shapes, costs, draft=draft) for name, recipe in known.items()}
    small = {name: one for name, one in made.items() if is_small_enough(one, model, options)}
    made = small or made
    outcome = race(
        {INPUT: model, **made}, provider=place.provider, threads=place.threads, batch=place.batch, seed=options.seed,
        eliminate=True,
    )  # fmt: skip
    bound = latency_bound(analysis, costs, outcome.timings[0].median_ms).ratio
    if outcome.winner == INPUT:
        return Outcome(INPUT, model, outcome, (), bound)
    if outcome.winner != "planned":
        won = Outcome(outcome.winner, made[outcome.winner], outcome, (), bound)
        return confirmed(won, model, options)
    best, recipe = in_pieces(model, shapes, known["planned"], costs, made["planned"], place)
    best, without = revert(model, shapes, recipe, costs, best, place, _REVERT_SECONDS)
    if small and not is_small_enough(best, model, options):
        best, recipe, without = made["planned"], known["planned"], frozenset()
    choices = decided(model, shapes, costs, best, recipe, without, segments, place)
    return confirmed(Outcome("planned", best, outcome, choices, bound), model, options)


def confirmed(won: Outcome, model: onnx.ModelProto, options: Options) -> Outcome:
    """`won`, or the input where its lead was small and a longer race against the input alone does not show it again."""
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.providers import resolve_provider

    assert won.race is not None
    lead = next(timing for timing in won.race.timings if timing.name == won.name)
    if lead.ratio <= _CLEARLY_FASTER:
        return won
    final = race(
        {INPUT: model, won.name: won.model},
        provider=resolve_provider(options.provider),
        threads=options.threads,
        batch=options.batch,
        rounds=_FINAL_ROUNDS,
        budget_s=_FINAL_SECONDS,
        seed=options.seed,
    )
    return won if final.winner == won.name else Outcome(INPUT, model, final, (), won.bound_ratio)


def _races(target: Target, options: Options) -> bool:
    """Whether the choice is by measured speed: what onnxruntime measures must be the target."""
    wanted = options.race and options.prefer == "speed" and options.export == "auto"
    return wanted and target.provider is not None


def _recipes(target: Target, options: Options) -> dict[str, Recipe]:
    """The exports to choose from, by name."""
    known = recipes(target.block())
    names: list[str]
    if options.export != "auto":
        names = [options.export]
    elif options.prefer == "size" or (size_goal(options) is not None and not _races(target, options)):
        names = ["upscale", "gather", "keep"]
        known["keep"] = replace(known["keep"], align=1)
    elif _races(target, options):
        names = list(known)
    else:
        names = ["keep"] if options.target is None else ["planned"]
    if options.align is not None:
        known = {name: replace(recipe, align=options.align) for name, recipe in known.items()}
    return {name: known[name] for name in names}


def _size(model: onnx.ModelProto) -> tuple[int, int]:
    stats = model_stats(model)
    return stats.parameters, stats.nodes
