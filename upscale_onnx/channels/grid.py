"""Positions within a channel map: how a narrowed or reordered value relates to the original one.

An *emission* says what a value holds after a rewrite. It is an integer array with the rank of the value,
the new sizes along its channel axes and 1 elsewhere. Each entry is the flat position, in the original map,
of the channel that is there now.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from upscale_onnx.types import Array, BoolArray, IntArray


def full_emission(shape: Sequence[int]) -> IntArray:
    """The emission of a value that is left as it is."""
    return np.arange(int(np.prod(shape)), dtype=np.int64).reshape(tuple(shape))


def is_full(emission: IntArray, shape: Sequence[int]) -> bool:
    """Whether the value holds all channels of a map of `shape`, in the original order."""
    return emission.shape == tuple(shape) and bool((emission.ravel() == np.arange(emission.size)).all())


def coordinates(emission: IntArray, shape: Sequence[int]) -> tuple[IntArray, ...]:
    """The original index along each axis, per entry of the emission."""
    # For an array of several axes, numpy's result is wrong from the 8192nd entry on (seen in 2.4); for a vector not.
    found = np.unravel_index(emission.ravel(), tuple(shape))
    return tuple(np.asarray(c, np.int64).reshape(emission.shape) for c in found)


def axis_positions(emission: IntArray, shape: Sequence[int], axis: int) -> IntArray:
    """The original indices along `axis`, as a vector; they must be the same at all indices of the other axes.

    Raises:
        ValueError: the emission is not a product along this axis.
    """
    index = np.moveaxis(coordinates(emission, shape)[axis], axis, -1).reshape(-1, emission.shape[axis])
    if len(index) == 0 or (index != index[0]).any():
        raise ValueError("emission is ragged")
    row: IntArray = index[0]
    return row


def written_out(emission: IntArray, shape: Sequence[int], sizes: Sequence[int]) -> IntArray:
    """The emission of the same value by a map of shape `sizes`, with entries along axes where `shape` has none: all
    indices of these axes are held."""
    index = []
    for axis, (coordinate, size) in enumerate(zip(coordinates(emission, shape), sizes, strict=True)):
        ruler = np.arange(size).reshape([-1 if other == axis else 1 for other in range(len(sizes))])
        index.append(coordinate if shape[axis] > 1 or size == 1 else ruler)
    full = np.broadcast_shapes(*(c.shape for c in index)) if index else ()
    flat = np.ravel_multi_index(tuple(np.broadcast_to(c, full) for c in index), tuple(sizes)) if index else 0
    return np.asarray(flat, np.int64)


def take(array: Array, emission: IntArray, shape: Sequence[int]) -> Array:
    """The entries of `array` that the emission keeps. `array` must broadcast to a value with a map of `shape`.

    Where `array` has size 1 along all channel axes, or all entries are kept in their order, it is returned as it is.
    """
    rank = len(shape)
    aligned = array.reshape((1,) * (rank - array.ndim) + array.shape)
    touched = [axis for axis in range(rank) if shape[axis] > 1 and aligned.shape[axis] > 1]
    if not touched or is_full(emission, shape):
        return array
    if len(touched) == 1 and (row := _common_row(emission, shape, touched[0])) is not None:
        result = aligned.take(row, touched[0])
        return result.reshape(result.shape[rank - array.ndim :])
    sizes = [shape[axis] if shape[axis] > 1 else aligned.shape[axis] for axis in range(rank)]
    wide = np.broadcast_to(aligned, sizes)
    index: list[IntArray] = []
    for axis, coordinate in enumerate(coordinates(emission, shape)):
        if shape[axis] > 1:
            index.append(coordinate)
            continue
        spread = np.arange(wide.shape[axis], dtype=np.int64)
        index.append(spread.reshape([-1 if other == axis else 1 for other in range(rank)]))
    picked: Array = wide[tuple(np.broadcast_arrays(*index))]
    while picked.ndim > array.ndim and picked.shape[0] == 1:
        picked = picked[0]
    return picked


def _common_row(emission: IntArray, shape: Sequence[int], axis: int) -> IntArray | None:
    """The indices along `axis` if they are the same in every row, else None."""
    try:
        return axis_positions(emission, shape, axis)
    except ValueError:
        return None


def without_axis(array: Array, axis: int) -> Array:
    """The array without its `axis`, which has size 1."""
    narrow: Array = array.reshape([size for other, size in enumerate(array.shape) if other != axis])
    return narrow


def rows_along(labels: IntArray, axis: int) -> IntArray:
    """The grid `(rows, entries)` or `(rows, entries, inner)` that `axis` forms with the axes around it."""
    rows, inner = int(np.prod(labels.shape[:axis])), int(np.prod(labels.shape[axis + 1 :]))
    shape = (rows, labels.shape[axis], inner) if inner > 1 else (rows, labels.shape[axis])
    return labels.reshape(shape)


def rows_over(labels: IntArray, axes: Sequence[int]) -> IntArray:
    """The grid `(rows, entries)`: the entries of a row differ along `axes` only."""
    behind = np.moveaxis(labels, list(axes), list(range(-len(axes), 0)))
    return behind.reshape(-1, int(np.prod([labels.shape[axis] for axis in axes])))


def locate(wanted: IntArray, emission: IntArray) -> IntArray:
    """The index of each wanted position in the flattened emission; -1 where it is not there."""
    flat = emission.ravel()
    if flat.size == 0:
        return np.full(wanted.shape, -1, np.int64)
    order = np.argsort(flat, kind="stable")
    slot = np.minimum(np.searchsorted(flat[order], wanted), flat.size - 1)
    found = order[slot]
    result: IntArray = np.where(flat[found] == wanted, found, -1)
    return result


def rectangle(where: Sequence[IntArray], sizes: Sequence[int]) -> tuple[int, ...] | None:
    """The shape of the full grid that elements with these row-major coordinates form; None where they form none."""
    total = where[0].size if where else 1
    if total == 0:
        return (0,) * len(where)
    shape: list[int] = []
    blocks = 1
    starts = np.zeros(total, bool)
    starts[:1] = True
    for coordinate in where:
        starts[1:] |= coordinate[1:] != coordinate[:-1]
        count = int(starts.sum())
        if count % blocks:
            return None
        shape.append(count // blocks)
        blocks = count
    if blocks != total or int(np.prod(shape)) != total:
        return None
    # Every block must start at the same stride; otherwise rows have different lengths.
    for axis, coordinate in enumerate(where):
        grid = coordinate.reshape(*shape[: axis + 1], -1)
        if (grid != grid[..., :1]).any():
            return None
    return tuple(shape)


def even_out(kept: BoolArray) -> BoolArray:
    """A small superset of `kept` that is rectangular: all rows in use have the same number of entries, along
    every axis. Rows without an entry stay empty where the grid can stay even so.
    """
    kept = kept.copy()
    if kept.ndim == 0 or not kept.any():
        return kept
    for axis in range(kept.ndim - 1, 0, -1):
        # Entries along `axis` are whole blocks: the axes behind it are already even.
        blocks = kept.reshape(*kept.shape[: axis + 1], -1)
        used = blocks.any(-1)
        rows = used.reshape(-1, used.shape[-1])
        counts = rows.sum(-1)
        target = counts.max()
        width = int(blocks.sum(-1).max())
        flat = blocks.reshape(-1, *blocks.shape[-2:])
        for row in np.flatnonzero((counts > 0) & (counts < target)):
            spare = np.flatnonzero(~rows[row])[: target - counts[row]]
            for entry in spare:
                flat[row, entry] = _revived(kept, axis, width, flat.shape[-1])
        kept = flat.reshape(kept.shape)
    return kept


def aligned_out(kept: BoolArray) -> BoolArray:
    """The smallest superset of `kept` that is a product of indices along all axes."""
    product = kept.copy()
    product[np.ix_(*(kept.any(tuple(a for a in range(kept.ndim) if a != axis)) for axis in range(kept.ndim)))] = True
    return product


def _revived(kept: BoolArray, axis: int, width: int, size: int) -> BoolArray:
    """The entries to keep in a block that had none: those of a block in use."""
    blocks = kept.reshape(-1, size)
    pattern: BoolArray = blocks[int(np.argmax(blocks.sum(-1) == width))]
    return pattern
