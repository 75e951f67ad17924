"""The contest of exports: it makes and races them, and chooses the winner."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import onnx

from upscale_onnx.costs.targets import Target
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.contenders import contenders, is_raced, wants_speed
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export
from upscale_onnx.export.planned import planned_values
from upscale_onnx.export.recipes import Making
from upscale_onnx.export.sizes import size_goal, size_share, smallest
from upscale_onnx.model.form import has_same_form
from upscale_onnx.model.stream import file_bytes
from upscale_onnx.options import Options, TargetOptions
from upscale_onnx.plan.bound import latency_bound
from upscale_onnx.plan.restorations import restorations
from upscale_onnx.racing import notes
from upscale_onnx.results import Decision, Race, Segment
from upscale_onnx.timing.target_costs import chosen_costs, chosen_target, is_at_hand

INPUT = "input"
# How long it is tried to take back single selections of the planned export.
_REVERT_SECONDS = 3.0
# An export that takes more than this share of the input's time must win again, in a longer race against the input.
_CLEARLY_FASTER = 0.97
_FINAL_ROUNDS = 61
_FINAL_SECONDS = 5.0
# The share of a contest's time that its first race takes.
_FIRST_RACE = 0.6

Told = Callable[[float], None]


@dataclass(frozen=True)
class Outcome:
    """The result of a contest.

    name: the name of the winner; made: the winner.
    race: the race; None if nothing was timed.
    decisions: what the planner decided.
    bound_ratio: the share of the input's latency below which no selections could bring it; None without a race.
    notes: what did not happen, and why.
    """

    name: str
    made: Exported
    race: Race | None = None
    decisions: tuple[Decision, ...] = ()
    bound_ratio: float | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def unchanged(cls, model: onnx.ModelProto, *said: str) -> Outcome:
        """The outcome in which the input wins; `said` are notes that say why."""
        return cls(INPUT, Exported(model, {}, None), notes=said)

    @property
    def model(self) -> onnx.ModelProto:
        """The model of the winner."""
        return self.made.model

    @property
    def making(self) -> Making | None:
        """How the winner was made; None if the input won."""
        return self.made.making


def contest(
    draft: Draft,
    segments: tuple[Segment, ...],
    options: Options,
    original: onnx.ModelProto | None = None,
    told: Told | None = None,
) -> Outcome:
    """The best export of the draft's model, as `options` ask for it.

    original: the model before it was pruned; None if it was not pruned. Exports are compared with it, as the input.
    told: is called with the share, 0 to 1, of the contest that is over.

    Raises:
        ArgumentError: there is no such target, or no export reaches the size that is asked for.
        ModelError: onnxruntime cannot run the model.
        ProviderError: the provider is not available.
    """
    target = chosen_target(options.target, draft.model)
    field = _Field(draft, draft.model if original is None else original, options, target, told)
    if is_raced(options, field.target):
        return _raced(field, segments)
    known = contenders(options, field.target)
    chooses = any(recipe.align > 1 for recipe in known.values())
    costs = chosen_costs(field.target, options.target) if chooses else None
    made = _small_enough({name: field.make(Making(recipe, costs)) for name, recipe in known.items()}, field)
    if not made:
        return Outcome.unchanged(field.original, notes.NONE_SMALLER)
    name = smallest({name: one.model for name, one in made.items()})
    unmeasured = (
        options.target.race
        and not is_at_hand(field.target, options.target)
        and (wants_speed(options.export) or options.target.tune > 0)
    )
    said = (notes.not_at_hand(field.target),) if unmeasured else ()
    if made[name].file_bytes > field.most_bytes:
        said = (*said, notes.LARGER)
    return Outcome(name, made[name], notes=said)


@dataclass(frozen=True, eq=False)
class _Field:
    """What exports are made from, and the original that they are compared with."""

    draft: Draft
    original: onnx.ModelProto
    options: Options
    target: Target
    told: Told | None

    def make(self, making: Making) -> Exported:
        """The export that `making` describes."""
        made = export(making, self.draft)
        if making.recipe.align == 1 or made.file_bytes <= self.most_bytes:
            return made
        return export(replace(making, widens=False), self.draft)

    @cached_property
    def most_bytes(self) -> int:
        """The bytes of the original as a file. Larger exports are never written."""
        return file_bytes(self.original)

    def no_larger(self, made: Mapping[str, Exported]) -> dict[str, Exported]:
        """The exports that take no more bytes than the original."""
        return {name: one for name, one in made.items() if one.file_bytes <= self.most_bytes}


def _raced(field: _Field, segments: tuple[Segment, ...]) -> Outcome:
    from upscale_onnx.racing.refinement import decided, in_pieces, profiled_costs, revert
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.place import Place
    from upscale_onnx.runtime.providers import resolve_provider

    options, draft, original = field.options, field.draft, field.original
    known = contenders(options, field.target)
    analysis = draft.analysis
    # In this export, layers get exactly the channels that they read. If it equals the input, nothing can be removed,
    # unless channels are put back.
    tight = {"gather": field.make(Making(known["gather"]))}
    whole = has_same_form(tight["gather"].model, original)
    uses = [use for of_value in restorations(analysis, draft.shapes).values() for use in of_value]
    if any(use.whole or whole for use in uses):
        known = {**known, "restore": replace(known["gather"], name="restore", restores=True)}
        tight["restore"] = field.make(Making(known["restore"]))
    if all(has_same_form(one.model, original) for one in tight.values()):
        return Outcome.unchanged(original)
    place = Place(resolve_provider(options.target.provider), options.target.threads, options.target.batch)
    costs = profiled_costs(draft, known["planned"].align, chosen_costs(field.target, options.target), place)
    made = _small_enough(
        {name: tight.get(name) or field.make(Making(recipe, costs)) for name, recipe in known.items()},
        field,
    )
    if not made:
        return Outcome.unchanged(original, notes.NONE_SMALLER)
    outcome = race(
        {INPUT: original, **{name: one.model for name, one in made.items()}}, **vars(place),
        seed=options.target.seed, eliminate=True, told=_part(field.told, 0.0, _FIRST_RACE),
    )  # fmt: skip
    bound = latency_bound(analysis, costs, outcome.timings[0].median_ms).ratio
    goal = size_goal(options.prune)
    name = outcome.winner if goal is None else _fastest(outcome, made)
    if name == INPUT:
        return replace(Outcome.unchanged(original, notes.NONE_FASTER), race=outcome, bound_ratio=bound)
    best = made[name]
    choices: tuple[Decision, ...] = ()
    if name == "planned":
        planned = planned_values(draft, Making(known[name], costs))
        best = revert(draft, planned, in_pieces(draft, planned, best, place), place, _REVERT_SECONDS)
        too_large = best.file_bytes > field.most_bytes
        if too_large or (goal is not None and size_share(best.model, original, goal) > goal.share):
            best = made[name]
        choices = decided(planned, best, segments, place)
    won = Outcome(name, best, outcome, choices, bound)
    return won if goal else confirmed(won, original, options.target, _part(field.told, _FIRST_RACE, 1.0))


def confirmed(won: Outcome, model: onnx.ModelProto, options: TargetOptions, told: Told | None = None) -> Outcome:
    """`won`, or the input if the lead of `won` was small and it does not win a longer race against the input alone."""
    from upscale_onnx.runtime.bench import race
    from upscale_onnx.runtime.place import Place
    from upscale_onnx.runtime.providers import resolve_provider

    assert won.race is not None
    lead = next(timing for timing in won.race.timings if timing.name == won.name)
    if lead.ratio <= _CLEARLY_FASTER:
        return won
    place = Place(resolve_provider(options.provider), options.threads, options.batch)
    raced = {INPUT: model, won.name: won.model}
    final = race(raced, **vars(place), rounds=_FINAL_ROUNDS, budget_s=_FINAL_SECONDS, seed=options.seed, told=told)
    if final.winner == won.name:
        return won
    return replace(Outcome.unchanged(model, notes.NONE_FASTER), race=final, bound_ratio=won.bound_ratio)


def _part(told: Told | None, start: float, end: float) -> Told | None:
    """A function for the progress of a part of the work, from the share `start` to the share `end` of all work."""
    return None if told is None else lambda share: told(start + share * (end - start))


def _small_enough(made: dict[str, Exported], field: _Field) -> dict[str, Exported]:
    """The exports that are no larger than the input and reach the size that is asked for, if one is.

    If padding to blocks makes an export too large, it is made without padding.
    """
    goal = size_goal(field.options.prune)
    if goal is None:
        # An export that is asked for by name is made, however large it is.
        return field.no_larger(made) if field.options.export.recipe == "auto" else made
    shares: dict[str, float] = {}
    for name, one in tuple(made.items()):
        shares[name] = size_share(one.model, field.original, goal)
        if (
            shares[name] > goal.share
            and one.making
            and one.making.recipe.align > 1
            and field.options.export.align is None
        ):
            made[name] = field.make(replace(one.making, recipe=replace(one.making.recipe, align=1)))
            shares[name] = size_share(made[name].model, field.original, goal)
    small = field.no_larger({name: one for name, one in made.items() if shares[name] <= goal.share})
    if not small:
        raise ArgumentError(
            f"{goal.name} {goal.share:g} cannot be reached: the smallest export leaves {min(shares.values()):.3f}"
        )
    return small


def _fastest(race: Race, made: Mapping[str, Exported]) -> str:
    return min((t for t in race.timings if t.name in made), key=lambda timing: timing.ratio).name
