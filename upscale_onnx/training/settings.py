"""How a network is trained, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import FRACTION, LOSS, NATURAL, POSITIVE, POSITIVE_NUMBER

Optimizer = Literal["sgd", "adam", "adamw"]
RateSchedule = Literal["one-cycle", "cosine", "step", "constant"]
Augmentation = Literal["none", "crop", "crop-flip"]
Norms = Literal["train", "freeze"]
Initial = Literal["pretrained", "random"]
Precision = Literal["float32", "bfloat16"]
Kept = Literal["best", "last"]


@dataclass(frozen=True)
class Training:
    """The settings of a training.

    epochs: passes over the training data. batch: samples of one step, where the model does not fix it.
    optimizer, rate, momentum, weight_decay: "sgd" has Nesterov momentum; `rate` is the highest learning rate.
    schedule: of the learning rate. "one-cycle" rises for a quarter and falls to nothing, "cosine" falls all the time,
        "step" falls to a tenth at half and again at three quarters.
    label_smoothing: the share of a label's weight that all classes get alike.
    augment: "crop" shifts images by up to an eighth of their size, "crop-flip" mirrors half of them, too.
    norms: whether BatchNormalization trains and normalises with the statistics of the batch, or stays as it is.
    init: whether training starts from the model's weights, or from He initialisation.
    precision: in which convolutions and products are computed. Weights are always float32.
    temperature, distill_weight: of a teacher's scores, and what they count beside the labels (1: alone).
    keep: which epoch's weights are the result; of equal accuracies, the first is the best.
    """

    epochs: Annotated[int, POSITIVE] = 10
    batch: Annotated[int, POSITIVE] = 128
    optimizer: Optimizer = "sgd"
    rate: Annotated[float, POSITIVE_NUMBER] = 0.02
    momentum: Annotated[float, FRACTION] = 0.9
    weight_decay: Annotated[float, LOSS] = 5e-4
    schedule: RateSchedule = "one-cycle"
    label_smoothing: Annotated[float, FRACTION] = 0.0
    augment: Augmentation = "none"
    norms: Norms = "train"
    init: Initial = "pretrained"
    precision: Precision = "float32"
    temperature: Annotated[float, POSITIVE_NUMBER] = 4.0
    distill_weight: Annotated[float, LOSS] = 0.9
    keep: Kept = "best"
    seed: Annotated[int, NATURAL] = 0
    threads: Annotated[int, POSITIVE] = 1

    def __post_init__(self) -> None:
        check_group(self)
