"""Statistics for norms that are put behind convolutions for the time of training."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch

from upscale_onnx.torch_backend.network import RULES
from upscale_onnx.torch_backend.planned import PlannedNetwork
from upscale_onnx.torch_backend.values import Operator, Rule, Tensor, Value, tensor
from upscale_onnx.training.norms import EPSILON
from upscale_onnx.training.parameters import Parameters
from upscale_onnx.training.rules import inference


def estimate(parameters: Parameters, name: str, batches: Sequence[Tensor], *, fresh: bool) -> None:
    """Set the norms in `parameters.unfolded` on `batches` of the input called `name`.

    Mean and variance are those of what the convolution makes without its bias; scale and shift are such that the norm
    changes nothing. fresh: scale and shift are those of a new norm, 1 and 0, instead.
    """
    sums: dict[str, list[Tensor]] = {weight: [] for weight in parameters.unfolded}

    def watched(node: onnx.NodeProto) -> Rule | None:
        if node.op_type != "Conv" or len(node.input) < 3 or node.input[1] not in sums:
            return inference(node)
        found = sums[node.input[1]]

        def rule(operator: Operator, x: Value, kernel: Value, bias: Value) -> Tensor:
            made = tensor(RULES["Conv"](operator, x, kernel))
            rows = made.movedim(1, 0).flatten(1).double()
            found.append(torch.stack([rows.mean(dim=1), rows.square().mean(dim=1)]))
            return made + tensor(bias).reshape(1, -1, *[1] * (made.ndim - 2))

        return rule

    network = PlannedNetwork(parameters.model, parameters.live, {name: batches[0]}, watched)
    with torch.no_grad():
        for batch in batches:
            network(batch)
        for weight, norm in parameters.unfolded.items():
            mean, square = torch.stack(sums[weight]).mean(dim=0)
            norm.mean.copy_(mean)
            norm.variance.copy_(torch.clamp(square - mean.square(), min=0))
            norm.scale.copy_(torch.ones_like(mean) if fresh else torch.sqrt(norm.variance + EPSILON))
            shift = parameters.trained[norm.shift]
            shift.copy_(torch.zeros_like(shift) if fresh else shift + norm.mean)
    parameters.hold()
