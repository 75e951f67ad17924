"""The verdict on a compile: each bound, what was found, and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator

from upscale_onnx.gate.bounds import Bounds
from upscale_onnx.results import Finding, Report, Verdict


def judge(model: str, report: Report, bounds: Bounds, *, unchanged: bool) -> Verdict:
    """The verdict on the compile with this report. unchanged: whether its result is no smaller and no faster."""
    return Verdict(model, (*_ratios(report, bounds), *_grounds(report, bounds, unchanged)), report)


def _ratios(report: Report, bounds: Bounds) -> Iterator[Finding]:
    before, after, why = report.before, report.after, _why_as_large(report)
    if bounds.max_latency_ratio is not None:
        yield _at_most("latency_ratio", bounds.max_latency_ratio, latency_ratio(report), "not timed for this target")
    if bounds.max_size_ratio is not None:
        yield _at_most("size_ratio", bounds.max_size_ratio, _ratio(after.bytes, before.bytes), why=why)
    if bounds.max_mac_ratio is not None:
        yield _at_most("mac_ratio", bounds.max_mac_ratio, _ratio(after.macs, before.macs), why=why)
    if bounds.min_param_reduction is not None:
        removed = 1 - _ratio(after.parameters, before.parameters)
        least = bounds.min_param_reduction
        yield Finding("param_reduction", f"at least {least:g}", f"{removed:.3f}{why}", removed >= least)


def latency_ratio(report: Report) -> float | None:
    """The time of the result as a share of the input's, in the race of the compile; None if that was not timed."""
    if report.race is not None:
        return next((timing.ratio for timing in report.race.timings if timing.name == report.export), None)
    return 1.0 if report.export == "input" else None


def _why_as_large(report: Report) -> str:
    """Why sizes are the input's, to be said behind them; empty where an export was written or no reason is known."""
    return f" ({report.notes[0]})" if report.export == "input" and report.notes else ""


def _at_most(bound: str, most: float, found: float | None, missing: str = "", why: str = "") -> Finding:
    asked = f"at most {most:g}"
    if found is None:
        return Finding(bound, asked, missing, False)
    return Finding(bound, asked, f"{found:.3f}{why}", found <= most)


def _ratio(after: int, before: int) -> float:
    return after / before if before else 1.0


def _grounds(report: Report, bounds: Bounds, unchanged: bool) -> Iterator[Finding]:
    if "unchanged" in bounds.fail_on:
        yield Finding("unchanged", "smaller or faster", "as it was" if unchanged else report.export, not unchanged)
    if "refusal" in bounds.fail_on:
        count, first = len(report.refusals), report.refusals[:1]
        examples = "".join(f", first {one.node} ({one.op_type}: {one.reason.value})" for one in first)
        yield Finding("refusal", "no node left alone", f"{count}{examples}", not count)
    if "unproven" in bounds.fail_on:
        local = None if report.verification is None else report.verification.local
        found = "nothing was compiled" if local is None else f"{local.proven} of {local.regions} regions"
        yield Finding("unproven", "every region shown equal", found, local is None or local.complete)
