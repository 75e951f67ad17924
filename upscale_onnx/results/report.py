"""The result of a compile, and its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale_onnx.results.claims import Claim
from upscale_onnx.results.effect import PruningEffect
from upscale_onnx.results.models import ModelStats, Refusal, Segment
from upscale_onnx.results.origin import Origin
from upscale_onnx.results.picture import Picture
from upscale_onnx.results.proofs import Verification
from upscale_onnx.results.races import Race, TimeProfile
from upscale_onnx.results.shown import Shown

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Decision:
    """How the consumers of one value get its channels, with predicted and measured times.

    segment: the index of the segment; None if the value has no channel classes.
    channels: how many channels the value emits.
    handed: per consumer, how many of these channels it is handed.
    lowerings: per consumer, how it is handed them: "keep" (it reads the value itself), "selection", or in pieces,
    "split", "split+add" or "split+concat".
    predicted_ms, measured_ms: times of the consumers and of the selections in front of them. measured_ms is None if
    the profile of onnxruntime does not tell these nodes apart.
    taken_back: whether selections were planned for this value, but did not pay in a race and were taken back.
    """

    value: str
    segment: int | None
    channels: int
    consumers: tuple[str, ...]
    handed: tuple[int, ...]
    predicted_ms: float
    measured_ms: float | None
    lowerings: tuple[str, ...] = ()
    taken_back: bool = False


@dataclass(frozen=True)
class KeptChannels:
    """How many channels of a layer, or of layers that lose their channels together, pruning keeps.

    weights: the weights of these layers; weight, node: the first of them. layers: the kind of each, as "Conv 3x3".
    channels: how many channels there are on the side that is pruned, or units of channels that only go together.
    kept: how many of them are kept; keep_ratio: their share, 0 to 1.
    unit: what is counted: "channels", "heads" of attention, "neurons" between two matrices, "hidden units" of a
    recurrent layer, or "groups of channels" that are normalised together.
    """

    weight: str
    node: str
    channels: int
    kept: int
    keep_ratio: float
    weights: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    unit: str = "channels"


@dataclass(frozen=True)
class Report(Shown):
    """All that is reported about one compile.

    masked_channels: how many channels were pruned before the compile.
    seconds: the time of each stage, in seconds.
    bound_ratio: the share of the input's latency below which no selections could bring it; None without a race.
    profile: how many channels each prunable layer keeps, if anything is pruned.
    notes: one line for each thing that was not done although it might be expected: why, and what to try.
    effect: the effect of pruning on the outputs; None if nothing is pruned.
    origin: the command, the versions and the machine; None where nobody asked.
    profiles: the time of the input and of the result by operator type, where `pipeline.detailed` measured it.
    picture: the channels that consumers demand and get, where `pipeline.detailed` looked.

    >>> import upscale_onnx
    >>> report = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False, verify=False).report
    >>> report.before.parameters, report.after.parameters
    (183774, 72590)
    """

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
    origin: Origin | None = None
    profiles: tuple[TimeProfile, ...] = ()
    picture: Picture | None = None


@dataclass(frozen=True)
class Result(Shown):
    """A compiled model and its report.

    masked: the model that it was shown equal to: the pruned model, or the input if nothing was pruned.
    claims: what the compiled model holds of the values of `masked`, by name.

    >>> import onnx, upscale_onnx
    >>> result = upscale_onnx.compile("models/digits_cnet_masked.onnx", race=False)
    >>> onnx.checker.check_model(result.model)
    >>> result.report.verification.equal
    True
    """

    model: onnx.ModelProto
    report: Report
    masked: onnx.ModelProto
    claims: Mapping[str, Claim]

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments of the input model."""
        return self.report.segments
