"""How a network is trained, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import FRACTION, LOSS, NATURAL, PORTION, POSITIVE, POSITIVE_NUMBER

Optimizer = Literal["sgd", "adam", "adamw"]
RateSchedule = Literal["one-cycle", "cosine", "step", "constant"]
Augmentation = Literal["none", "flip", "crop", "crop-flip"]
Norms = Literal["train", "freeze", "unfold"]
Initial = Literal["pretrained", "random"]
Precision = Literal["float32", "bfloat16"]
Kept = Literal["best", "last"]
Where = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Training:
    """The settings of a training.

    epochs: passes over the training data. batch: samples of one step, where the model does not fix it.
    optimizer, momentum, nesterov: momentum counts for "sgd" alone. rate: the highest learning rate.
    schedule: of the learning rate (see `optimizing.rate_at`).
    weight_decay: L2 regularisation for "sgd" and "adam", decoupled for "adamw". l1: what the sum of the absolute values
        of weights counts in the loss.
    label_smoothing: the share of a label's weight that all classes get alike.
    augment: "flip" mirrors half of the images, "crop" shifts images by up to an eighth of their size, "crop-flip" both.
    norms: whether BatchNormalization trains and normalises with the statistics of the batch, or stays as it is.
        "unfold" also puts norms behind convolutions with a bias while training, and folds them in at the end.
    init: whether training starts from the model's weights, or from He initialisation.
    precision: in which convolutions and products are computed. Weights are always float32.
    temperature, distill_weight: of a teacher's scores, and what they count beside the labels (1: alone).
    keep: which epoch's weights are the result; of equal accuracies, the first is the best.
    threads, device: where PyTorch computes. "auto" is a GPU where PyTorch has one, else the processor. In onnxruntime,
        models are judged on the processor.

    >>> from upscale_onnx import Training
    >>> Training(epochs=5, rate=0.01).optimizer
    'sgd'
    """

    epochs: Annotated[int, POSITIVE] = 10
    batch: Annotated[int, POSITIVE] = 128
    optimizer: Optimizer = "sgd"
    rate: Annotated[float, POSITIVE_NUMBER] = 0.02
    momentum: Annotated[float, FRACTION] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, LOSS] = 5e-4
    l1: Annotated[float, LOSS] = 0.0
    schedule: RateSchedule = "one-cycle"
    label_smoothing: Annotated[float, FRACTION] = 0.0
    augment: Augmentation = "none"
    norms: Norms = "train"
    init: Initial = "pretrained"
    precision: Precision = "float32"
    temperature: Annotated[float, POSITIVE_NUMBER] = 4.0
    distill_weight: Annotated[float, PORTION] = 0.9
    keep: Kept = "best"
    seed: Annotated[int, NATURAL] = 0
    threads: Annotated[int, POSITIVE] = 1
    device: Where = "auto"

    def __post_init__(self) -> None:
        check_group(self)
