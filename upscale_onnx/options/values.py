"""Values of options that are neither text nor numbers, made immutable: shares by layer, and arrays by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Generic, TypeVar

import numpy as np

from upscale_onnx.options.ranges import Range
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
    """The share (0 to 1) of its channels that each layer keeps, by the name of its weight. Other layers keep all."""

    def __hash__(self) -> int:
        return hash(frozenset(self.items()))

    def __repr__(self) -> str:
        return f"Profile({self._values})"


class Samples(_Frozen[Array]):
    """Read-only arrays by the names of inputs. Two are equal only if they are the same object."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, values: Mapping[str, Array]) -> None:
        super().__init__({name: array.view() for name, array in values.items()})
        for array in self.values():
            array.flags.writeable = False

    def __repr__(self) -> str:
        return f"Samples({', '.join(f'{name}: {array.dtype} {array.shape}' for name, array in self.items())})"


def settled_profile(value: Any) -> Any:
    """A mapping as a `Profile`, anything else as it is."""
    return Profile(value) if isinstance(value, Mapping) and not isinstance(value, Profile) else value


def settled_data(value: Any) -> Any:
    """A mapping of arrays, or one array for the only input, as `Samples`; anything else as it is."""
    named = {"x": value} if isinstance(value, np.ndarray) else value
    if isinstance(named, Samples) or not isinstance(named, Mapping):
        return value
    return Samples(named) if all(isinstance(array, np.ndarray) for array in named.values()) else value


def _is_profile(value: Any) -> bool:
    shares = () if isinstance(value, str) else value.values()
    return all(isinstance(share, int | float | np.floating) and 0 <= share <= 1 for share in shares)


_PROFILE = Range("text or a mapping of weights' names to shares from 0 to 1", _is_profile)
_DATA = Range("text or a mapping of arrays", lambda value: isinstance(value, str | Samples))
ProfileOption = Annotated[str | Mapping[str, float], _PROFILE]
DataOption = Annotated[Data, _DATA]
