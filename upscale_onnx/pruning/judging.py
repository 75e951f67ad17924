"""Rating masks by the outputs of the masked model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import onnx

from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.pruning.class_scores import predicted_labels
from upscale_onnx.runtime.activations import batches_of, has_fixed_batch, sample_count
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.place import Place
from upscale_onnx.types import Array

# Share of the batches that is held out to judge by, where repair is fitted to the others.
_HELD = 0.25
_FEW = 32


def outputs_judge(
    model: onnx.ModelProto,
    batches: Sequence[Mapping[str, Array]],
    repaired: Callable[[onnx.ModelProto, Sequence[Inputs]], onnx.ModelProto] | None = None,
    threads: int = 1,
) -> Callable[[onnx.ModelProto], float]:
    """Return a function that tells how far the outputs of a masked copy of `model` are from those of `model`. It is
    their distance, plus the share of samples whose class changes where the only output has shape (samples, classes),
    since neither alone tells accuracy.

    repaired: repairs a masked model on some batches; None where no repair is asked for. The other batches judge, or
    the same batch where there is only one.
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


def few_of(model: onnx.ModelProto, batches: Sequence[Inputs]) -> list[Inputs]:
    """The first samples of the batches, about as many as are enough to compare harms."""
    found: list[Inputs] = []
    for batch in batches:
        for piece in [batch] if has_fixed_batch(model) else batches_of(batch, _FEW // 4):
            found.append(piece)
            if sample_count(found) >= _FEW:
                return found
    return found


def harm_on(model: onnx.ModelProto, batches: Sequence[Inputs], threads: int = 1) -> Callable[[onnx.ModelProto], float]:
    """Return a function of a variant of `model`: the squared distance of its outputs from those of `model` on these
    batches. Squared distances of several variants may be added."""
    distance = Distance.of(model, batches, Place(threads=threads))
    return lambda variant: distance.value(variant) ** 2


def _classes(model: onnx.ModelProto, batches: Sequence[Inputs], where: Place) -> Top1 | None:
    """The share of samples that keep the class which `model` predicts; None where its outputs are no classes."""
    if len(model.graph.output) != 1:
        return None
    try:
        labelled = [(batch, predicted_labels(model, [batch], where.threads)) for batch in batches]
    except ArgumentError:  # outputs of another shape
        return None
    return Top1.of(model, labelled, where)
