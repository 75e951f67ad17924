"""All at once, then fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """One cut before the first step.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.4, "prune once and retrain".
    """
    return {0: Cut(setting.amount)}


SCHEDULE = Schedule("one-shot", cuts)
