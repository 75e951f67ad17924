"""A few channels at a time, with a few updates between, by the change of the loss that a Taylor series predicts."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting

_ROUNDS = 10
_SHARE = 0.5  # of all steps during which is pruned


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """Equal cuts with the same number of updates before each.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
    section 2: criterion of equation 8, layer-wise normalisation of section 2.2; with ":flops=F" behind the criterion,
    the regularisation of section 2.3.
    """
    span = max(int(setting.steps * _SHARE), 1)
    rounds = min(setting.rounds or _ROUNDS, span)
    between = setting.updates or max(span // rounds, 1)
    return {round_ * between: Cut(setting.amount * round_ / rounds) for round_ in range(1, rounds + 1)}


SCHEDULE = Schedule("molchanov", cuts, "taylor:norm=l2", "global")
