"""Results of proofs that two models are equal or differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class OutputError:
    """How far one output of the compiled model is from the original's; the worst over all trials.

    max_absolute: the largest absolute difference.
    relative: the largest difference relative to the largest magnitude of the original's output.
    cosine: the smallest cosine similarity.
    argmax_agreement: the share of rows with the same largest entry; None unless the output has rank 2 and more than
    one column, as that of a classifier.
    tolerance: the largest relative error at which the output counts as equal.
    """

    output: str
    max_absolute: float
    relative: float
    cosine: float
    argmax_agreement: float | None
    tolerance: float = 0.0


@dataclass(frozen=True)
class Verification(Shown):
    """The result of comparing two models.

    equal: the verdict of the global check, under the tolerance of each output, and of the local proof, if any.
    tolerance: the largest tolerance of all outputs.
    outputs: the errors of each output.
    trials: how many runs of the whole models were compared.
    shapes: the shapes of the inputs in each trial, by name.
    detail: why the models are not equal, or how equality was shown.
    activations: how many channels enter activations that clip (Relu, Clip, …).
    asleep: how many of these channels were clipped in every trial, so that the trials show nothing about them.
    undecided: the models were shown neither equal nor different.

    >>> import upscale_onnx
    >>> model = "models/digits_cnet_masked.onnx"
    >>> upscale_onnx.verify(model, model, proofs=("global",)).outputs[0].max_absolute
    0.0
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
    """A region that was not shown equal.

    value: the value that the region makes.
    detail: why it was not shown equal.
    inside: the values that the original computes in the region.
    """

    value: str
    detail: str
    inside: tuple[str, ...] = ()


@dataclass(frozen=True)
class LocalProof:
    """The result of a local proof.

    regions: how many regions there are.
    proven: how many were shown equal.
    refuted: those that differ.
    unrunnable: those that could not be run.
    """

    regions: int
    proven: int
    refuted: tuple[Unproven, ...] = ()
    unrunnable: tuple[Unproven, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every region was shown equal."""
        return not self.refuted and not self.unrunnable
