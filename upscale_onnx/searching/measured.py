"""What is measured of a profile."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Measured:
    """Means over the networks of a search.

    accuracy: top-1, 0 to 1; without labels None. distance: of outputs, without labels. params, macs, latency: shares of
    the unpruned model; latency is predicted, and None where no goal asks for it. compression: parameters of the
    unpruned model over those left. kept: the share that each decision really keeps. images: how many the accuracy was
    measured on. is_complete: whether these are all; otherwise the profile was given up, and its accuracy is that of a
    part.
    """

    params: float
    macs: float
    compression: float
    kept: tuple[float, ...]
    accuracy: float | None = None
    distance: float | None = None
    latency: float | None = None
    images: int = 0
    is_complete: bool = True

    def value(self, name: str) -> float:
        """The value called `name`."""
        found = getattr(self, name)
        if found is None:
            raise ValueError(f"{name} was not measured")
        return float(found)

    def with_accuracy(self, accuracy: float) -> Measured:
        """The same with another accuracy."""
        return self if self.accuracy is None else replace(self, accuracy=accuracy)

    def as_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Measured:
        """The inverse of `as_json`."""
        return cls(**{**found, "kept": tuple(found["kept"])})
