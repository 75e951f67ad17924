"""A lower bound of the latency: every contraction has exactly the channels that it demands, and selections are free."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.demand import demanded_positions
from upscale_onnx.channels.flow import Role
from upscale_onnx.channels.step import Step
from upscale_onnx.costs.costs import Costs, own_counts
from upscale_onnx.model.sizes import elements_of


@dataclass(frozen=True)
class Bound:
    """Latencies in milliseconds. input_ms: the latency of the model as it is. full_ms, demanded_ms: the time of its
    contractions with their own channel counts, and with those demanded. kept: the share (0 to 1) of the elements of
    all other operators that stays. bound_ms: the bound."""

    input_ms: float
    full_ms: float
    demanded_ms: float
    kept: float

    @property
    def bound_ms(self) -> float:
        """The contractions as demanded, and the rest in proportion to the channels kept."""
        rest = max(self.input_ms - self.full_ms, 0.0)
        # Where the predicted time of the contractions alone exceeds the measured latency, only their ratio is used.
        scale = min(self.input_ms / self.full_ms, 1.0) if self.full_ms > 0 else 1.0
        return self.demanded_ms * scale + rest * self.kept

    @property
    def ratio(self) -> float:
        """The bound over the input's latency."""
        return self.bound_ms / self.input_ms if self.input_ms > 0 else 1.0


def latency_bound(analysis: Analysis, costs: Costs, input_ms: float) -> Bound:
    """The bound of the analysed model, whose latency is `input_ms`."""
    full = demanded = elements = kept = 0.0
    for step, needed in zip(analysis.steps, analysis.needed, strict=True):
        own = own_counts(step.op) if step.flow.role is Role.CONTRACTION else None
        if own is None:
            whole = _elements(step)
            elements += whole
            kept += whole * _live_share(analysis, step) if needed else 0.0
            continue
        full += costs.contraction_ms(step.op, *own)
        if needed:
            demanded += costs.contraction_ms(step.op, *_demanded(analysis, step, own, costs.align))
    return Bound(input_ms, full, min(demanded, full), kept / elements if elements else 1.0)


def _demanded(analysis: Analysis, step: Step, own: tuple[int, int], align: int) -> tuple[int, int]:
    """The demanded channel counts (in, out), rounded up to blocks but never above the node's own counts."""
    channels_out = _block(round(own[1] * _live_share(analysis, step)), align, own[1])
    reads = step.flow.reads
    if not reads:  # depthwise: as many in as out
        multiplier = max(own[1] // max(own[0], 1), 1)
        return max(channels_out // multiplier, 1), channels_out
    wanted = sum(demanded_positions(read, analysis.live).size for read in reads)
    return _block(wanted, align, own[0]), channels_out


def _block(count: int, align: int, most: int) -> int:
    return min(max(-(-count // align), 1) * align, most)


def _live_share(analysis: Analysis, step: Step) -> float:
    """The share (0 to 1) of the first output's channels that is demanded."""
    out = step.flow.outputs[0] if step.flow.outputs else None
    return 1.0 if out is None else float(analysis.live[out.labels].mean())


def _elements(step: Step) -> float:
    dims = step.op.out_dims[0] if step.op.out_dims else None
    return 0.0 if dims is None else float(elements_of(dims))
