"""Which of several masks is best, by what the masked model still computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.measure import Distance, Place, Top1
from upscale_onnx.prune.class_scores import predicted_labels
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.types import Array

# Share of the batches that judges where the others are fitted to.
_HELD = 0.25


def outputs_judge(
    model: onnx.ModelProto,
    batches: Sequence[Mapping[str, Array]],
    repaired: Callable[[onnx.ModelProto, Sequence[Inputs]], onnx.ModelProto] | None = None,
    threads: int = 1,
) -> Callable[[onnx.ModelProto], float]:
    """What tells how far the outputs of a masked `model` are from its own: their distance, and where its only output
    is (samples, classes) the share of samples whose class changes besides, as neither alone tells accuracy.

    repaired: the masked model after what makes up for its masks on some batches, where that is asked for; the others
    judge, or the same where there is but one.
    """
    every = [dict(batch) for batch in batches]
    held = max(int(_HELD * len(every)), 1)
    fit, judging = (every[:-held] or every, every[-held:]) if repaired else ([], every)
    where = Place(threads=threads)
    distance, kept_classes = Distance.of(model, judging, where), _classes(model, judging, where)

    def value(masked: onnx.ModelProto) -> float:
        made = repaired(masked, fit) if repaired else masked
        changed = 0.0 if kept_classes is None else 1.0 - kept_classes.value(made)
        return distance.value(made) + changed

    return value


def harm_on(model: onnx.ModelProto, batches: Sequence[Inputs], threads: int = 1) -> Callable[[onnx.ModelProto], float]:
    """What tells how much worse than `model` a variant is on these batches, in numbers that add up: the squared
    distance of its outputs."""
    distance = Distance.of(model, batches, Place(threads=threads))
    return lambda variant: distance.value(variant) ** 2


def _classes(model: onnx.ModelProto, batches: Sequence[Inputs], where: Place) -> Top1 | None:
    """How many samples keep the class that `model` predicts; None where it predicts none."""
    if len(model.graph.output) != 1:
        return None
    try:
        labelled = [(batch, predicted_labels(model, [batch], where.threads)) for batch in batches]
    except ArgumentError:  # outputs of another shape
        return None
    return Top1.of(model, labelled, where)
