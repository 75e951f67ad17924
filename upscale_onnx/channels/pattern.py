"""Which results read which channels: one entry per entry of a weight, so it is kept small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from upscale_onnx.types import Array, BoolArray

_PLAIN = 1 << 16


@dataclass(frozen=True, eq=False)
class Pattern:
    """A matrix `(n_out, n_in)` of booleans: which target reads which position.

    A weight without channels has rows and columns of zeros and no other zeros. Its pattern is the product of two
    vectors. The entries of other large patterns are held as bits.
    """

    shape: tuple[int, int]
    _plain: BoolArray | None = None
    _product: tuple[BoolArray, BoolArray] | None = None
    _bits: Array | None = None

    @classmethod
    def of(cls, array: BoolArray) -> Pattern:
        """The pattern with these entries."""
        shape = array.shape[0], array.shape[1]
        if array.size <= _PLAIN:
            return cls(shape, _plain=array)
        rows, columns = np.asarray(array.any(1)), np.asarray(array.any(0))
        if int(rows.sum()) * int(columns.sum()) == int(np.count_nonzero(array)):
            return cls(shape, _product=(rows, columns))
        return cls(shape, _bits=np.packbits(array, axis=1))

    @property
    def size(self) -> int:
        """The number of entries."""
        return self.shape[0] * self.shape[1]

    def read_by(self, targets: BoolArray | None = None) -> BoolArray:
        """Which positions, `(n_in,)`, the targets read that are marked in `targets`, `(n_out,)`; None: all targets."""
        chosen = slice(None) if targets is None or targets.all() else targets
        if self._product is not None:
            rows, columns = self._product
            return columns if rows[chosen].any() else np.zeros_like(columns)
        if self._bits is not None:
            found = np.bitwise_or.reduce(self._bits[chosen], axis=0)
            return np.unpackbits(found, count=self.shape[1]).astype(bool)
        assert self._plain is not None
        return np.asarray(self._plain[chosen].any(0))

    def entries(self) -> BoolArray:
        """The whole matrix."""
        if self._product is not None:
            return np.logical_and.outer(*self._product)
        if self._bits is not None:
            return np.unpackbits(self._bits, axis=1, count=self.shape[1]).astype(bool)
        assert self._plain is not None
        return self._plain
