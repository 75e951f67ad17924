"""Pruning in rounds: how much is pruned after each round."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.options import Schedule


@dataclass(frozen=True)
class Round:
    """Round `number` (from 1) of `count`."""

    number: int
    count: int
    schedule: Schedule

    @property
    def is_last(self) -> bool:
        """Whether this is the last round."""
        return self.number == self.count

    def share_left(self, final: float) -> float:
        """The share (0 to 1) that is left after this round, when `final` is left after the last."""
        share = self.number / self.count
        return final**share if self.schedule == "geometric" else 1.0 - (1.0 - final) * share

    def amount(self, final: float) -> float:
        """The share (0 to 1) that is pruned in all after this round, when `final` is pruned after the last."""
        return final if self.is_last else 1.0 - self.share_left(1.0 - final)


def rounds(count: int, schedule: Schedule) -> tuple[Round, ...]:
    """All rounds, in order."""
    return tuple(Round(number, count, schedule) for number in range(1, count + 1))
