"""What shows that two models are equal, or that they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


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
