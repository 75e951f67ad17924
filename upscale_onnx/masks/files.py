"""Mask files: which channels of which weights to prune, as .npz or .json.

A key is the name of a weight, with `@input` or `@output` behind it where it says which channels it means;
without one, `--side` decides. The value is one entry per channel (true or 1 = kept); JSON also takes an
object `{"pruned": [indices]}` or `{"kept": [entries]}` with an optional `"side"`. For a weight of several matrices, as
those of experts, it may be a row of these for each matrix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, cast

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.arrays import read_arrays
from upscale_onnx.files.reading import read_json, shortened
from upscale_onnx.options import Side
from upscale_onnx.types import Array, BoolArray

_SIDES = ("input", "output")


@dataclass(frozen=True)
class ChannelMask:
    """The entry of a mask file for one weight: `kept`, one bool per channel, `pruned`, channel indices, or `each`, an
    entry for each matrix of the weight.

    side: which channels of the weight are meant; None leaves it to the options.
    """

    weight: str
    kept: tuple[bool, ...] | None = None
    pruned: tuple[int, ...] | None = None
    side: Side | None = None
    each: tuple[ChannelMask, ...] = ()

    def resolve(self, channels: int, matrices: int = 1) -> BoolArray:
        """Mask (True = kept) over `channels` channels, `(channels,)`, or `(matrices, channels)` where there is an entry
        for each matrix.

        Raises: ArgumentError where the number of entries differs or an index is out of range.
        """
        if self.each:
            if len(self.each) != matrices:
                there = "the weight is one matrix" if matrices == 1 else f"there are {matrices} matrices"
                raise ArgumentError(f"the mask of {self.weight!r} has {len(self.each)} rows, {there}")
            return np.stack([one.resolve(channels) for one in self.each])
        if self.kept is not None:
            if len(self.kept) != channels:
                raise ArgumentError(f"the mask of {self.weight!r} has {len(self.kept)} entries for {channels} channels")
            return np.array(self.kept, dtype=np.bool_)
        kept = np.ones(channels, dtype=np.bool_)
        for index in self.pruned or ():
            if not 0 <= index < channels:
                raise ArgumentError(f"the mask of {self.weight!r} prunes channel {index} of {channels}")
            kept[index] = False
        return kept


def read_masks(path: str | os.PathLike[str]) -> tuple[ChannelMask, ...]:
    """The masks in the file at `path`, in its order.

    Raises: ArgumentError where the file is missing, malformed or neither .npz nor .json.
    """
    file = Path(path)
    reader = {".npz": _read_npz, ".json": _read_json}.get(file.suffix.lower())
    if reader is None:
        raise ArgumentError(f"{file}: a mask file ends in .npz or .json")
    masks = reader(file)
    try:
        return tuple(masks)
    except ArgumentError as error:
        raise ArgumentError(f"{file}: {error}") from error


def _read_npz(file: Path) -> Iterator[ChannelMask]:
    arrays = read_arrays(file)
    return (_from_array(key, array) for key, array in arrays.items())


def _from_array(key: str, array: Array) -> ChannelMask:
    weight, side = _split_key(key)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biu" or not np.isin(array, (0, 1)).all():
        raise ArgumentError(f"{key!r} is not one bool per channel but {array.dtype} of shape {array.shape}")
    return _of_entries(weight, key, array.astype(bool).tolist(), side)


def _read_json(file: Path) -> Iterator[ChannelMask]:
    content = read_json(file, "mask file")
    if not isinstance(content, dict):
        raise ArgumentError(f"{file}: not a JSON object of weight names")
    return (_from_json(key, value) for key, value in content.items())


def _from_json(key: str, value: object) -> ChannelMask:
    weight, side = _split_key(key)
    if isinstance(value, list):
        return _of_entries(weight, key, value, side)
    if not isinstance(value, dict) or not value.keys() <= {"kept", "pruned", "side"}:
        raise ArgumentError(f"{key!r} is neither a list of 0 and 1 nor an object with 'kept' or 'pruned', and 'side'")
    if ("kept" in value) == ("pruned" in value):
        raise ArgumentError(f"{key!r} needs one of 'kept' and 'pruned'")
    stated = value.get("side", side)
    if stated not in (None, *_SIDES) or side not in (None, stated):
        raise ArgumentError(f"{key!r} has side {shortened(stated)}: use 'input' or 'output', once")
    side = cast("Side | None", stated)
    if "kept" in value:
        return _of_entries(weight, key, value["kept"], side)
    if _is_of_rows(value["pruned"]):
        rows = tuple(ChannelMask(weight, pruned=_indices(key, row)) for row in value["pruned"])
        return ChannelMask(weight, side=side, each=rows)
    return ChannelMask(weight, pruned=_indices(key, value["pruned"]), side=side)


def _of_entries(weight: str, key: str, value: object, side: Side | None) -> ChannelMask:
    if _is_of_rows(value):
        rows = tuple(ChannelMask(weight, kept=_entries(key, row)) for row in value)
        return ChannelMask(weight, side=side, each=rows)
    return ChannelMask(weight, kept=_entries(key, value), side=side)


def _is_of_rows(value: object) -> TypeGuard[list[list[object]]]:
    """Whether there is a row for each matrix of the weight."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) for row in value)


def _entries(key: str, value: object) -> tuple[bool, ...]:
    # 1.0 equals 1 in Python, but only bool and int are accepted as entries.
    if not isinstance(value, list) or not all(isinstance(v, int) and v in (0, 1) for v in value):
        raise ArgumentError(f"{key!r} is not a list of 0 and 1 (or false and true)")
    return tuple(bool(v) for v in value)


def _indices(key: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(v) is int and v >= 0 for v in value):
        raise ArgumentError(f"'pruned' of {key!r} is not a list of channel indices")
    return tuple(value)


def _split_key(key: str) -> tuple[str, Side | None]:
    weight, at, side = key.rpartition("@")
    return (weight, cast(Side, side)) if at and side in _SIDES else (key, None)
