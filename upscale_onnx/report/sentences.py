"""The outcome of each kind of result in one sentence: what pages have as their title and results print first."""

from __future__ import annotations

from functools import singledispatch

from upscale_onnx.errors import InternalError
from upscale_onnx.report import headline, numbers
from upscale_onnx.report.bench_rows import short_names
from upscale_onnx.results import (
    Accuracy,
    Bench,
    Calibration,
    Course,
    Finetuned,
    Front,
    Inspection,
    PrunedInTraining,
    Report,
    Result,
    Sensitivity,
    Sparsified,
    Sparsity,
    Verification,
)
from upscale_onnx.results.differences import Differences


@singledispatch
def sentence(result: object) -> str:
    """The outcome of `result` in one sentence, without a full stop."""
    raise InternalError(f"there is no sentence for {type(result).__name__}")


@sentence.register
def _report(report: Report) -> str:
    return headline.headline(report)


@sentence.register
def _result(result: Result) -> str:
    return headline.headline(result.report)


@sentence.register
def _bench(bench: Bench) -> str:
    race = bench.races[0]
    names = short_names([timing.name for timing in race.timings])
    fastest = min(race.timings, key=lambda timing: timing.ratio)
    if fastest is race.timings[0]:
        return f"{names[fastest.name]} is the fastest"
    return f"{names[fastest.name]} is {headline.ratio_words(fastest)} than {names[race.timings[0].name]}"


@sentence.register
def _inspection(found: Inspection) -> str:
    classes = sum(segment.classes for segment in found.segments)
    idle = classes - sum(segment.live for segment in found.segments)
    return f"{idle:,} of {classes:,} channels are read by none, {_some(len(found.refusals), 'node')} left alone"


@sentence.register
def _front(front: Front) -> str:
    return f"{len(front.front):,} of {front.trials:,} profiles are on the front of {front.quality} and {front.cost}"


@sentence.register
def _verification(found: Verification) -> str:
    if not found.equal:
        return f"Not shown equal: {found.detail}" if found.detail else "Not shown equal"
    return f"Same outputs: {headline.proof(found)}"


@sentence.register
def _accuracy(found: Accuracy) -> str:
    return f"top-1 {found.top1:.1%}, top-5 {found.top5:.1%}, of {_some(found.images, 'image')}"


@sentence.register
def _calibration(found: Calibration) -> str:
    timed = f"{found.timed:,} of {_some(found.wanted, 'operator shape')} timed"
    took, predicted = (numbers.milliseconds(ms) for ms in (found.input_ms, found.predicted.ms))
    return f"{timed} for {found.target}; the model takes {took}, predicted {predicted}"


@sentence.register
def _sensitivity(found: Sensitivity) -> str:
    able = sum(layer.largest_amount > 0 for layer in found.layers)
    lost = f"a loss of {numbers.significant(found.tolerated)} in {found.measure}"
    return f"{able:,} of {_some(len(found.layers), 'layer')} can be pruned for {lost}"


@sentence.register
def _sparsity(found: Sparsity) -> str:
    return f"{found.zeros:,} of {found.size:,} weights are zero, {numbers.percent(found.share)}"


@sentence.register
def _sparsified(found: Sparsified) -> str:
    pruned = sum(int((~kept).sum()) for kept in found.masks.values())
    return f"{pruned:,} weights of {_some(len(found.masks), 'tensor')} are pruned"


@sentence.register
def _course(course: Course) -> str:
    trained = f"{_some(len(course.epochs), 'epoch')}, the weights of epoch {course.kept}"
    if course.before is None or course.accuracy is None:
        return trained
    return f"{trained}: accuracy {course.accuracy:.1%}, {course.before:.1%} before"


@sentence.register
def _finetuned(found: Finetuned) -> str:
    return _course(found.course)


@sentence.register
def _pruned(found: PrunedInTraining) -> str:
    return f"{_course(found.course)}; {headline.headline(found.report)}"


@sentence.register
def _differences(found: Differences) -> str:
    return f"{_some(len(found.changes), 'node')} differ, {found.same:,} are the same"


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
