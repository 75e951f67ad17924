"""Sizes to try for the dimensions that a model leaves open."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from upscale_onnx.types import Dim

# Pairs of sizes for even and odd trials. Most image models take multiples of 32. Text models may take one window size
# only, which the later pairs try. Models of sound take windows of powers of two; very short ones show little.
_SPATIAL_SIZES = (
    (64, 96),
    (32, 64),
    (224, 256),
    (128, 160),
    (512, 768),
    (256, 512),
    (299, 331),
    (16, 24),
    (8, 12),
    (4, 6),
    (1, 2),
)
_SOUND_SIZES = ((512, 1536), (512, 512), (1024, 2048), (16000, 24000))
_SOUND_WORDS = ("audio", "samples", "sequence", "signal", "sound", "speech", "time", "wav")
_INTEGERS_BELOW = (None, 256, 8)
_SAMPLE_RATES = (16000, 8000)
_SINGLE = 1
# Tried last: a first axis that a graph picks entries of, such as the two ends of edges, needs more than one.
_LARGER_BATCHES = (2, 8)


@dataclass(frozen=True)
class TensorSpec:
    """An input whose type and rank are known."""

    name: str
    dtype: np.dtype[Any]
    dims: tuple[Dim, ...]

    @property
    def open_axes(self) -> tuple[int, ...]:
        """The axes whose size the caller chooses."""
        return tuple(axis for axis, dim in enumerate(self.dims) if not isinstance(dim, int))

    @property
    def is_integer(self) -> bool:
        """Whether its values are integers, not booleans."""
        return self.dtype.kind in "iu"

    @property
    def is_single(self) -> bool:
        """Whether it is a scalar or a vector of one number."""
        return self.dims in ((), (1,))


@dataclass(frozen=True)
class Sizes:
    """The sizes of the dynamic dimensions in one trial.

    batch: size of first axes.
    spatial: size of all other axes.
    states: whether the second axis of a 3-D input with a fixed first axis is a batch, too, as in the
    (layers, batch, features) of a recurrent state.
    integer: the value of integer scalars.
    integers_below: the bound of all other integers; None allows all that their type and reader allow.
    named: sizes that the user chose, by the names of the dimensions.
    """

    batch: int = 1
    spatial: int = 64
    states: bool = True
    integer: int = 1
    integers_below: int | None = _INTEGERS_BELOW[-1]
    named: tuple[tuple[str, int], ...] = field(default=())


def default_sizes(trial: int) -> Sizes:
    """Sizes for a model that nothing is known about. Odd trials use other sizes than even ones."""
    return Sizes(batch=_batch(trial), spatial=_SPATIAL_SIZES[0][trial % 2])


def candidate_sizes(
    specs: Sequence[TensorSpec], trial: int, batch: int | None, named: tuple[tuple[str, int], ...] = ()
) -> Iterator[Sizes]:
    """Sizes to try, the most varied ones first. Only what the model leaves open is varied."""
    axes = [(spec, axis) for spec in specs for axis in spec.open_axes]
    batches = (_batch(trial), _SINGLE) if batch is None else (batch,)
    several = any(spec.is_integer and not spec.is_single for spec in specs)
    scalars = any(spec.is_integer and spec.is_single for spec in specs)
    integers: tuple[int, ...] = (1 + trial % 8, 1, 0) if scalars else (1,)
    if any(_is_sample_rate(spec) for spec in specs):
        integers = tuple(dict.fromkeys((_SAMPLE_RATES[trial % 2], *_SAMPLE_RATES, *integers)))
    states = (True, False) if any(_is_state(spec, axis) for spec, axis in axes) else (True,)
    larger = _LARGER_BATCHES if batch is None and any(axis == 0 for _, axis in axes) else ()
    pairs = _pairs(axes)
    for some, pair in (*((batches, pair) for pair in pairs), (larger, pairs[0])):
        for integer, state, bound, spatial, size in itertools.product(
            integers,
            states,
            _INTEGERS_BELOW if several else _INTEGERS_BELOW[-1:],
            dict.fromkeys((pair[trial % 2], pair[0])),
            dict.fromkeys(some),
        ):
            yield Sizes(size, spatial, state, integer, bound, named)


def shape_of(spec: TensorSpec, dims: Sequence[Dim], sizes: Sizes, named: dict[str, int]) -> tuple[int, ...]:
    """The shape for `dims`, the dimensions of `spec` or of a value made from it.

    `named` holds the sizes of dimension names so far; new names are added to it.
    """
    shape = []
    for axis, dim in enumerate(dims):
        if isinstance(dim, int):
            shape.append(dim)
            continue
        is_batch = (axis == 0 and len(dims) > 1) or (sizes.states and _is_state(spec, axis))
        size = sizes.batch if is_batch else sizes.spatial
        shape.append(size if dim is None else named.setdefault(dim, size))
    return tuple(shape)


def _batch(trial: int) -> int:
    return 2 if trial == 1 else _SINGLE


def _pairs(axes: Sequence[tuple[TensorSpec, int]]) -> tuple[tuple[int, int], ...]:
    free = [(spec, axis) for spec, axis in axes if axis > 0 or len(spec.dims) == 1]
    if not free:
        return _SPATIAL_SIZES[:1]
    sound = all(_is_sound(spec, axis) or _is_state(spec, axis) for spec, axis in free)
    return (*_SOUND_SIZES, *_SPATIAL_SIZES) if sound else _SPATIAL_SIZES


def _is_sound(spec: TensorSpec, axis: int) -> bool:
    """Whether an open axis looks like the samples of a sound: the last axis of a floating-point input of rank 3 or less
    that either has a telling name or rank 2."""
    if spec.dtype.kind != "f" or len(spec.dims) > 3 or axis != len(spec.dims) - 1:
        return False
    dim, words = spec.dims[axis], spec.name.lower()
    named = isinstance(dim, str) and any(word in dim.lower() for word in _SOUND_WORDS)
    return named or any(word in words for word in _SOUND_WORDS) or len(spec.dims) == 2


def _is_state(spec: TensorSpec, axis: int) -> bool:
    return len(spec.dims) == 3 and axis == 1 and isinstance(spec.dims[0], int)


def _is_sample_rate(spec: TensorSpec) -> bool:
    return spec.is_integer and spec.is_single and (spec.name.lower() == "sr" or "rate" in spec.name.lower())
