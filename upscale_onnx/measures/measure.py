"""Measures of a pruned model: its accuracy, or the distance of its outputs from those of the unpruned model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.measures.accuracy import hits
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import Array, IntArray

_HELD_BYTES = 2**29
_NO_NUMBERS = "the model has no output of numbers that could be compared"


class Measure(Protocol):
    """A number that says how good a pruned model is."""

    @property
    def name(self) -> str:
        """The name of the measure."""

    @property
    def samples(self) -> int:
        """The number of samples that are measured on."""

    @property
    def baseline(self) -> float:
        """The value of the unpruned model."""

    def value(self, model: ModelProto) -> float:
        """The value of `model`, a variant of the unpruned one."""

    def loss(self, value: float) -> float:
        """How much worse than the baseline `value` is."""


@dataclass(frozen=True, eq=False)
class Top1:
    """Top-1 accuracy: the share (0 to 1) of labelled images whose label is the class with the highest score.

    batches: inputs, and the labels of their first samples. Samples without a label only fill a batch.
    """

    batches: Sequence[tuple[Inputs, IntArray]]
    baseline: float
    where: Place
    name: str = "top1"

    @classmethod
    def of(cls, model: ModelProto, batches: Sequence[tuple[Inputs, IntArray]], where: Place | None = None) -> Top1:
        """The measure on these batches. Its baseline is the accuracy of `model`.

        Raises: ArgumentError where a label is not one of the model's classes.
        """
        unknown = cls(batches, 0.0, where or Place())
        return cls(batches, unknown.value(model), unknown.where)

    @property
    def samples(self) -> int:
        """How many images have labels."""
        return sum(labels.size for _, labels in self.batches)

    def value(self, model: ModelProto) -> float:
        """Top-1 accuracy of `model`, by its first output."""
        name = model.graph.output[0].name
        found = _outputs(model, [inputs for inputs, _ in self.batches], [name], self.where)
        best = sum(int(hits(scores, labels)[0]) for (scores,), (_, labels) in zip(found, self.batches, strict=True))
        return best / self.samples

    def loss(self, value: float) -> float:
        """How far `value` is below the baseline."""
        return self.baseline - value


@dataclass(frozen=True, eq=False)
class Distance:
    """The distance of outputs from those of the unpruned model: the largest |y - y'| / |y| over the outputs y.

    The norms are Euclidean, over all samples together. Integers are taken for labels: for them, it is the square root
    of the share that differs.
    """

    batches: Sequence[Inputs]
    expected: Sequence[Sequence[Array]]
    outputs: Sequence[str]
    where: Place
    name: str = "distance"
    baseline: float = 0.0

    @classmethod
    def of(
        cls,
        model: ModelProto,
        batches: Sequence[Inputs],
        where: Place | None = None,
        held_bytes: int = _HELD_BYTES,
    ) -> Distance:
        """The distance from `model`, on the first of these batches.

        As many batches are taken as fit into `held_bytes` with their outputs, but at least one.

        Raises: ModelError where the model cannot be run, or no output is an array of numbers.
        """
        device = where or Place()
        names = [value.name for value in model.graph.output if value.type.HasField("tensor_type")]
        if not names:  # onnxruntime computes all outputs if none is named
            raise ModelError(_NO_NUMBERS)
        expected: list[Sequence[Array]] = []
        held = 0
        for inputs, found in zip(batches, _outputs(model, batches, names, device), strict=True):
            held += sum(array.nbytes for array in (*inputs.values(), *found))
            if expected and held > held_bytes:
                break
            expected.append(found)
        numeric = [i for i, array in enumerate(expected[0]) if array.dtype.kind in "biufcV"] if expected else []
        if not numeric:
            raise ModelError(_NO_NUMBERS)
        kept = [[found[i] for i in numeric] for found in expected]
        return cls(batches[: len(kept)], kept, [names[i] for i in numeric], device)

    @property
    def samples(self) -> int:
        """How many samples there are in all batches."""
        return sum(max((a.shape[0] for a in batch.values() if a.ndim), default=1) for batch in self.batches)

    def value(self, model: ModelProto) -> float:
        """The distance of `model`; infinite if outputs have other shapes or are not finite."""
        squares = np.zeros((len(self.outputs), 2))
        for found, expected in zip(_outputs(model, self.batches, self.outputs, self.where), self.expected, strict=True):
            squares += [_squares(a, b) for a, b in zip(found, expected, strict=True)]
        off, size = squares.T
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(off == 0, 0.0, off / size)
        return float(np.sqrt(np.nan_to_num(ratios, nan=np.inf, posinf=np.inf).max()))

    def loss(self, value: float) -> float:
        """The distance itself."""
        return value


def _outputs(
    model: ModelProto, batches: Sequence[Mapping[str, Array]], names: Sequence[str], where: Place
) -> Iterator[list[Any]]:
    session = make_session(model, provider=where.provider, threads=where.threads)
    for inputs in batches:
        yield run(session, inputs, names)


def _squares(found: Array, expected: Array) -> tuple[float, float]:
    """The squared norms of the difference and of the expected array."""
    if found.shape != expected.shape:
        return np.inf, 1.0
    if expected.dtype.kind in "biu":
        return float((found != expected).sum()), float(expected.size)
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = found.astype(wide), expected.astype(wide)
    return float(np.square(np.abs(a - b)).sum()), float(np.square(np.abs(b)).sum())
