"""Accuracy on more and more images: first on an eighth of them, then on half, then on all.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016,
for successive halving. What is given up here is what is worse by more than the noise of so few images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from upscale_onnx.measures.accuracy import hits
from upscale_onnx.measures.measure import Top1
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.types import IntArray

SHARES = (1 / 8, 1 / 2, 1.0)
_LEAST = 32  # images of the first rung
_DEVIATIONS = 2.58  # 99 of 100 intervals hold the accuracy

Batch = tuple[Inputs, IntArray]


@dataclass(frozen=True, eq=False)
class Rungs:
    """The images of `measure` in an order drawn at random, so that every part is like all of them. parts: the batches
    that each rung adds."""

    measure: Top1
    parts: tuple[tuple[Batch, ...], ...]

    @classmethod
    def of(cls, measure: Top1, seed: int = 0) -> Rungs:
        """The rungs of a measure."""
        batches = _shuffled(measure.batches, seed)
        total = measure.samples
        ends: list[int] = []
        seen = 0
        for place, (_, labels) in enumerate(batches, 1):
            seen += labels.size
            wanted = SHARES[len(ends)] if len(ends) < len(SHARES) else 1.0
            if seen == total or (seen >= wanted * total and seen >= _LEAST):
                ends.append(place)
        starts = [0, *ends[:-1]]
        return cls(measure, tuple(tuple(batches[a:b]) for a, b in zip(starts, ends, strict=True)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many images each rung adds."""
        return tuple(sum(labels.size for _, labels in part) for part in self.parts)

    def hits(self, model: onnx.ModelProto, done: int = 0) -> Iterator[int]:
        """How many labels `model` finds in each rung behind the first `done`, one after the other."""
        name, where = model.graph.output[0].name, self.measure.where
        session = make_session(model, provider=where.provider, threads=where.threads)
        for part in self.parts[done:]:
            yield sum(int(hits(np.asarray(run(session, inputs, [name])[0]), labels)[0]) for inputs, labels in part)


def upper_bound(accuracy: float, images: int) -> float:
    """The accuracy that a model is hardly above which has `accuracy` on so many images: the end of Wilson's interval.

    Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    z2 = _DEVIATIONS**2
    middle = accuracy + z2 / (2 * images)
    spread = _DEVIATIONS * math.sqrt(accuracy * (1 - accuracy) / images + z2 / (4 * images**2))
    return min((middle + spread) / (1 + z2 / images), 1.0)


def _shuffled(batches: Sequence[Batch], seed: int) -> list[Batch]:
    (name, first), *_ = batches[0][0].items()
    rng = np.random.default_rng(seed)
    if len(batches[0][0]) > 1 or len({inputs[name].shape[1:] for inputs, _ in batches}) > 1:
        return [batches[place] for place in rng.permutation(len(batches))]
    images = np.concatenate([inputs[name][: labels.size] for inputs, labels in batches])
    labels = np.concatenate([own for _, own in batches])
    order, size = rng.permutation(labels.size), first.shape[0]
    is_filled = any(inputs[name].shape[0] != own.size for inputs, own in batches)
    found = []
    for start in range(0, labels.size, size):
        places = order[start : start + size]
        taken = np.resize(places, size) if is_filled else places
        found.append(({name: images[taken]}, labels[places]))
    return found
