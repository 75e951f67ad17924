"""What a model loses when its layers lose channels, one by one and together."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.report import KeptChannels
from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class LayerSensitivity:
    """The loss of a model when channels of one layer alone are pruned.

    weight, node, op_type: the layer. channels: how many channels it has on the side that is pruned.
    kept: for each amount, how many channels are kept.
    values: for each amount, the measured value.
    losses: for each amount, by how much the value is worse than that of the unpruned model.
    largest_amount: the largest amount (0 to 1) for which this loss and those of all smaller amounts are tolerated; 0 if
        there is none.
    keep_ratio: the share (0 to 1) of channels that are kept at `largest_amount`.
    """

    weight: str
    node: str
    op_type: str
    channels: int
    kept: tuple[int, ...]
    values: tuple[float, ...]
    losses: tuple[float, ...]
    largest_amount: float
    keep_ratio: float


@dataclass(frozen=True)
class Together:
    """What layers keep when they are pruned together, each by `factor` times its own largest amount.

    factor: 0 to 1.
    unscaled_loss: the loss at the largest amounts. loss: the loss at the scaled amounts.
    profile: the channels that each layer keeps at the scaled amounts.
    """

    factor: float
    unscaled_loss: float
    loss: float
    profile: tuple[KeptChannels, ...]


@dataclass(frozen=True)
class Sensitivity(Shown):
    """The result of a scan.

    measure: what is measured, "top1" or "distance". samples: on how many samples.
    baseline: the value of the unpruned model.
    tolerated: the largest allowed loss.
    together: what layers keep when they are pruned together; None if that was not measured.

    >>> from upscale_onnx import Sensitivity
    >>> from upscale_onnx.results import LayerSensitivity
    >>> layer = LayerSensitivity("w", "conv", "Conv", 32, (23,), (0.97,), (0.002,), 0.3, 0.72)
    >>> print(Sensitivity("top1", 256, 0.972, 0.01, "input", "l2", (0.3,), (layer,)))
    1 of 1 layer can be pruned for a loss of 0.0100 in top1
    layer  channels   0.3  largest amount
    w            32  0.97             0.3
    """

    measure: str
    samples: int
    baseline: float
    tolerated: float
    side: str
    criterion: str
    amounts: tuple[float, ...]
    layers: tuple[LayerSensitivity, ...]
    together: Together | None = None
