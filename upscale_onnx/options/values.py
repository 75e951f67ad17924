"""Options that are more than text and numbers, as values that never change: shares by layer, and arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Generic, TypeVar

import numpy as np

from upscale_onnx.options.ranges import Kind
from upscale_onnx.types import Array, Data

T = TypeVar("T")


class _Frozen(Mapping[str, T], Generic[T]):
    def __init__(self, values: Mapping[str, T]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> T:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Profile(_Frozen[float]):
    """The share of its channels that each layer keeps, by the name of its weight; others keep all."""

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"Profile({self._values})"


class Samples(_Frozen[Array]):
    """Arrays by the names of inputs, which cannot be written into. Equal to itself alone."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, values: Mapping[str, Array]) -> None:
        super().__init__({name: array.view() for name, array in values.items()})
        for array in self.values():
            array.flags.writeable = False

    def __repr__(self) -> str:
        return f"Samples({', '.join(f'{name}: {array.dtype} {array.shape}' for name, array in self.items())})"


def settled_profile(value: Any) -> Any:
    """A mapping of names to shares as a `Profile`, anything else as it is."""
    if isinstance(value, Profile) or not isinstance(value, Mapping):
        return value
    fits = all(isinstance(name, str) and isinstance(s, int | float) and 0 <= s <= 1 for name, s in value.items())
    return Profile({name: float(share) for name, share in value.items()}) if fits else value


def settled_data(value: Any) -> Any:
    """A mapping of names to arrays as `Samples`, an array as those of the only input, anything else as it is."""
    named = {"x": value} if isinstance(value, np.ndarray) else value
    if isinstance(named, Samples) or not isinstance(named, Mapping):
        return value
    fits = all(isinstance(name, str) and isinstance(array, np.ndarray) for name, array in named.items())
    return Samples(named) if fits else value


ProfileOption = Annotated[
    str | Mapping[str, float], Kind("text or a mapping of weights' names to shares from 0 to 1", (str, Profile))
]
DataOption = Annotated[Data, Kind("text or a mapping of arrays", (str, Samples))]
