"""The loss whose gradients score channels."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from upscale_onnx.errors import ArgumentError
from upscale_onnx.torch_backend.values import Tensor, from_array
from upscale_onnx.types import Array


def loss(output: Tensor, labels: Array | None, last: str) -> Tensor:
    """The sum over samples of the cross-entropy of `output` (samples, classes) and `labels` (samples,).

    Without labels, the classes that the model itself predicts are used. If `output` has another form, the loss is its
    squared norm.

    last: the operator that made `output`. It tells whether the output holds scores, probabilities or their logarithms.

    Raises: ArgumentError if labels do not fit the output.
    """
    if output.ndim != 2 or output.shape[1] < 2:
        if labels is not None:
            raise ArgumentError(
                f"labels need a first output of (samples, classes), the model's is {tuple(output.shape)}: leave the"
                " labels out"
            )
        return output.square().sum()
    if last == "Softmax":
        log = torch.log(torch.clamp(output, min=float(torch.finfo(output.dtype).tiny)))
    else:
        log = output if last == "LogSoftmax" else functional.log_softmax(output, dim=1)
    if labels is None:
        return functional.nll_loss(log, output.detach().argmax(dim=1), reduction="sum")
    if labels.min() < 0 or labels.max() >= output.shape[1]:
        raise ArgumentError(f"labels are {labels.min()} to {labels.max()}, the model has {output.shape[1]} classes")
    return functional.nll_loss(log, from_array(labels.astype(np.int64)), reduction="sum")
