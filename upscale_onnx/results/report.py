"""What a compile returns, and all that is told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale_onnx.results.claims import Claim
from upscale_onnx.results.effect import PruningEffect
from upscale_onnx.results.models import ModelStats, Refusal, Segment
from upscale_onnx.results.proofs import Verification
from upscale_onnx.results.races import Race

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Decision:
    """How the consumers of one value are served, and whether that went as predicted.

    segment: index of the segment, None where the value has no channel classes. channels: what the value
    emits. handed: per consumer how many of them it is handed. lowerings: per consumer how that is done: "keep" (it
    reads the value itself), "selection", or pieces of the value, "split", "split+add" or "split+concat". The times
    are of the consumers with the selections in front of them, in milliseconds; measured_ms is None where the
    runtime's profile does not tell them apart.
    """

    value: str
    segment: int | None
    channels: int
    consumers: tuple[str, ...]
    handed: tuple[int, ...]
    predicted_ms: float
    measured_ms: float | None
    lowerings: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeptChannels:
    """How many channels a decision leaves in use, on the side that is pruned; keep_ratio: of all.

    weights: those it is about, one layer's, or all that lose their channels together; weight, node: the first of them.
    """

    weight: str
    node: str
    channels: int
    kept: int
    keep_ratio: float
    weights: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All that is told about one compile. profile: what the layers that may be pruned keep, where anything is
    pruned first. effect: what that did to the outputs, None where nothing is. notes: one line each, where something was
    not done that might have been expected: why, and what to try."""

    export: str
    before: ModelStats
    after: ModelStats
    segments: tuple[Segment, ...]
    refusals: tuple[Refusal, ...]
    verification: Verification | None
    race: Race | None
    masked_channels: int
    seconds: Mapping[str, float]
    decisions: tuple[Decision, ...] = ()
    bound_ratio: float | None = None
    profile: tuple[KeptChannels, ...] = ()
    notes: tuple[str, ...] = ()
    effect: PruningEffect | None = None


@dataclass(frozen=True)
class Result:
    """A compiled model, its report and the segments of the input. masked: the model that it was shown equal to, the
    input where nothing was pruned. claims: what it holds of the values of that one, by name."""

    model: onnx.ModelProto
    report: Report
    masked: onnx.ModelProto
    claims: Mapping[str, Claim]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the input model."""
        return self.report.segments
