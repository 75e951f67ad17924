"""The loss that training lowers: of labels, of a teacher's scores, or of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx
import torch
from torch.nn import functional

from upscale_onnx.torch_backend.values import Tensor
from upscale_onnx.training.settings import Training

Penalty = Callable[[Mapping[str, Tensor]], Tensor]
"""What is added to the loss, as a function of the weights by name."""


def training_loss(scores: Tensor, labels: Tensor, taught: Tensor | None, settings: Training) -> Tensor:
    """The mean loss over samples. scores, taught: (N, classes) unnormalised or logarithms of probabilities, of the
    network and of its teacher.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2: both are softened by the
    temperature T, and the term counts T^2, so that its gradients do not shrink with T.
    """
    if taught is None:
        return functional.cross_entropy(scores, labels, label_smoothing=settings.label_smoothing)
    heat, share = settings.temperature, settings.distill_weight
    soft, goal = (functional.log_softmax(x / heat, dim=1) for x in (scores, taught))
    distance = functional.kl_div(soft, goal, reduction="batchmean", log_target=True) * heat**2
    if share == 1:  # labels may be unknown
        return distance
    return share * distance + (1 - share) * training_loss(scores, labels, None, settings)


def l1_penalty(factor: float, names: Iterable[str]) -> Penalty:
    """`factor` times the sum of the absolute values of the weights with these names."""
    chosen = tuple(names)
    return lambda weights: factor * torch.stack([weights[name].abs().sum() for name in chosen]).sum()


def last_operator(model: onnx.ModelProto) -> str:
    """The operator that makes the model's first output."""
    name = model.graph.output[0].name
    return next((node.op_type for node in model.graph.node if name in node.output), "")


def as_logits(output: Tensor, last: str) -> Tensor:
    """The model's first output as scores (N, classes). last: the operator that makes it; probabilities become their
    logarithms."""
    scores = output.flatten(1).float()
    return torch.log(scores.clamp(min=torch.finfo(scores.dtype).tiny)) if last == "Softmax" else scores
