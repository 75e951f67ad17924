"""What a compile, a verification and a race return: frozen values that reports read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale_onnx.claims import Claim
from upscale_onnx.effect import PruningEffect
from upscale_onnx.errors import Reason

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class ModelStats:
    """Size and arithmetic of a model.

    parameters: elements of all constants, of whatever type; macs: multiply-accumulates of one inference
    (dynamic dimensions counted as 1); copied_bytes: bytes written per inference by Slice, Gather,
    Split and Concat; bytes: size of the file, its external data included.
    """

    parameters: int
    macs: int
    nodes: int
    copied_bytes: int
    bytes: int = 0


@dataclass(frozen=True)
class Refusal:
    """A node whose channels were left alone, and why."""

    node: str
    op_type: str
    reason: Reason
    detail: str = ""


@dataclass(frozen=True)
class Producer:
    """A node whose weights create `channels` channels of `value` along `axis`."""

    node: str
    op_type: str
    value: str
    axis: int
    channels: int
    live: int
    constant: int


@dataclass(frozen=True)
class Consumer:
    """A node whose weights read `value` along `axis`; it demands `demanded` of `channels` channels."""

    node: str
    op_type: str
    value: str
    axis: int
    channels: int
    demanded: int


@dataclass(frozen=True)
class Segment:
    """A closed set of producers, carriers and consumers that share channel classes."""

    index: int
    producers: tuple[Producer, ...]
    carriers: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    forks: tuple[str, ...]
    joins: tuple[str, ...]
    classes: int
    live: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class OutputError:
    """How far one output of the compiled model is from the original's, the worst over all trials.

    max_absolute: largest absolute difference; relative: that over the largest magnitude of the
    original's output; cosine: smallest cosine similarity; argmax_agreement: share of rows with the
    same largest entry, None where the output is not a classifier's (rank 2, more than one column);
    tolerance: the largest relative error at which it is called equal.
    """

    output: str
    max_absolute: float
    relative: float
    cosine: float
    argmax_agreement: float | None
    tolerance: float = 0.0


@dataclass(frozen=True)
class Verification:
    """The outcome of comparing two models. `equal` is the verdict: of the global check, under the tolerance of each
    output, and of the local proof, where there is one.

    tolerance: the largest of these; activations: how many channels enter activations that clip (Relu, Clip, …);
    asleep: how many of these were clipped in every trial, so that nothing was seen of what they do;
    undecided: the models are not shown to be equal, and not to differ either.
    """

    equal: bool
    tolerance: float
    outputs: tuple[OutputError, ...]
    trials: int
    shapes: tuple[Mapping[str, tuple[int, ...]], ...]
    provider: str
    detail: str = ""
    local: LocalProof | None = None
    activations: int = 0
    asleep: int = 0
    undecided: bool = False


@dataclass(frozen=True)
class Unproven:
    """A region that was not shown equal: the value it makes, why, and the values that the original computes in it."""

    value: str
    detail: str
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalProof:
    """The outcome of a local proof: how many regions there are, how many were shown equal, which were shown to differ,
    and which could not be run."""

    regions: int
    proven: int
    refuted: tuple[Unproven, ...] = ()
    unrunnable: tuple[Unproven, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every region was shown equal."""
        return not self.refuted and not self.unrunnable


@dataclass(frozen=True)
class Timing:
    """Latency of one runner in milliseconds; `ratio` is its median over the first runner's.

    ratio_low, ratio_high: the 95 % confidence interval of `ratio`; None where it was not computed.
    """

    name: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    ratio: float
    ratio_low: float | None = None
    ratio_high: float | None = None


@dataclass(frozen=True)
class Race:
    """An interleaved race. The first timing is the reference; `winner` is the fastest runner.

    batch: the first dimension of the inputs where one was asked for, otherwise None.
    """

    timings: tuple[Timing, ...]
    winner: str
    provider: str
    threads: int
    rounds: int
    batch: int | None = None


@dataclass(frozen=True)
class OperatorTotal:
    """The nodes of one operator type in the runtime's optimised graph, and their time per inference together."""

    op_type: str
    nodes: int
    ms: float


@dataclass(frozen=True)
class Profile:
    """Where the time of one runner goes, the slowest operator type first."""

    name: str
    operators: tuple[OperatorTotal, ...]
    provider: str
    threads: int
    batch: int | None = None


@dataclass(frozen=True)
class Bench:
    """Races under several settings, the profiles of their runners, and one line for each that could not be run."""

    machine: Mapping[str, str | int]
    races: tuple[Race, ...]
    profiles: tuple[Profile, ...] = ()
    skipped: tuple[str, ...] = ()


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
