"""What came out of a compile: one sentence, a table of five rows, and one line on what to try next."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.report import numbers
from upscale_onnx.results import Report, Timing, Verification

INPUT = "input"


@dataclass(frozen=True)
class Row:
    """A row of the table: what is compared, before and after, and the change in words; ratio: after over before."""

    what: str
    before: str
    after: str
    change: str
    ratio: float | None = None


def headline(report: Report) -> str:
    """The outcome in one sentence, as "1.17x faster (95 % 1.16-1.21), 31 % fewer parameters, same outputs"."""
    if is_unchanged(report):
        return "Nothing removed: the model is written as it was"
    parts = [_speed(report), _fewer(report), equality(report)]
    return ", ".join(part for part in parts if part)


def is_unchanged(report: Report) -> bool:
    """Whether the model that is written is the input."""
    return report.export == INPUT


def raced(report: Report) -> tuple[Timing, Timing] | None:
    """The timings of the input and of the result; None if they were not raced."""
    if report.race is None:
        return None
    after = [timing for timing in report.race.timings if timing.name == report.export]
    return (report.race.timings[0], after[0]) if after else None


def outcome(report: Report) -> tuple[Row, ...]:
    """File size, parameters, MACs, latency and exactness: before, after, and how they changed."""
    rows = [
        _sizes("file size", report.before.bytes, report.after.bytes, numbers.size),
        _sizes("parameters", report.before.parameters, report.after.parameters, numbers.count),
        _sizes("MACs", report.before.macs, report.after.macs, numbers.count),
    ]
    timings = raced(report)
    if timings is not None:
        before, after = timings
        ms = numbers.milliseconds
        rows.append(Row("latency", ms(before.median_ms), ms(after.median_ms), numbers.change(after.ratio), after.ratio))
    rows.append(Row("exactness", "", proof(report.verification), equality(report)))
    if report.effect is not None and report.effect.loss is not None:
        rows.append(_pruning(report))
    return tuple(rows)


def equality(report: Report) -> str:
    """Whether the outputs are the same, and as those of which model."""
    if report.verification is None:
        return "outputs not compared"
    if not report.verification.equal:
        return "outputs differ"
    return "same outputs" if report.effect is None else "same outputs as the pruned model"


def proof(verification: Verification | None) -> str:
    """How equality was shown, in a few words."""
    if verification is None:
        return "not compared"
    shown = []
    if verification.local is not None:
        shown.append(f"{verification.local.proven}/{verification.local.regions} regions")
    if verification.trials:
        shown.append(f"{verification.trials} runs")
    return ", ".join(shown)


def next_step(report: Report) -> str:
    """What to try next, in one line; empty where nothing comes to mind."""
    if report.notes:
        return report.notes[0]
    if report.refusals and report.refusals[0].channels:
        first = report.refusals[0]
        return (
            f"{first.channels} channels stay because of {first.node} ({first.op_type}: {first.reason.value}); "
            "-v lists all such nodes"
        )
    if report.race is None:
        return "nothing was timed: leave out --no-race to take the fastest export"
    return "time it as it will run: upscale_onnx bench IN OUT --batch N --threads N"


def ratio_words(timing: Timing) -> str:
    """How many times as fast as the reference a runner is, with the 95 % interval if it is known."""
    text = f"{1 / timing.ratio:.2f}x {'faster' if timing.ratio < 1 else 'as fast'}"
    if timing.ratio_low is None or timing.ratio_high is None:
        return text
    return f"{text} (95 % {1 / timing.ratio_high:.2f}-{1 / timing.ratio_low:.2f})"


def _speed(report: Report) -> str:
    timings = raced(report)
    return "" if timings is None else ratio_words(timings[1])


def _fewer(report: Report) -> str:
    before, after = report.before.parameters, report.after.parameters
    if not before or before == after:
        return ""
    share = 1 - after / before
    return f"{numbers.percent(abs(share))} {'fewer' if share > 0 else 'more'} parameters"


def _sizes(what: str, before: int, after: int, text: numbers.Text) -> Row:
    ratio = after / before if before else None
    return Row(what, text(before), text(after), "" if ratio is None else numbers.change(ratio), ratio)


def _pruning(report: Report) -> Row:
    effect = report.effect
    assert effect is not None
    if effect.accuracy_before is not None and effect.accuracy_after is not None:
        moved = 100 * (effect.accuracy_after - effect.accuracy_before)
        return Row("accuracy", f"{effect.accuracy_before:.1%}", f"{effect.accuracy_after:.1%}", f"{moved:+.1f} points")
    assert effect.distance is not None
    return Row("pruning", "", "outputs moved", numbers.percent(effect.distance))
