"""onnxruntime's GatherBlockQuantized: an embedding of few bits, with a scale for each block of columns of each row.

Columns of zeros leave one by one: the table is cut to whole blocks, as it is stored, and where a block keeps some of
its columns, a Gather behind the node selects these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Request, Resize, Rule
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.embedding import looked_up
from upscale_onnx.errors import Reason
from upscale_onnx.model.packing import packed, unpacked
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array, FloatArray, IntArray

_TABLE, _INDEX, _SCALES, _POINTS = 0, 1, 2, 3
_BITS = (2, 4, 8)
_TYPES = ("int4", "uint4", "uint8")
_BLOCK = 128  # by default
_ROWS = 4096  # unpacked at once


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A table as it is stored: of bytes, or of integers of four bits each.

    size: the columns of a block; the last one may have fewer. columns: in all. scales: `(V, blocks)`. points: those of
    blocks, packed as the table is; None where they are left out.
    """

    bits: int
    size: int
    columns: int
    content: Array
    scales: Array
    points: Array | None

    @property
    def packs(self) -> bool:
        """Whether several columns may share an entry of the table."""
        return self.content.dtype == np.uint8

    def state(self) -> FloatArray:
        """What each column holds, `(C,)`: zero, or what varies. Rows beyond the table are zeros, too."""
        zeros = np.ones(self.columns, bool)
        for start in range(0, len(self.content), _ROWS):
            rows = slice(start, start + _ROWS)
            point = self._point(None if self.points is None else self.points[rows])
            idle = self._integers(self.content[rows], self.columns) == point
            zeros &= (idle | self._wide(self.scales[rows] == 0)).all(0)
        finite = np.repeat(np.isfinite(self.scales).all(0), self.size)[: self.columns]
        return np.where(finite, np.where(zeros, 0.0, VARYING), WILD)

    def cut(self, blocks: IntArray) -> dict[int, Array]:
        """The constants that hold some of the blocks."""
        places = (blocks[:, None] * self.size + np.arange(self.size)).ravel()
        places = places[places < self.columns]
        each = 8 // self.bits if self.packs else 1
        made = {_TABLE: self.content[:, places[::each] // each], _SCALES: self.scales[:, blocks]}
        if self.points is None:
            return made
        points = self._integers(self.points, self.scales.shape[1])[:, blocks]
        return {**made, _POINTS: packed(points, self.bits) if self.packs else self.points[:, blocks]}

    def _point(self, points: Array | None) -> Array:
        if points is None:
            return np.asarray(1 << self.bits - 1 if self.packs else 0)
        return self._wide(self._integers(points, self.scales.shape[1]))

    def _wide(self, of_blocks: Array) -> Array:
        return np.repeat(of_blocks, self.size, axis=1)[:, : self.columns]

    def _integers(self, stored: Array, count: int) -> Array:
        return unpacked(stored, self.bits, count) if self.packs else stored.astype(np.int8)


class BlockEmbedding(Rule):
    """Table `(V, C)`, indices of any rank, scales and zero points of blocks along the columns. The last axis of the
    result has C channels."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        blocks, rank = _blocks(op), op.in_rank(_INDEX)
        if rank is None:
            raise Refused(Reason.UNKNOWN_SHAPE, "rank of the indices is not known")
        labels, shape = fresh(blocks.columns), (*[1] * rank, -1)
        out = ChannelMap(labels.reshape(shape), blocks.state().reshape(shape), table=True)
        return looked_up(out, labels, maps[_INDEX])

    def resize(self, op: Op, request: Request) -> Resize:
        labels, blocks = request.result.labels, _blocks(op)
        positions = request.choose.positions(labels.ravel())
        emission = positions.reshape([-1 if size > 1 else 1 for size in labels.shape])
        kept = np.unique(positions // blocks.size)
        held = np.flatnonzero(np.isin(np.arange(blocks.columns) // blocks.size, kept))
        constants = {} if held.size == blocks.columns else blocks.cut(kept)
        if np.array_equal(positions, held):
            return Resize((emission,), constants)
        made = NewNode(op.op_type, tuple(range(len(op.present))), attrs=op.attrs, domain=op.domain)
        places = np.searchsorted(held, positions).astype(np.int64)
        return Resize((emission,), constants, replace=(NewNode("Gather", (made, places), attrs={"axis": -1}),))


def _blocks(op: Op) -> _Blocks:
    """The table of a node. Raises `Refused` where its inputs do not fit its attributes."""
    bits, size = int(op.attrs.get("bits", 4)), int(op.attrs.get("block_size", _BLOCK))
    content, scales, points = op.constant(_TABLE), op.constant(_SCALES), op.constant(_POINTS)
    if content is None or scales is None or op.is_dynamic(_POINTS):
        raise Refused(Reason.DYNAMIC_PARAMETER, "table, scales or zero points are computed at run time")
    axes = int(op.attrs.get("gather_axis", 0)) % 2, int(op.attrs.get("quantize_axis", 1)) % 2
    if content.ndim != 2 or content.dtype.name not in _TYPES or bits not in _BITS or size % 8 or size < 1:
        raise Refused(Reason.UNSUPPORTED_FORM, f"a table of {content.dtype} with {content.ndim} axes")
    if axes != (0, 1):
        raise Refused(Reason.UNSUPPORTED_FORM, "blocks along other axes than the columns of rows")
    columns = content.shape[1] * (8 // bits if content.dtype == np.uint8 else 1)
    count = -(-columns // size)
    if scales.shape != (len(content), count) or columns < 2:
        raise Refused(Reason.UNSUPPORTED_FORM, f"scales of shape {scales.shape} for {columns} columns")
    found = _Blocks(bits, size, columns, content, scales, points)
    entries = -(-count * bits // 8) if found.packs else count
    if points is not None and (points.shape != (len(content), entries) or points.dtype != content.dtype):
        raise Refused(Reason.UNSUPPORTED_FORM, f"zero points of shape {points.shape}")
    return found


register(BlockEmbedding(), "GatherBlockQuantized", domain=RUNTIME_DOMAIN)
