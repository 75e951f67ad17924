"""A read-only view of one node: what a rule needs to know, and nothing it could edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from onnx import helper

from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason
from upscale_onnx.model.contractions import WeightLayout, weight_layout
from upscale_onnx.types import Array, Dims


@dataclass(frozen=True, eq=False)
class Op:
    """One node as the rules see it.

    inputs: per input, the name of its value.
    constants: per input, the constant array; None where it is computed at run time or absent.
    known: per input, whether it is a constant; empty where only `constants` tell.
    present: per input, whether it is connected.
    in_dims, out_dims: dimensions per input and output (int, symbol or None); None for unknown rank.
    shape_values: per input, the entries of a short integer vector (a shape, say), None for entries that are not known.
    dtypes: per input, the ONNX element type, 0 where unknown.
    used: per output, whether it is read.
    blocks: per input, the axis and the size of the blocks in which a constant is quantised, None where it is not.
    guarded: the input that a Where returns only where it is not NaN; None where there is none.
    copied: per operand that an Expand made, the axes, counted from the last one, along which it holds copies.
    divides_safely: whether no divisor of a Div is ever zero.
    between: whether a product by a constant makes neurons that only products along the same axis read.
    onnx_opset: the version of ONNX's own operators, in which new nodes are written. `opset`: that of the node's domain.
    """

    op_type: str
    opset: int = 23
    domain: str = ""
    name: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    constants: Sequence[Array | None] = ()
    known: tuple[bool, ...] = ()
    present: tuple[bool, ...] = ()
    in_dims: tuple[Dims | None, ...] = ()
    out_dims: tuple[Dims | None, ...] = ()
    shape_values: tuple[Dims | None, ...] = ()
    dtypes: tuple[int, ...] = ()
    used: tuple[bool, ...] = (True,)
    blocks: tuple[tuple[int, int] | None, ...] = ()
    guarded: int | None = None
    copied: Mapping[int, frozenset[int]] = field(default_factory=dict)
    divides_safely: bool = False
    between: bool = False
    onnx_opset: int = 23

    def has(self, index: int) -> bool:
        """Whether input `index` is connected."""
        return index < len(self.present) and self.present[index]

    def constant(self, index: int) -> Array | None:
        """The constant at input `index`, None where there is none."""
        return self.constants[index] if index < len(self.constants) else None

    def is_constant(self, index: int) -> bool:
        """Whether input `index` is a constant. Nothing is decoded, where `known` says it."""
        return self.known[index] if index < len(self.known) else self.constant(index) is not None

    @property
    def weight(self) -> tuple[Array, WeightLayout] | None:
        """The constant weight of a contraction, and the layout of its axes; None where there is none."""
        found = self.weight_shape
        array = None if found is None else self.constant(found[1].operand)
        return None if array is None or found is None else (array, found[1])

    def dtype(self, index: int) -> np.dtype[Any]:
        """The numpy type of input `index`, float32 where unknown."""
        code = self.dtypes[index] if index < len(self.dtypes) else 0
        return np.dtype(np.float32) if code == 0 else np.dtype(helper.tensor_dtype_to_np_dtype(code))

    @cached_property
    def weight_shape(self) -> tuple[tuple[int, ...], WeightLayout] | None:
        """The shape of the weight, and its layout, as `weight` says. Nothing is decoded."""
        operand = 1 if self.is_constant(1) else 0
        dims = self.in_dims[operand] if self.is_constant(operand) else None
        layout = None if dims is None else weight_layout(self.op_type, self.attrs, len(dims), operand)
        return None if layout is None or dims is None else (tuple(dim for dim in dims if isinstance(dim, int)), layout)

    def is_dynamic(self, index: int) -> bool:
        """Whether input `index` is connected and computed at run time."""
        return self.has(index) and not self.is_constant(index)

    def in_rank(self, index: int) -> int | None:
        """Rank of input `index`, None where unknown."""
        dims = self.in_dims[index] if index < len(self.in_dims) else None
        return None if dims is None else len(dims)

    def axis(self, name: str, default: int, rank: int) -> int:
        """The attribute `name` as a non-negative axis, from 0 to `rank` itself (the end).

        Raises: Refused where there is no such axis.
        """
        value = int(self.attrs.get(name, default))
        if not -rank <= value <= rank:
            raise Refused(Reason.UNSUPPORTED_FORM, f"attribute {name} is {value}, but there are {rank} axes")
        return value + rank if value < 0 else value
