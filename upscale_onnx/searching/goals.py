"""Goals of a search: what is made small or large, and what has to hold."""

from __future__ import annotations

import re
from dataclasses import dataclass

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.searching.measured import Measured

COSTS = ("latency", "params", "macs")
LARGER_IS_BETTER = {
    "accuracy": True,
    "distance": False,
    "latency": False,
    "params": False,
    "macs": False,
    "compression": True,
}
"""Whether larger is better, by the name of an objective."""

QUALITY = ("accuracy", "distance")
_CONSTRAINT = re.compile(r"(?P<name>[a-z]+)(?P<sense><=|>=)(?P<bound>[0-9.eE+-]+)")


@dataclass(frozen=True)
class Constraint:
    """What has to hold. `accuracy`, like sizes, is a share of the unpruned model's; `compression` is a factor."""

    name: str
    at_most: bool
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The constraint in a text such as "latency<=0.5".

        Raises: ArgumentError where it is none.
        """
        found = _CONSTRAINT.fullmatch(text.strip())
        try:
            bound = float(found["bound"]) if found else 0.0
        except ValueError:
            bound = 0.0
        if found is None or not 0 < bound < float("inf"):
            raise ArgumentError(f"constraint {text!r}: write one as latency<=0.5 or accuracy>=0.85")
        name = _known(found["name"])
        at_most = found["sense"] == "<="
        if at_most == LARGER_IS_BETTER[name]:
            better = ">=" if at_most else "<="
            raise ArgumentError(f"constraint {text!r}: {name} can be limited by {better} only")
        return cls(name, at_most, bound)

    def violation(self, measured: Measured, baseline: float) -> float:
        """By what share of the bound it is missed; 0 or less where it holds. baseline: the unpruned accuracy."""
        value = measured.value(self.name)
        if self.name == "accuracy":
            value = value / baseline if baseline > 0 else 1.0
        off = value / self.bound - 1.0
        return off if self.at_most else -off

    def __str__(self) -> str:
        return f"{self.name}{'<=' if self.at_most else '>='}{self.bound:g}"


@dataclass(frozen=True)
class Goals:
    """objectives: names, of which one profile may be best or several may be none better than the other. constraints:
    all of them have to hold. baseline: the accuracy of the unpruned model."""

    objectives: tuple[str, ...] = ("accuracy", "params")
    constraints: tuple[Constraint, ...] = ()
    baseline: float = 1.0

    def __post_init__(self) -> None:
        for name in self.objectives:
            _known(name)
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ArgumentError("objectives are different names: give at least one")
        if not self.constraints and not any(name in QUALITY for name in self.objectives):
            raise ArgumentError("without accuracy among the objectives or constraints, the smallest model is the best")

    @property
    def names(self) -> tuple[str, ...]:
        """All that is measured for these goals."""
        return tuple(dict.fromkeys((*self.objectives, *(one.name for one in self.constraints))))

    @property
    def directions(self) -> tuple[str, ...]:
        """As optuna calls them."""
        return tuple("maximize" if LARGER_IS_BETTER[name] else "minimize" for name in self.objectives)

    @property
    def sizes(self) -> tuple[Constraint, ...]:
        """The constraints that need no images."""
        return tuple(one for one in self.constraints if one.name not in QUALITY)

    @property
    def cost(self) -> str:
        """What accuracy is given up for: the first size among objectives and constraints."""
        found = next((name for name in self.names if name not in QUALITY), "params")
        return "params" if found == "compression" else found

    def values(self, measured: Measured) -> list[float]:
        """One value for each objective."""
        return [measured.value(name) for name in self.objectives]

    def violations(self, measured: Measured) -> list[float]:
        """One number for each constraint, above 0 where it is missed."""
        return [one.violation(measured, self.baseline) for one in self.constraints]

    def holds(self, measured: Measured) -> bool:
        """Whether all constraints hold."""
        return all(value <= 1e-9 for value in self.violations(measured))

    def meets_sizes(self, measured: Measured) -> bool:
        """Whether the constraints hold that need no images."""
        return all(one.violation(measured, 1.0) <= 0 for one in self.sizes)

    def gains(self, measured: Measured) -> list[float]:
        """One value for each objective; larger is better."""
        return [
            value if LARGER_IS_BETTER[name] else -value
            for name, value in zip(self.objectives, self.values(measured), strict=True)
        ]


def _known(name: str) -> str:
    if name not in LARGER_IS_BETTER:
        known = ", ".join(LARGER_IS_BETTER)
        raise ArgumentError(f"no objective called {name!r}: use {known}{did_you_mean(name, LARGER_IS_BETTER)}")
    return name
