"""Operators that work within each channel (poolings, Resize, Upsample), and those that move channels into
spatial axes or back (DepthToSpace, SpaceToDepth)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map, vector_map
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Request, Resize, Role, Rule
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_room
from upscale_onnx.channels.rules.conv import is_padded
from upscale_onnx.channels.rules.run_time_sizes import known_entries, overwritten
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, IntArray


class Pooling(Rule):
    """Global and windowed max, average and Lp poolings. Constant channels stay constant where padding has no effect."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        if any(axis > 1 for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on a pooled axis")
        kept = found.state == 0
        if "Lp" not in op.op_type and (op.op_type != "AveragePool" or not _shows_padding(op)):
            kept = is_constant(found.state)
        state = np.where(kept, found.state, np.where(is_wild(found.state), WILD, VARYING))
        out = found.with_state(state)
        if op.op_type == "MaxPool" and len(op.used) > 1 and op.used[1]:
            return Flow((out, _places(op, out)))
        return Flow((out,), role=Role.POOLING)

    def resize(self, op: Op, request: Request) -> Resize:
        return Resize((request.first_input()[1],) * len(request.out))


def _places(op: Op, pooled: ChannelMap) -> ChannelMap:
    """The map of the places of maxima. They stand in the value that is pooled, counted over all of its axes."""
    dims = op.in_dims[0]
    if dims is None:
        raise Refused(Reason.UNKNOWN_SHAPE, "rank of the input is not known")
    return replace(pooled.with_state(np.where(is_wild(pooled.state), WILD, VARYING)), places=dims[2:])


def _shows_padding(op: Op) -> bool:
    return bool(op.attrs.get("count_include_pad", 0)) and (is_padded(op) or bool(op.attrs.get("ceil_mode", 0)))


class Resample(Rule):
    """Resize and Upsample that do not change the channel axis."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        factors, sizes = self._factors(op, found.rank), self._sizes(op, found.rank)
        for axis in found.axes:
            if sizes is not None and sizes[axis] is None:
                raise Refused(Reason.DYNAMIC_PARAMETER, "sizes are computed at run time")
            if factors is not None and factors[axis] != 1:
                raise Refused(Reason.UNSUPPORTED_FORM, "resamples the channel axis")
            if sizes is not None and sizes[axis] != found.shape[axis]:
                raise Refused(Reason.UNSUPPORTED_FORM, "resamples the channel axis")
        outside = op.attrs.get("coordinate_transformation_mode", "") == "tf_crop_and_resize"
        kept = is_constant(found.state) & (not outside)
        return Flow((found.with_state(np.where(kept, found.state, np.where(is_wild(found.state), WILD, VARYING))),))

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        sizes = self._sizes(op, found.rank)
        if sizes is None or emission.shape == found.shape:
            return Resize((emission,))
        axes = self._chosen(op, found.rank)
        if op.is_dynamic(3):
            new = [emission.shape[axis] if found.shape[axis] > 1 else None for axis in axes]
            changed = any(entry is not None for entry in new)
            return Resize((emission,), computed={3: overwritten(op, 3, new)} if changed else {})
        entries = [emission.shape[a] if found.shape[a] > 1 else s for a, s in enumerate(sizes)]
        full = [s if isinstance(s, int) else 0 for s in entries]
        return Resize((emission,), {3: np.asarray([full[a] for a in axes], np.int64)})

    def _chosen(self, op: Op, rank: int) -> list[int]:
        axes = op.attrs.get("axes")
        return list(range(rank)) if not axes else [int(axis) % rank for axis in axes]

    def _factors(self, op: Op, rank: int) -> list[float] | None:
        if op.op_type == "Upsample" and "scales" in op.attrs:
            return [float(x) for x in op.attrs["scales"]]
        where = 1 if op.op_type == "Upsample" or op.opset < 11 else 2
        if not op.has(where):
            return None
        scales = op.constant(where)
        if scales is None:
            raise Refused(Reason.DYNAMIC_PARAMETER, "scales are computed at run time")
        if scales.size == 0:
            return None
        return _spread(scales, self._chosen(op, rank), rank, 1.0)

    def _sizes(self, op: Op, rank: int) -> list[int | None] | None:
        if op.op_type == "Upsample" or op.opset < 11 or not op.has(3):
            return None
        if op.attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise Refused(Reason.UNSUPPORTED_FORM, "sizes that keep the aspect ratio")
        sizes, axes = op.constant(3), self._chosen(op, rank)
        if sizes is None:
            known = dict(zip(axes, known_entries(op, 3, len(axes)), strict=True))
            given = op.in_dims[0] or (None,) * rank
            return [known[a] if a in known else d if isinstance(d, int) else None for a, d in enumerate(given)]
        spread = _spread(sizes, axes, rank, float("nan"))
        dims = op.in_dims[0] or (None,) * rank
        return [int(s) if s == s else (d if isinstance(d, int) else None) for s, d in zip(spread, dims, strict=True)]


def _spread(values: Array, axes: Sequence[int], rank: int, missing: float) -> list[float]:
    if values.size != len(axes):
        raise Refused(Reason.UNSUPPORTED_FORM, "scales or sizes do not match the rank")
    result = [missing] * rank
    for axis, value in zip(axes, values.ravel(), strict=True):
        result[axis] = float(value)
    return result


class _Blocks(Rule):
    """The base of rules for operators that exchange axis 1, of channels, for square blocks of places."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        if any(axis != 1 for axis in found.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie beside axis 1")
        if found.shape[1] == 1:
            return Flow((found.with_state(np.where(is_wild(found.state), WILD, VARYING)),))
        return self.exchange(op, found)

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if found.shape[1] == 1:
            return Resize((emission,))
        return Resize((self.exchanged(op, found, emission.ravel()).reshape(1, -1, *(1,) * (found.rank - 2)),))

    @abstractmethod
    def exchange(self, op: Op, found: ChannelMap) -> Flow:
        """The flow of several channels."""

    @abstractmethod
    def exchanged(self, op: Op, found: ChannelMap, positions: IntArray) -> IntArray:
        """The positions that the output emits where the input emits `positions`."""


class DepthToSpace(_Blocks):
    """X `(N, b²·C, H, W)` becomes `(N, C, b·H, b·W)`. The b² channels that form one output channel are one class."""

    def exchange(self, op: Op, found: ChannelMap) -> Flow:
        grid, state = _by_result(op, found.labels.ravel()), _by_result(op, found.state.ravel())
        same = (state == state[:, :1]).all(1)
        content = np.where(same, state[:, 0], np.where(is_wild(state).any(1), WILD, VARYING))
        out = vector_map(np.ascontiguousarray(grid[:, 0]), content, found.rank, 1)
        return Flow((out,), ties=((grid, grid[:, :1]),))

    def exchanged(self, op: Op, found: ChannelMap, positions: IntArray) -> IntArray:
        area = int(op.attrs["blocksize"]) ** 2
        if positions.size % area:
            raise Misaligned(found.labels)
        whole, left = _by_result(op, np.arange(found.shape[1])), _by_result(op, positions)
        home = np.empty(found.shape[1], np.int64)
        home[whole] = np.arange(len(whole))[:, None]
        rows = home[left[:, 0]]
        # Each output channel that is left must be made of the same input channels as before, in the same order.
        if not np.array_equal(whole[rows], left):
            raise Misaligned(found.labels)
        return rows


def _by_result(op: Op, vector: Array) -> Array:
    """`(C, b²)`: the entries of `vector` for the input channels of each output channel, in the order of the mode."""
    area = int(op.attrs["blocksize"]) ** 2
    if not area or vector.size % area:
        raise Refused(Reason.UNSUPPORTED_FORM, f"{vector.size} channels in blocks of {area}")
    if op.attrs.get("mode", "DCR") == "CRD":
        return vector.reshape(-1, area)
    return vector.reshape(area, -1).T


class SpaceToDepth(_Blocks):
    """X `(N, C, b·H, b·W)` becomes `(N, b²·C, H, W)`. Every channel appears b² times."""

    def exchange(self, op: Op, found: ChannelMap) -> Flow:
        area = int(op.attrs["blocksize"]) ** 2
        if not area:
            raise Refused(Reason.UNSUPPORTED_FORM, "a block size of zero")
        check_room(found.labels.size, area)
        labels, state = np.tile(found.labels.ravel(), area), np.tile(found.state.ravel(), area)
        return Flow((vector_map(labels, state, found.rank, 1),))

    def exchanged(self, op: Op, found: ChannelMap, positions: IntArray) -> IntArray:
        area = int(op.attrs["blocksize"]) ** 2
        return (np.arange(area)[:, None] * found.shape[1] + positions).ravel()


register(Pooling(), "MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool")
register(Resample(), "Resize", since=10)
register(Resample(), "Upsample", until=10)
register(DepthToSpace(), "DepthToSpace")
register(SpaceToDepth(), "SpaceToDepth")
