"""Schedules of pruning in turns with training, by name."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules import gradual, han, layerwise, molchanov, one_shot, soft
from upscale_onnx.training.schedules.schedule import Cut, Schedule, ScheduleName, Setting

SCHEDULES: Mapping[str, Schedule] = {
    module.SCHEDULE.name: module.SCHEDULE for module in (one_shot, gradual, soft, han, molchanov, layerwise)
}

__all__ = ["SCHEDULES", "Cut", "Schedule", "ScheduleName", "Setting"]
