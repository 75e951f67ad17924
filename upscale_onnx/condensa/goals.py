"""What a user wants of an objective, as the paper's search operators say it."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.condensa.objectives import Objective
from upscale_onnx.errors import ArgumentError


@dataclass(frozen=True)
class Goal:
    """What is wanted of an objective."""

    objective: Objective

    def __post_init__(self) -> None:
        if not hasattr(self.objective, "measure"):
            raise ArgumentError(f"{self.objective!r} is no objective: give one such as Throughput() or Size()")

    @property
    def name(self) -> str:
        """The name of the objective."""
        return type(self.objective).__name__

    def gain(self, value: float) -> float:
        """A number that is larger for better values."""
        return value if self.objective.larger_is_better else -value

    def allows(self, value: float) -> bool:
        """Whether `value` is allowed, whatever is wanted beside."""
        return True


@dataclass(frozen=True)
class Maximize(Goal):
    """As large as the accuracy allows.

    >>> from upscale_onnx.condensa import Maximize, Throughput
    >>> Maximize(Throughput()).name
    'Throughput'
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.objective.larger_is_better:
            raise ArgumentError(f"{self.name} is better the smaller it is: use Minimize")


@dataclass(frozen=True)
class Minimize(Goal):
    """As small as the accuracy allows.

    >>> from upscale_onnx.condensa import Minimize, Size
    >>> Minimize(Size()).name
    'Size'
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective.larger_is_better:
            raise ArgumentError(f"{self.name} is better the larger it is: use Maximize")


@dataclass(frozen=True)
class Constrain(Goal):
    """At most `value`, or at least `value` where larger is better, with as little compression as that takes.

    >>> from upscale_onnx.condensa import Constrain, MACs
    >>> Constrain(MACs(), 1e6).allows(2e6)
    False
    """

    value: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.value < float("inf"):
            raise ArgumentError(f"{self.name} is constrained to {self.value}: give a number above 0")

    def margin(self, value: float) -> float:
        """By what share of the bound `value` keeps it; below 0 where it does not."""
        return self.gain(value - self.value) / self.value

    def allows(self, value: float) -> bool:
        """Whether `value` keeps the bound."""
        return self.margin(value) >= 0
