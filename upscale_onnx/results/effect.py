"""The effect of pruning on the outputs and the accuracy of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PruningEffect:
    """How far pruning moved the outputs of a model.

    data: what it was measured on.
    samples: how many samples it was measured on.
    distance: the largest |y - y'| / |y| over the outputs y (Euclidean norms over all samples); None if it could not be
    measured.
    accuracy_before, accuracy_after: top-1 accuracy, a share of 1; None if the calibration data has no labels.
    detail: why something was not measured.
    """

    data: str = ""
    samples: int = 0
    distance: float | None = None
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    detail: str = ""

    @property
    def loss(self) -> float | None:
        """The loss of accuracy if it is known, else the distance; None if nothing was measured."""
        if self.accuracy_before is None or self.accuracy_after is None:
            return self.distance
        return self.accuracy_before - self.accuracy_after

    @property
    def text(self) -> str:
        """All that is known, as one line of text."""
        said = []
        if self.accuracy_before is not None and self.accuracy_after is not None:
            said.append(f"top-1 went from {self.accuracy_before:.1%} to {self.accuracy_after:.1%}")
        if self.distance is not None:
            said.append(f"outputs moved by {self.distance:.3g} of their size, on {self.samples} samples ({self.data})")
        return "; ".join([*said, *([self.detail] if self.detail else [])])
