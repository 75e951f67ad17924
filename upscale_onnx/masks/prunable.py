"""The prunable weights, those that an amount applies to."""

from __future__ import annotations

import onnx

from upscale_onnx.channels.analysis import analyse
from upscale_onnx.masks.outputs import reach_of_outputs
from upscale_onnx.masks.targets import MaskTarget, mask_targets, weight_uses
from upscale_onnx.model import import_graph, infer_shapes
from upscale_onnx.options import Side

# A consumer of fewer channels reads the colours of an image or a few features. A producer of fewer emits coordinates or
# scores. Pruning them gains nothing and loses much.
MINIMUM_CHANNELS = 8


def prunable_targets(model: onnx.ModelProto, side: Side) -> tuple[MaskTarget, ...]:
    """The mask targets to whose `side` an amount applies, in graph order.

    Left alone are sides of fewer than MINIMUM_CHANNELS channels, and on the output side depthwise nodes, which are
    carriers (their channels go with those of what feeds them), and layers that make the graph's outputs, class scores
    say, whatever stands between them and the end that is no layer.
    """
    wide = tuple(target for target in mask_targets(model) if target.channels(side) >= MINIMUM_CHANNELS)
    if side == "input":
        return wide
    makers, uses = reach_of_outputs(analyse(import_graph(model), infer_shapes(model))).makers, weight_uses(model)
    return tuple(target for target in wide if not target.is_depthwise and makers.isdisjoint(uses[target.weight]))
