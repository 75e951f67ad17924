"""Verdicts: what was found for the bounds that a compile has to hold."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.report import Report


@dataclass(frozen=True)
class Finding:
    """One bound. asked, found: in words; holds: whether what was found is within it."""

    bound: str
    asked: str
    found: str
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """What was found for each bound on one model, and the report of its compile. model: its name."""

    model: str
    findings: tuple[Finding, ...]
    report: Report

    @property
    def passed(self) -> bool:
        """Whether every bound holds."""
        return all(finding.holds for finding in self.findings)


@dataclass(frozen=True)
class Check:
    """The verdicts on all models that were checked. passed: whether every bound holds on each."""

    passed: bool
    verdicts: tuple[Verdict, ...]
