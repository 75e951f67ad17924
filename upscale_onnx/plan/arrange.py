"""The order of channels: classes are ranked so that as many selections as possible are contiguous."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.order import best_order
from upscale_onnx.types import BoolArray, IntArray

# Of many overlapping demands hardly more than the heaviest few can be made contiguous. Weighing all of
# them costs time and gains nothing.
_MOST_DEMANDS = 12


def arrange(analysis: Analysis) -> IntArray:
    """A rank per class id under which the heaviest set of selections reads contiguous channels.

    Classes are ranked within the value that creates them; between values their order is kept.
    Source: Wan et al., UPSCALE, ICML 2023, section 4; consecutive ones by PQ-trees.
    """
    rank = np.arange(analysis.live.size, dtype=np.int64)
    ranked = np.zeros(rank.size, bool)
    picked = _picked_classes(analysis)
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        if not needed or not step.flow.creates:
            continue
        for found in step.flow.outputs:
            if found is not None and len(found.axes) == 1:
                _rank_value(analysis, found.labels.ravel(), picked, rank, ranked)
    return rank


def _picked_classes(analysis: Analysis) -> dict[int, list[IntArray]]:
    """The live classes, sorted, that each selection along the channel axis picks, listed under every class in them."""
    found: dict[int, list[IntArray]] = {}
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        if not needed or step.flow.picks is None:
            continue
        for out in step.flow.outputs:
            if out is not None:
                labels = np.unique(out.labels)
                chosen = labels[analysis.live[labels]]
                for label in chosen.tolist():
                    found.setdefault(label, []).append(chosen)
    return found


def _rank_value(
    analysis: Analysis,
    labels: IntArray,
    picked: dict[int, list[IntArray]],
    rank: IntArray,
    ranked: BoolArray,
) -> None:
    classes = np.unique(labels[analysis.live[labels]])
    if classes.size < 3 or analysis.fixed[classes].any() or ranked[classes].any():
        return
    ranked[classes] = True
    sets: dict[bytes, tuple[BoolArray, float]] = {}
    touching = {id(chosen): chosen for label in classes.tolist() for chosen in picked.get(label, ())}
    for chosen in touching.values():
        member = np.isin(classes, chosen, assume_unique=True)
        count = int(member.sum())
        if 1 < count < classes.size:
            key = member.tobytes()
            sets[key] = (member, sets.get(key, (member, 0.0))[1] + count)
    heaviest = sorted(sets.values(), key=lambda item: -item[1])[:_MOST_DEMANDS]
    if not heaviest:
        return
    ordering = best_order(classes.size, [m for m, _ in heaviest], [w for _, w in heaviest])
    rank[classes[ordering.order]] = np.sort(rank[classes])
