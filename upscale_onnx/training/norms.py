"""Norms in training: BatchNormalization nodes, and norms behind convolutions that they were folded into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import torch

from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.torch_backend.values import Tensor
from upscale_onnx.training.learned import Learned

EPSILON = 1e-5  # of norms that stand behind convolutions only while training


@dataclass(frozen=True, eq=False)
class Norm:
    """The tensors of a norm. shift: the name of its shift, which is the bias of a convolution if it stands behind one
    only while training."""

    shift: str
    scale: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def new(cls, shift: str, channels: int) -> Norm:
        """A norm as training from the beginning has it."""
        return cls(shift, torch.ones(channels), torch.zeros(channels), torch.ones(channels))


def norm_nodes(model: onnx.ModelProto) -> tuple[onnx.NodeProto, ...]:
    """The BatchNormalization nodes of the main graph."""
    return tuple(
        node for node in model.graph.node if node.op_type == "BatchNormalization" and node.domain in STANDARD_DOMAINS
    )


def unfoldable(model: onnx.ModelProto, learned: Mapping[str, Learned]) -> dict[str, str]:
    """The weights of convolutions that a norm can have been folded into, with their biases: both are learned, no other
    node reads them, and no norm follows."""
    uses = Counter(name for node in model.graph.node for name in node.input)
    normed = {node.input[0] for node in norm_nodes(model)}
    found = {}
    for node in model.graph.node:
        if node.op_type != "Conv" or node.domain not in STANDARD_DOMAINS or len(node.input) < 3:
            continue
        weight, bias = node.input[1:3]
        if {weight, bias} <= learned.keys() and uses[weight] == uses[bias] == 1 and node.output[0] not in normed:
            found[weight] = bias
    return found
