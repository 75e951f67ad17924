"""Layer by layer, with fine-tuning after each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """A cut of each layer in graph order; each has the same share of the training after it.

    Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020, section 2.2.
    """
    due: defaultdict[int, list[str]] = defaultdict(list)
    for number, weight in enumerate(setting.layers):
        due[number * setting.steps // len(setting.layers)].append(weight)
    return {step: Cut(amounts=tuple((weight, setting.amount) for weight in some)) for step, some in due.items()}


SCHEDULE = Schedule("layerwise", cuts, "l1")
