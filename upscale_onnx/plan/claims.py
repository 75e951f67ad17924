"""What an export claims about the values that it shares with the model from which it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from upscale_onnx.channels.channel_map import is_constant
from upscale_onnx.channels.grid import coordinates, is_full
from upscale_onnx.channels.rules.levels import is_level
from upscale_onnx.plan.plan import Plan
from upscale_onnx.results import Claim
from upscale_onnx.types import FloatArray, IntArray


def plan_claims(
    plan: Plan,
    constants: Mapping[str, FloatArray],
    narrowed: Mapping[str, tuple[int, int, IntArray]],
    replaced: Collection[str],
) -> Mapping[str, Claim]:
    """The claims, by value, of an export whose channels were removed by `plan`. The other arguments are fields of
    `Changes`: what earlier passes did."""
    claims: dict[str, Claim] = {}
    for name, emission in plan.emissions.items():
        found = plan.analysis.maps.get(name)
        if found is None or name in replaced or not emission.size:  # nothing can be claimed about a value that is gone
            continue
        if found.merged is not None or found.places is not None:
            continue  # claims are about axes as large as the map, and numbers that stay the same
        # Padding may hold anything, but where it is constant, readers may count on it.
        told = plan.emitted.live[found.labels.ravel()[emission]] | is_level(found).ravel()[emission]
        if found.copies is not None and not np.isin(np.flatnonzero(found.copies.where), emission[told]).all():
            continue  # what channels hold that are left out follows from other values of the original
        sizes, held = _original(emission, found.shape, narrowed.get(name))
        whole = told.all() and is_full(held, sizes)
        claims[name] = Claim(sizes, None if whole else np.where(told, held, -1), _constants(constants.get(name), sizes))
    return claims


def _original(
    emission: IntArray, shape: tuple[int, ...], cut: tuple[int, int, IntArray] | None
) -> tuple[tuple[int, ...], IntArray]:
    """The map shape of the original value, and the flat positions in it to which `emission` refers."""
    if cut is None:
        return shape, emission
    axis, size, positions = cut
    sizes = tuple(size if a == axis else n for a, n in enumerate(shape))
    index = list(coordinates(emission, shape))
    index[axis] = positions[index[axis]]
    return sizes, np.asarray(np.ravel_multi_index(index, sizes), np.int64)


def _constants(state: FloatArray | None, sizes: tuple[int, ...]) -> FloatArray | None:
    if state is None or len(state.shape) != len(sizes):
        return None
    if any(entries not in (1, size) for entries, size in zip(state.shape, sizes, strict=True) if size > 1):
        return None
    return np.where(is_constant(state), state, np.nan)
