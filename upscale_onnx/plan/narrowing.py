"""Which producers are narrowed to the channels they really compute.

Where producers that feed one Add had different channels pruned, every channel is live and each producer
computes rows of zeros. A narrowed producer computes its own rows and one row of zeros. A Gather spreads
them over the channels that the Add reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs
from upscale_onnx.types import IntArray

# Behind the Gather, an Add can no longer be fused into the convolution: it costs two more reads and one more write.
_FUSION_FACTOR = 2.0


@dataclass(frozen=True, eq=False)
class Narrowing:
    """One producer to narrow.

    step: index into the analysis. rows: output channels that stay, the last of them rows of zeros.
    spread: per original output channel, its index among `rows`. saved_ms: predicted saving.
    """

    step: int
    axis: int
    rows: IntArray
    spread: IntArray
    saved_ms: float


def narrowings(analysis: Analysis, costs: Costs) -> tuple[Narrowing, ...]:
    """The producers that are faster narrowed, in graph order."""
    found = []
    for number, (step, needed) in enumerate(zip(analysis.steps, analysis.needed, strict=True)):
        item = _narrowing(analysis, number, step, costs) if needed else None
        if item is not None and item.saved_ms > 0:
            found.append(item)
    return tuple(found)


def _narrowing(analysis: Analysis, number: int, step: Step, costs: Costs) -> Narrowing | None:
    if step.flow.dense is None or not step.flow.linear:
        return None
    out, dims = step.flow.outputs[0], step.op.out_dims[0] if step.op.out_dims else None
    if out is None or dims is None or len(out.axes) != 1:
        return None
    labels, state, axis = out.labels.ravel(), out.state.ravel(), out.axes[0]
    live = analysis.live[labels]
    silent = live & (state == 0)
    zeros, own = np.flatnonzero(silent), int((live & ~silent).sum())
    # One row of zeros is enough for all silent channels. More are kept only to fill the kernel's last block.
    shown = zeros[: 1 + -(own + 1) % costs.align]
    if own == 0 or shown.size == zeros.size:
        return None
    # A dead channel keeps its own row: copied from a live row it would be live, in every operand of the Add.
    rows = np.append(np.flatnonzero(~silent), shown)
    spread = np.full(labels.size, rows.size - shown.size, np.int64)
    spread[rows] = np.arange(rows.size)
    read = int(analysis.live[step.flow.dense.sources].sum())
    wide, narrow = int(live.sum()), own + int(shown.size)
    saved = costs.contraction_ms(step.op, read, wide) - costs.contraction_ms(step.op, read, narrow)
    copied = costs.selection_ms(dims, axis, wide, False, step.op.dtype(0).itemsize)
    return Narrowing(number, axis, rows, spread, saved - _FUSION_FACTOR * copied)
