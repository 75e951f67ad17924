"""Bounds on a compile: which reports hold them, and which options can tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from upscale_onnx.errors import ArgumentError, Reason
from upscale_onnx.gate import Bounds
from upscale_onnx.gate.verdict import judge
from upscale_onnx.options import Options
from upscale_onnx.results import ModelStats, Race, Refusal, Report, Timing
from upscale_onnx.results.proofs import LocalProof, Unproven, Verification

RACE = Race((Timing("input", 4.0, 3, 5, 1.0), Timing("keep", 3.0, 2, 4, 0.75)), "keep", "cpu", 1, 9)
REPORT = Report(
    export="keep",
    before=ModelStats(parameters=1000, macs=400, nodes=3, copied_bytes=0, bytes=2000),
    after=ModelStats(parameters=700, macs=100, nodes=3, copied_bytes=0, bytes=1000),
    segments=(),
    refusals=(),
    verification=None,
    race=RACE,
    masked_channels=0,
    seconds={},
)


@pytest.mark.parametrize(
    ("asked", "found", "holds"),
    [
        ({"max_latency_ratio": 0.75}, "0.750", True),
        ({"max_latency_ratio": 0.74}, "0.750", False),
        ({"max_size_ratio": 0.5}, "0.500", True),
        ({"max_size_ratio": 0.49}, "0.500", False),
        ({"max_mac_ratio": 0.25}, "0.250", True),
        ({"max_mac_ratio": 0.24}, "0.250", False),
        ({"min_param_reduction": 0.29}, "0.300", True),
        ({"min_param_reduction": 0.31}, "0.300", False),
        ({"fail_on": ("unchanged", "refusal")}, "keep", True),
    ],
)
def test_ratios(asked: dict[str, Any], found: str, holds: bool) -> None:
    verdict = judge("m", REPORT, Bounds(**asked), unchanged=False)
    assert (verdict.findings[0].found, verdict.passed) == (found, holds)


def test_a_model_that_stays_takes_its_time() -> None:
    verdict = judge("m", replace(REPORT, export="input", race=None), Bounds(max_latency_ratio=0.9), unchanged=True)
    assert [(f.found, f.holds) for f in verdict.findings] == [("1.000", False)]


@pytest.mark.parametrize("asked", [{"max_size_ratio": 0.9}, {"max_mac_ratio": 0.9}, {"min_param_reduction": 0.1}])
def test_sizes_of_a_model_that_stays_say_why_it_does(asked: dict[str, Any]) -> None:
    stays = replace(REPORT, export="input", after=REPORT.before, notes=("no export was faster",))
    (found,) = judge("m", stays, Bounds(**asked), unchanged=True).findings
    assert found.found.endswith(" (no export was faster)")
    assert not found.holds
    (found,) = judge("m", replace(stays, notes=()), Bounds(**asked), unchanged=True).findings
    assert "(" not in found.found


def test_a_latency_that_was_not_measured_does_not_hold() -> None:
    verdict = judge("m", replace(REPORT, race=None), Bounds(max_latency_ratio=0.9), unchanged=False)
    assert [(f.found, f.holds) for f in verdict.findings] == [("not timed for this target", False)]


def test_grounds_to_fail() -> None:
    local = LocalProof(3, 2, unrunnable=(Unproven("v", "it does not run"),))
    report = replace(
        REPORT,
        refusals=(Refusal("node", "Loop", Reason.CONTROL_FLOW),),
        verification=Verification(True, 0.0, (), 1, (), "cpu", local=local),
    )
    found = judge("m", report, Bounds(fail_on=("unchanged", "refusal", "unproven")), unchanged=True).findings
    assert [(f.bound, f.holds) for f in found] == [("unchanged", False), ("refusal", False), ("unproven", False)]
    assert found[1].found == f"1, first node (Loop: {Reason.CONTROL_FLOW.value})"
    assert found[2].found == "2 of 3 regions"


@pytest.mark.parametrize(
    ("bounds", "options", "told"),
    [
        (Bounds(), {}, "no bound is given"),
        (Bounds(max_size_ratio=-1.0), {}, "max_size_ratio is -1.0"),
        (Bounds(min_param_reduction=2.0), {}, "min_param_reduction is 2.0"),
        (Bounds(fail_on=("refusals",)), {}, "fail_on"),  # type: ignore[arg-type]
        (Bounds(max_latency_ratio=0.8), {"race": False}, "needs a race"),
        (Bounds(max_latency_ratio=0.8), {"prefer": "size"}, "needs a race"),
        (Bounds(fail_on=("unproven",)), {"verify": False}, "run the local proof"),
        (Bounds(fail_on=("unproven",)), {"proofs": ("global",)}, "run the local proof"),
    ],
)
def test_bounds_that_cannot_be_told(bounds: Bounds, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError, match=told):
        bounds.demand(Options.of(**options))
