"""GatherND and ScatterND: whole slices of the data, named by their leading indices, which carry the channels behind."""

from __future__ import annotations

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import take
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.embedding import Embedding
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, FloatArray, IntArray

_DATA, _INDICES, _UPDATES = 0, 1, 2


def _depth(op: Op) -> tuple[int, int]:
    """How many axes of the data the indices name, and the rank of the indices."""
    constant = op.constant(_INDICES)
    dims = op.in_dims[_INDICES] if constant is None else constant.shape
    if not dims or not isinstance(dims[-1], int):
        raise Refused(Reason.UNKNOWN_SHAPE, "how many axes are indexed is not known")
    return dims[-1], len(dims)


class _Embedding(Embedding):
    """Data `(…, C)`, constant, indices `(…, k)`: the last axis holds the channels."""

    def result_rank(self, op: Op, table: Array) -> int:
        depth, rank = _depth(op)
        if depth >= table.ndim or op.attrs.get("batch_dims", 0):
            raise Refused(Reason.UNSUPPORTED_FORM, "single elements, or rows of a batch, of a constant table")
        return rank - 1 + table.ndim - depth

    def channel_axis(self, op: Op, table: Array) -> int:
        return table.ndim - 1


class GatherND(Rule):
    """Data `(…, C, …)`, indices `(…, k)`: the axes behind the k indexed ones, and behind batch axes, are carried. Of a
    constant table, the columns are channels."""

    def __init__(self) -> None:
        self._embedding = _Embedding()

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        if op.constant(_DATA) is not None:
            return self._embedding.flow(op, maps, fresh)
        found = known_map(maps[_DATA])
        start, rank = self._bounds(op)
        if any(axis < start for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on an indexed axis")
        shape = (1,) * (rank - 1) + found.shape[start:]
        return Flow((ChannelMap(found.labels.reshape(shape), found.state.reshape(shape)),))

    def resize(self, op: Op, request: Request) -> Resize:
        if op.constant(_DATA) is not None:
            return self._embedding.resize(op, request)
        _, emission = request.first_input()
        start, rank = self._bounds(op)
        return Resize((emission.reshape((1,) * (rank - 1) + emission.shape[start:]),))

    def _bounds(self, op: Op) -> tuple[int, int]:
        """The first axis of the data that is carried, and the rank of the indices."""
        depth, rank = _depth(op)
        return int(op.attrs.get("batch_dims", 0)) + depth, rank


class ScatterND(Rule):
    """Data `(…, C, …)`, indices `(…, k)`, updates `(…, C, …)`: the axes behind the k indexed ones are carried. Data or
    updates may be constant."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        depth, _ = _depth(op)
        behind = {index: _behind(op, index, maps, depth) for index in (_DATA, _UPDATES)}
        shape = next(found.shape for found in behind.values() if found is not None)
        for index, found in behind.items():
            if (found is None and not _fits(op, index, shape)) or (found is not None and found.shape != shape):
                raise Refused(Reason.MIXED_LAYOUT, "data and updates differ in their channels")
        known = [found for found in behind.values() if found is not None]
        labels = known[0].labels
        lead = (1,) * (_rank(op, _DATA) - labels.ndim)
        state = _scattered(op, [_state(op, index, found, shape) for index, found in behind.items()])
        out = ChannelMap(labels.reshape(lead + shape), state.reshape(lead + shape))
        ties = tuple((labels, found.labels) for found in known[1:])
        places = maps[_INDICES]
        reads = () if places is None else (Read(_INDICES, places.labels.ravel()),)
        return Flow((out,), ties, reads, fixed=() if places is None else (places.labels,))

    def resize(self, op: Op, request: Request) -> Resize:
        rank = len(request.result.shape) - _depth(op)[0]
        shape = request.result.shape[len(request.result.shape) - rank :]
        given: IntArray | None = None
        for index in (_DATA, _UPDATES):
            emission = request.emissions[index]
            if op.is_constant(index):
                continue
            if emission is None:
                raise Misaligned(request.result.labels)
            held = emission.reshape(emission.shape[emission.ndim - rank :])
            if given is not None and not (given.shape == held.shape and np.array_equal(given, held)):
                raise Misaligned(request.result.labels)
            given = held
        assert given is not None
        constants: dict[int, Array] = {}
        for index in (_DATA, _UPDATES):
            constant = op.constant(index)
            if constant is not None and (small := take(constant, *_aligned(given, shape, constant))) is not constant:
                constants[index] = small
        lead = (1,) * (len(request.result.shape) - rank)
        return Resize((given.reshape(lead + given.shape),), constants)


def _rank(op: Op, index: int) -> int:
    constant = op.constant(index)
    rank = constant.ndim if constant is not None else op.in_rank(index)
    if rank is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of an operand is not known")
    return rank


def _behind(op: Op, index: int, maps: Maps, depth: int) -> ChannelMap | None:
    """The map of data or updates without the leading axes that are indexed; None for a constant."""
    if op.is_constant(index):
        return None
    found = known_map(maps[index], "data or updates")
    first = found.rank - (_rank(op, _DATA) - depth)
    if first < 0 or any(axis < first for axis in found.axes):
        raise Refused(Reason.MIXED_LAYOUT, "channels lie on an indexed axis")
    return ChannelMap(found.labels.reshape(found.shape[first:]), found.state.reshape(found.shape[first:]))


def _fits(op: Op, index: int, shape: tuple[int, ...]) -> bool:
    """Whether a constant has all channels."""
    constant = op.constant(index)
    sizes = () if constant is None else constant.shape[constant.ndim - len(shape) :]
    return len(sizes) == len(shape) and all(s == 1 or s == n for s, n in zip(shape, sizes, strict=True))


def _state(op: Op, index: int, found: ChannelMap | None, shape: tuple[int, ...]) -> FloatArray:
    if found is not None:
        return found.state
    constant = op.constant(index)
    if constant is None or constant.dtype.kind not in "fiub":
        return np.full(shape, VARYING)
    whole = constant_content(constant, (1,) * (constant.ndim - len(shape)) + shape)
    return np.full(shape, VARYING) if whole is None else whole.reshape(shape)


def _scattered(op: Op, states: list[FloatArray]) -> FloatArray:
    data, updates = states
    same = is_constant(data) & (data == updates)
    if op.attrs.get("reduction", "none") != "none":
        same &= data == 0
    return np.where(is_wild(data) | is_wild(updates), WILD, np.where(same, data, VARYING))


def _aligned(given: IntArray, shape: tuple[int, ...], constant: Array) -> tuple[IntArray, tuple[int, ...]]:
    lead = (1,) * (constant.ndim - len(shape))
    return given.reshape(lead + given.shape), lead + shape


register(GatherND(), "GatherND", since=11)
register(ScatterND(), "ScatterND", since=11)
