"""Channels are zeroed after every epoch and may come back, but for the last time."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """A cut after each epoch but the last. The one before the last epoch stays, so that this epoch makes up for it.

    Source: He et al., "Soft Filter Pruning", IJCAI 2018, algorithm 1.
    """
    last = setting.epochs - 1
    if not last:
        return {0: Cut(setting.amount)}
    return {e * setting.per_epoch: Cut(setting.amount, returns=e < last) for e in range(1, last + 1)}


SCHEDULE = Schedule("soft", cuts)
