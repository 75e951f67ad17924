"""The loss that training lowers: of labels, of a teacher's scores, or of both."""

from __future__ import annotations

import torch
from torch.nn import functional

from upscale_onnx.errors import ArgumentError
from upscale_onnx.training.settings import Training


def training_loss(
    scores: torch.Tensor, labels: torch.Tensor, taught: torch.Tensor | None, settings: Training
) -> torch.Tensor:
    """The mean loss over samples. scores, taught: (N, classes) unnormalised or logarithms of probabilities, of the
    network and of its teacher.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, section 2: both are softened by the
    temperature T, and the term counts T^2, so that its gradients do not shrink with T.
    """
    own = functional.cross_entropy(scores, labels, label_smoothing=settings.label_smoothing)
    if taught is None:
        return own
    heat, share = settings.temperature, settings.distill_weight
    soft = functional.log_softmax(scores / heat, dim=1)
    goal = functional.log_softmax(taught / heat, dim=1)
    distance = functional.kl_div(soft, goal, reduction="batchmean", log_target=True)
    return share * heat**2 * distance + (1.0 - share) * own


def class_scores(output: torch.Tensor, labels: torch.Tensor, last: str) -> torch.Tensor:
    """The model's first output as scores (N, classes). last: the operator that makes it; probabilities become their
    logarithms.

    Raises: ArgumentError where it holds no scores of these labels.
    """
    if output.ndim < 2 or output[0].numel() != output.shape[1] or output.shape[0] != labels.shape[0]:
        raise ArgumentError(f"the first output is {tuple(output.shape)}: training needs one score per sample and class")
    scores = output.reshape(output.shape[0], -1).float()
    if int(labels.min()) < 0 or int(labels.max()) >= scores.shape[1]:
        raise ArgumentError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, the model has {scores.shape[1]} classes"
        )
    return torch.log(scores.clamp(min=torch.finfo(scores.dtype).tiny)) if last == "Softmax" else scores
