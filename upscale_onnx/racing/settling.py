"""Settles what is written in the end. Channels whose pruning makes nothing smaller or faster are not pruned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from upscale_onnx.errors import ArgumentError, UnchangedError
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import Exported, export, standing_channels
from upscale_onnx.export.recipes import Making
from upscale_onnx.masks.float_view import viewed
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.masks.pools import Masks
from upscale_onnx.model import Shape, infer_shapes
from upscale_onnx.model.form import has_same_form
from upscale_onnx.model.stats import model_stats
from upscale_onnx.options import Options, PruneOptions
from upscale_onnx.pruning.alignment import filled_masks
from upscale_onnx.pruning.pruned import Pruned, count_pruned, kept_masks, with_standing
from upscale_onnx.racing import notes
from upscale_onnx.racing.contest import INPUT, Outcome, Told, contest
from upscale_onnx.results import Refusal, Segment
from upscale_onnx.segments import find_segments, priced_refusals

# Weights that are restored may keep other channels in place.
_MOST_ROUNDS = 3
# Races are not more exact than this. An export that seems slower than asked for, by this factor, may be fast enough.
_NEARLY = 1.05


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to compile, with its analysis, segments and refusals."""

    draft: Draft
    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]

    @classmethod
    def of(cls, model: onnx.ModelProto) -> Subject:
        """The subject for `model`, which is analysed."""
        draft = Draft(model, infer_shapes(model))
        refusals = priced_refusals(draft.analysis)
        return cls(draft, find_segments(draft.analysis, refusals), refusals)


@dataclass(frozen=True, eq=False)
class Settled:
    """The outcome in the end. model: the model that it computes the same as: the input with `count` channels pruned."""

    subject: Subject
    outcome: Outcome
    model: onnx.ModelProto
    count: int
    notes: tuple[str, ...]


def settled(
    subject: Subject, pruned: Pruned, original: onnx.ModelProto, options: Options, told: Told | None = None
) -> Settled:
    """The best export of `pruned`, the model of `subject`, or of `original` if pruning gains nothing.

    Channels that the export leaves in place anyway get their weights back.

    Raises:
        ArgumentError: no export reaches the size or the latency that is asked for, or there is no such target.
        UnchangedError: nothing changed, and the options ask for an error in this case.
        ModelError: onnxruntime cannot run the model.
        ProviderError: the provider is not available.
    """
    found = _settled(subject, pruned, original, options, told)
    if options.export.fail_if_unchanged and has_same_form(found.outcome.model, original):
        raise UnchangedError(f"the model would stay as it is, nothing is written: {found.notes[0]}")
    return found


def _settled(
    subject: Subject, pruned: Pruned, original: onnx.ModelProto, options: Options, told: Told | None
) -> Settled:
    if not pruned.count:
        return _unpruned(subject, original, options, _nothing_chosen(subject, original, options.prune), told)
    if not options.prune.is_exact and not count_pruned(kept_masks(pruned, options.prune.side)):
        return _unpruned(Subject.of(original), original, options, (notes.ZERO_BEFORE,), told)
    outcome = _contest(subject, original, options, told)
    found = _without_waste(subject, pruned, outcome, options.prune)
    if found is not None and not has_same_form(found.outcome.model, original):
        return found
    raced = outcome.making is None and outcome.race is not None
    said = (notes.PRUNED_NOT_FASTER if raced else notes.nothing_freed(subject.refusals),)
    plain = _unpruned(Subject.of(original), original, options, said, told)
    return replace(plain, outcome=replace(plain.outcome, race=plain.outcome.race or outcome.race))


def _nothing_chosen(subject: Subject, original: onnx.ModelProto, options: PruneOptions) -> tuple[str, ...]:
    if not options.prunes:
        return ()
    return (notes.nothing_chosen(len(kept_channels(viewed(original), options.side)), subject.refusals),)


def _contest(subject: Subject, original: onnx.ModelProto, options: Options, told: Told | None) -> Outcome:
    outcome = contest(subject.draft, subject.segments, options, original, told)
    return replace(outcome, notes=(*outcome.notes, *_missed_latency(outcome, options.prune)))


def _unpruned(
    subject: Subject, original: onnx.ModelProto, options: Options, said: tuple[str, ...], told: Told | None
) -> Settled:
    """The best export of `original`, the model of `subject`; `said` are notes that say why it is not pruned."""
    outcome = _contest(subject, original, options, told)
    lines = (*said, *outcome.notes)
    if not lines and has_same_form(outcome.model, original):
        constants = sum(producer.constant for part in subject.segments for producer in part.producers)
        lines = (notes.nothing_removed(subject.refusals, constants),)
    return Settled(subject, outcome, original, 0, lines)


def _without_waste(subject: Subject, pruned: Pruned, outcome: Outcome, options: PruneOptions) -> Settled | None:
    """`outcome` with restored weights for channels that its export leaves in place; None if no channel stays pruned."""
    making = outcome.making
    if making is None:
        return None
    if options.is_exact:
        return Settled(subject, outcome, pruned.model, pruned.count, outcome.notes)
    kept = kept_masks(pruned, options.side)
    masked, exported = pruned.model, outcome.made
    for start in (_filled(kept, pruned, making, options), kept):
        more = _grown(start, pruned, making, subject.draft.shapes, options)
        other = masked if _same(more, kept) else pruned.with_masks(more, options.side)
        made = exported if other is masked else _made(making, other)
        if not _is_larger(made.model, outcome.model):
            kept, masked, exported = more, other, made
            break
    count = count_pruned(kept)
    if not count:
        return None
    if pruned.finished is not None:
        masked = pruned.finished(pruned.with_masks(kept, options.side))
        exported = _made(making, masked)
    return Settled(subject, replace(outcome, made=exported), masked, count, outcome.notes)


def _filled(kept: Masks, pruned: Pruned, making: Making, options: PruneOptions) -> Masks:
    """`kept` with the best pruned channels added to fill blocks, in place of padding."""
    if making.recipe.align == 1:
        return kept
    return filled_masks(pruned.dense, kept, pruned.scores, making.recipe.align, options.side)


def _grown(kept: Masks, pruned: Pruned, making: Making, shapes: Mapping[str, Shape], options: PruneOptions) -> Masks:
    """`kept` with the channels added that the export leaves in place."""
    for _ in range(_MOST_ROUNDS):
        masked = pruned.with_masks(kept, options.side)
        left = standing_channels(making, Draft(masked, shapes))
        more = with_standing(kept, pruned, left, options.side)
        if _same(more, kept):
            break
        kept = more
    return kept


def _same(one: Masks, other: Masks) -> bool:
    return all((mask == other[weight]).all() for weight, mask in one.items())


def _made(making: Making, model: onnx.ModelProto) -> Exported:
    return export(making, Draft(model, infer_shapes(model)))


def _is_larger(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    ours, theirs = model_stats(one), model_stats(other)
    return ours.parameters > theirs.parameters or ours.macs > theirs.macs or ours.nodes > theirs.nodes


def _missed_latency(outcome: Outcome, options: PruneOptions) -> tuple[str, ...]:
    """A note if the measured latency is above the one asked for, but within the accuracy of races; else nothing.

    Raises: ArgumentError if it is further above.
    """
    if options.latency is None or outcome.race is None:
        return ()
    timing = next(timing for timing in outcome.race.timings if timing.name == outcome.name)
    if timing.ratio <= options.latency:
        return ()
    least = timing.ratio if timing.ratio_low is None else timing.ratio_low
    if outcome.name == INPUT or least > _NEARLY * options.latency:
        raise ArgumentError(
            f"latency {options.latency:g} was not reached: the fastest export takes {timing.ratio:.2f} of the input's "
            "time; ask for a larger share"
        )
    return (notes.latency_missed(options.latency, timing.ratio, least),)
