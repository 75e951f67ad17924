"""MatMul with one constant matrix for each index of a batch axis: the experts of a mixture, say.

Each matrix reads and creates channels of its own. Of all matrices that stay, as many channels stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import full_emission
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, BoolArray, IntArray

# The axis of the matrices, from the end.
_BATCH = -3


@dataclass(frozen=True, eq=False)
class _Product:
    """A product with a batch of matrices.

    matrices: `(E, C_out, C_in)`. source: the map of the activation. read, made: the contracted axis and the one that is
    created, from the end. labels: `(E, C_in)`, the classes that each matrix reads. wild, zero: which of them may be
    infinite, and which hold zero. repeated: whether one matrix of activations is multiplied by all.
    """

    matrices: Array
    source: ChannelMap
    read: int
    made: int
    rank: int
    labels: IntArray
    wild: BoolArray
    zero: BoolArray
    repeated: bool

    @property
    def batched(self) -> bool:
        """Whether the activation has channels of its own for each matrix."""
        return self.source.rank >= -_BATCH and self.source.shape[_BATCH] > 1


class BatchedProduct(Rule):
    """The rule of a MatMul whose input `operand` holds the matrices, `(E, K, N)` or `(E, M, K)`."""

    data_inputs: int | None = None

    def __init__(self, operand: int) -> None:
        self._operand = operand

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        product = self._product(op, maps)
        count, made, _ = product.matrices.shape
        targets = fresh(count * made).reshape(count, made)
        finite = np.isfinite(product.matrices)
        # Zero times infinity is not zero.
        reading: BoolArray = np.not_equal(product.matrices, 0) | product.wild[:, None, :]
        folded = product.zero & finite.all(1)
        depends = (reading & ~folded[:, None, :]).any(2)
        wild = np.any(product.wild, axis=1, keepdims=True) | ~finite.all(2)
        content = np.where(wild, WILD, np.where(depends, VARYING, 0.0))
        reads = tuple(
            Read(1 - self._operand, labels, row, pattern, None, fold)
            for labels, row, pattern, fold in zip(product.labels, targets, reading, folded, strict=True)
        )
        shape = [1] * product.rank
        shape[_BATCH], shape[product.made] = count, made
        out = ChannelMap(targets.reshape(shape), content.reshape(shape))
        rows: tuple[IntArray, ...] = (product.labels,) if product.batched else ()
        if not product.batched and not product.repeated:
            # The activations of each matrix have no channels of their own, so that all of them stay.
            all_rows = fresh(count)
            rows, reads = (all_rows[:, None],), (*reads, Read(1 - self._operand, all_rows))
        parts = (*rows, targets)
        fixed = (product.labels, targets)
        return Flow((out,), (), reads, (Even(parts),), fixed, creates=True, role=Role.CONTRACTION)

    def resize(self, op: Op, request: Request) -> Resize:
        product, out = self._product(op, request.maps), request.result
        count, made, read = product.matrices.shape
        columns = self._columns(product, request)
        labels = out.labels.reshape(count, made)
        rows = {index: request.choose.positions(labels[index]) for index in columns}
        if product.repeated:
            rows = {index: row for index, row in rows.items() if row.size}
        if len({row.size for row in rows.values()}) != 1:
            raise Misaligned(product.labels, labels)
        live = request.choose.live(labels)
        cut = [
            np.where(live[index, row][:, None], product.matrices[index][np.ix_(row, columns[index])], 0)
            for index, row in rows.items()
        ]
        kept = np.stack([index * made + row for index, row in rows.items()])
        shape = [1] * product.rank
        shape[_BATCH], shape[product.made] = kept.shape
        emission = kept.reshape(shape)
        if all(column.size == read for column in columns.values()) and np.array_equal(
            emission.ravel(), full_emission(labels.shape).ravel()
        ):
            return Resize((emission,))
        old = op.constant(self._operand)
        leading = () if old is None else old.shape[:_BATCH]
        weight = np.stack(cut).astype(product.matrices.dtype)
        weight = weight.swapaxes(1, 2) if self._operand else weight
        return Resize((emission,), {self._operand: np.ascontiguousarray(weight).reshape(*leading, *weight.shape)})

    def _columns(self, product: _Product, request: Request) -> dict[int, IntArray]:
        """By the index of each matrix for which the activation still holds channels, what it reads of them."""
        count, _, read = product.matrices.shape
        emission = request.emissions[1 - self._operand]
        whole, wide = np.arange(read, dtype=np.int64), product.source.shape[product.read] > 1
        if emission is None or not (wide or product.batched):
            return dict.fromkeys(range(count), whole)
        flat = np.moveaxis(emission, product.read, -1).reshape(-1, emission.shape[product.read])
        if not product.batched:
            return dict.fromkeys(range(count), flat[0])
        width = read if wide else 1
        columns = flat % width if wide else np.broadcast_to(whole, (len(flat), read))
        return dict(zip((flat[:, 0] // width).tolist(), columns, strict=True))

    def _product(self, op: Op, maps: Maps) -> _Product:
        weight, source = op.constant(self._operand), known_map(maps[1 - self._operand], "the activation")
        assert weight is not None
        if any(size != 1 for size in weight.shape[:_BATCH]):
            raise Refused(Reason.UNSUPPORTED_FORM, f"weight of shape {weight.shape}")
        count, first, second = weight.shape[_BATCH:]
        matrices: Array = weight.reshape(count, first, second)
        matrices = matrices.swapaxes(1, 2) if self._operand else matrices
        size = int(matrices.shape[2])
        read, made = (-1, -1) if self._operand else (-2, -2)
        if source.rank < -made:
            raise Refused(Reason.UNSUPPORTED_FORM, f"weight of shape {weight.shape}")
        allowed = {source.rank + read, source.rank + _BATCH}
        if any(axis not in allowed for axis in source.axes):
            raise Refused(Reason.MIXED_LAYOUT, "channels lie on an axis that is not contracted")
        batch = source.shape[_BATCH] if source.rank >= -_BATCH else 1
        if batch not in (1, count) or source.shape[read] not in (1, size):
            raise Refused(Reason.UNSUPPORTED_FORM, "weight and activation disagree about the channel count")
        sizes = (batch, source.shape[read])
        labels = np.broadcast_to(source.labels.reshape(sizes), (count, size))
        state = np.broadcast_to(source.state.reshape(sizes), (count, size))
        rank = max(source.rank, weight.ndim)
        dims = op.in_dims[1 - self._operand] or ()
        repeated = source.rank < -_BATCH or (len(dims) == source.rank and dims[_BATCH] == 1)
        return _Product(matrices, source, read, made, rank, labels, is_wild(state), state == 0, repeated)
