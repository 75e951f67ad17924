"""More and more, quickly at first, and less towards the end."""

from __future__ import annotations

from collections.abc import Mapping

from upscale_onnx.training.schedules.schedule import Cut, Schedule, Setting

_ROUNDS = 10
_SHARE = 0.5  # of all steps during which is pruned


def cuts(setting: Setting) -> Mapping[int, Cut]:
    """Cuts at steps t0 = 0, dt, … n dt to the amounts s_t = s_f + (s_i - s_f) (1 - (t - t0) / (n dt))³, with s_i = 0.

    Source: Zhu and Gupta, "To prune, or not to prune", 2017, equation 1.
    """
    span = max(int(setting.steps * _SHARE), 1)
    rounds = min(setting.rounds or _ROUNDS, span)
    between = setting.updates or max(span // rounds, 1)
    final = setting.amount
    return {round_ * between: Cut(final - final * (1 - round_ / rounds) ** 3) for round_ in range(1, rounds + 1)}


SCHEDULE = Schedule("gradual", cuts)
