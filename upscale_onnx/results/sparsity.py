"""The zeros of a model, and a model with more of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from upscale_onnx.results.equality import EqualByValue
from upscale_onnx.results.shown import Shown
from upscale_onnx.types import BoolArray

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class TensorSparsity:
    """The zeros of one tensor.

    node: the first node that uses it.
    share: zeros / size.
    inputs, outputs: how many channels the node reads and makes; None if the tensor has no such channel axis.
    zero_inputs, zero_outputs: how many of these channels are all zero; None likewise.
    """

    name: str
    node: str
    op_type: str
    kind: str
    shape: tuple[int, ...]
    zeros: int
    size: int
    share: float
    zero_inputs: int | None
    inputs: int | None
    zero_outputs: int | None
    outputs: int | None


@dataclass(frozen=True)
class Sparsity(Shown):
    """The zeros of all tensors together and of each. share: zeros / size, 0 without tensors."""

    zeros: int
    size: int
    share: float
    tensors: tuple[TensorSparsity, ...]


@dataclass(frozen=True, eq=False)
class Sparsified(EqualByValue, Shown):
    """A pruned model.

    masks: by name, the masks of the pruned tensors, with their shapes, True = kept.
    skipped: names of chosen tensors without a channel axis on the side that was asked for.

    >>> import numpy, onnx
    >>> from upscale_onnx import Sparsified
    >>> print(Sparsified(onnx.ModelProto(), {"w": numpy.array([[True, False], [True, True]])}))
    1 weights of 1 tensor are pruned
    tensor  pruned  size  share
    w            1     4   0.25
    """

    model: onnx.ModelProto
    masks: Mapping[str, BoolArray]
    skipped: tuple[str, ...] = ()
