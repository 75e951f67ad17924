"""The contest of exports: what is planned, made and raced, and who wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import onnx

from upscale_onnx import notes
from upscale_onnx.drafts import Draft
from upscale_onnx.errors import ArgumentError
from upscale_onnx.exports import Recipe, make, no_larger, recipes
from upscale_onnx.model import Shape
from upscale_onnx.model.form import has_same_form
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options
from upscale_onnx.plan.bound import latency_bound
from upscale_onnx.plan.costs import Costs
from upscale_onnx.plan.targets import Target
from upscale_onnx.pruning.sizes import size_goal, size_share
from upscale_onnx.results import Decision, Race, Segment
from upscale_onnx.target_costs import chosen_costs, chosen_target, is_at_hand

INPUT = "input"
# How long single selections of the planned export are tried without.
_REVERT_SECONDS = 3.0
# An export that takes more than this of the input's time must win once more, in a longer race against it alone.
_CLEARLY_FASTER = 0.97
_FINAL_ROUNDS = 61
_FINAL_SECONDS = 5.0
# The share of a contest's time that its first race takes.
_FIRST_RACE = 0.6

Told = Callable[[float], None]


@dataclass(frozen=True)
class Making:
    """How an export was made: `exports.make` makes it again, or the same of other weights."""

    recipe: Recipe
    costs: Costs | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Outcome:
    """The winner with its model, the race if there was one, what the planner decided, and the bound: the share of
    the input's latency below which no selections could bring it (None without a race). making: how the winner was
    made, None where that is the input. notes: what did not happen, and why."""

    name: str
    model: onnx.ModelProto
    race: Race | None = None
    decisions: tuple[Decision, ...] = ()
    bound_ratio: float | None = None
    making: Making | None = None
    notes: tuple[str, ...] = ()


def contest(
    model: onnx.ModelProto,
    shapes: dict[str, Shape],
    draft: Draft,
    segments: tuple[Segment, ...],
    options: Options,
    original: onnx.ModelProto | None = None,
    told: Told | None = None,
) -> Outcome:
    """The best export of `model` by what `options` ask for; `draft` is of this model. original: what `model` was before
    it was pruned, `model` itself where it was not. This is the input that exports are compared with.
    told: called with the share, 0 to 1, of the contest that is over.

    Raises:
        ArgumentError: there is no such target, or no export reaches the size that is asked for.
        ModelError: onnxruntime cannot run the model. ProviderError: no such device.
    """
    field = _Field(model, shapes, draft, model if original is None else original, options, chosen_target(options), told)
    if _races(field.target, options):
        return _raced(field, segments)
    known = _recipes(field.target, options)
    costs = chosen_costs(field.target, options) if "planned" in known else None
    made, known = _small_enough(
        {name: field.make(recipe, costs) for name, recipe in known.items()}, known, costs, field
    )
    if not made:
        return Outcome(INPUT, field.original, notes=(notes.NONE_SMALLER,))
    name = min(made, key=lambda name: _size(made[name])) if len(made) > 1 else next(iter(made))
    unmeasured = options.race and not is_at_hand(field.target, options) and (_wants_speed(options) or options.tune > 0)
    said = (notes.not_at_hand(field.target),) if unmeasured else ()
    if not no_larger({name: made[name]}, field.original):
        said = (*said, notes.LARGER)
    return Outcome(name, made[name], making=Making(known[name], costs), notes=said)


@dataclass(frozen=True, eq=False)
class _Field:
    """What the exports are made of, and what they are compared with."""

    model: onnx.ModelProto
    shapes: dict[str, Shape]
    draft: Draft
    original: onnx.ModelProto
    options: Options
    target: Target
    told: Told | None

    def make(self, recipe: Recipe, costs: Costs | None) -> onnx.ModelProto:
        """The export by `recipe`."""
        return make(recipe, self.model, self.shapes, costs, draft=self.draft)


def _raced(field: _Field, segments: tuple[Segment, ...]) -> Outcome:
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.providers import resolve_provider
    from upscale_onnx.tuning import Place, decided, in_pieces, profiled_costs, revert

    options, model, shapes, original = field.options, field.model, field.shapes, field.original
    known = _recipes(field.target, options)
    analysis = field.draft.analysis
    # In this export every layer has exactly what it reads: where it is like the input, nothing can be removed.
    tightest = field.make(known["gather"], None)
    if has_same_form(tightest, original):
        return Outcome(INPUT, original)
    place = Place(resolve_provider(options.provider), options.threads, options.batch)
    costs = profiled_costs(model, shapes, known["planned"].align, chosen_costs(field.target, options), place)
    made = {name: tightest if name == "gather" else field.make(recipe, costs) for name, recipe in known.items()}
    made, known = _small_enough(made, known, costs, field)
    if not made:
        return Outcome(INPUT, original, notes=(notes.NONE_SMALLER,))
    outcome = race(
        {INPUT: original, **made}, provider=place.provider, threads=place.threads, batch=place.batch,
        seed=options.seed, eliminate=True, told=_part(field.told, 0.0, _FIRST_RACE),
    )  # fmt: skip
    bound = latency_bound(analysis, costs, outcome.timings[0].median_ms).ratio
    goal = size_goal(options)
    name = outcome.winner if goal is None else _fastest(outcome, made)
    if name == INPUT:
        return Outcome(INPUT, original, outcome, (), bound, notes=(notes.NONE_FASTER,))
    if name != "planned":
        won = Outcome(name, made[name], outcome, (), bound, Making(known[name], costs))
        return won if goal else confirmed(won, original, options, _part(field.told, _FIRST_RACE, 1.0))
    best, recipe = in_pieces(model, shapes, known["planned"], costs, made["planned"], place)
    best, without = revert(model, shapes, recipe, costs, best, place, _REVERT_SECONDS)
    too_large = not no_larger({name: best}, original)
    if too_large or (goal is not None and size_share(best, original, goal) > goal.share):
        best, recipe, without = made["planned"], known["planned"], frozenset()
    choices = decided(model, shapes, costs, best, recipe, without, segments, place)
    won = Outcome("planned", best, outcome, choices, bound, Making(recipe, costs, without))
    return won if goal else confirmed(won, original, options, _part(field.told, _FIRST_RACE, 1.0))


def confirmed(won: Outcome, model: onnx.ModelProto, options: Options, told: Told | None = None) -> Outcome:
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
        told=told,
    )
    if final.winner == won.name:
        return won
    return Outcome(INPUT, model, final, (), won.bound_ratio, notes=(notes.NONE_FASTER,))


def _part(told: Told | None, start: float, end: float) -> Told | None:
    """What is told of a part of the work, which reaches from `start` to `end` of it."""
    return None if told is None else lambda share: told(start + share * (end - start))


def _small_enough(
    made: dict[str, onnx.ModelProto], known: dict[str, Recipe], costs: Costs | None, field: _Field
) -> tuple[dict[str, onnx.ModelProto], dict[str, Recipe]]:
    """The exports that are no larger than the input and have the size that is asked for, if one is, and how they were
    made. One that only its padding makes too large is made without."""
    goal = size_goal(field.options)
    if goal is None:
        # An export that is asked for by its name is made, whatever it takes.
        return (no_larger(made, field.original) if field.options.export == "auto" else made), known
    shares: dict[str, float] = {}
    for name, recipe in known.items():
        shares[name] = size_share(made[name], field.original, goal)
        if shares[name] > goal.share and recipe.align > 1 and field.options.align is None:
            known = {**known, name: replace(recipe, align=1)}
            made = {**made, name: field.make(known[name], costs)}
            shares[name] = size_share(made[name], field.original, goal)
    small = no_larger({name: one for name, one in made.items() if shares[name] <= goal.share}, field.original)
    if not small:
        raise ArgumentError(
            f"{goal.name} {goal.share:g} cannot be reached: the smallest export leaves {min(shares.values()):.3f}"
        )
    return small, known


def _fastest(race: Race, made: Mapping[str, onnx.ModelProto]) -> str:
    return min((t for t in race.timings if t.name in made), key=lambda timing: timing.ratio).name


def _races(target: Target, options: Options) -> bool:
    """Whether the choice is by measured speed: what onnxruntime measures must be the target."""
    return _wants_speed(options) and is_at_hand(target, options)


def _wants_speed(options: Options) -> bool:
    return options.prefer == "speed" and options.export == "auto"


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
    return stats.bytes, stats.nodes
