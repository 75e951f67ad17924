"""How much of what a network makes passes through each of its nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from upscale_onnx.channels.analysis import Analysis
from upscale_onnx.channels.step import Step


def signal_shares(analysis: Analysis) -> list[float]:
    """Per step, the share of the signal in the graph's outputs that passes through it.

    All of it passes through the layers of a chain, a part through branches: what joins values divides the share among
    them, a Concat by their channels, everything else evenly; what reads one value together gives it the sum. So the
    shares of what is computed side by side add up to 1.

    Source: Yu et al., "NISP: Pruning Networks using Neuron Importance Score Propagation", CVPR 2018, section 3.2, on
    carrying importance back from the outputs; here for whole values and by the shape of the graph alone.
    """
    through: dict[str, float] = defaultdict(float)
    for name in analysis.outputs:
        through[name] = 1.0 / len(analysis.outputs)
    shares = [0.0] * len(analysis.steps)
    for place in reversed(range(len(analysis.steps))):
        step = analysis.steps[place]
        shares[place] = sum(through[name] for name in step.outputs)
        for name, part in _divided(step):
            through[name] += part * shares[place]
    return shares


def _divided(step: Step) -> Iterator[tuple[str, float]]:
    """The values that the step computes on, and the part of its signal that comes from each."""
    read = [place for place, known in enumerate(step.maps) if known is not None]
    sizes = [_channels(step, place) if step.op.op_type == "Concat" else 1 for place in read]
    for place, size in zip(read, sizes, strict=True):
        yield step.inputs[place], size / sum(sizes)


def _channels(step: Step, place: int) -> int:
    known = step.maps[place]
    return 1 if known is None else max(known.labels.size, 1)
