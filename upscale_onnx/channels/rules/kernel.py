"""The weight of a contraction in one form for all operators: which channels it reads, and what is left of it
when channels go."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from upscale_onnx.channels.channel_map import WILD, is_constant
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray

_HELD_TWICE = 2**22  # elements of a weight of which a second copy may be held while it is cut


@dataclass(frozen=True, eq=False)
class DenseKernel:
    """A contraction in one form.

    weight: `(C_out, C_in/group, …)`. bias: `(C_out,)` in the weight's dtype, None where there is none.
    input, in_axis, out_axis: the index of the activation, its contracted axis, and the axis created.
    folds: whether a non-zero constant channel acts as a bias (there is no zero padding, and the operator
    has a bias).
    zero: the content of a channel that adds nothing, which is the zero point of a quantised activation.
    made: the contents of the result, `(C_out,)`, from those of the sums; None: they are the sums.
    rows: further constant inputs, by index, with an entry for each output channel.
    block_in, block_out: how many channels read, or made, one after the other share scales; 1: each has its own.
    """

    weight: Array
    bias: Array | None
    input: int
    in_axis: int
    out_axis: int
    group: int = 1
    folds: bool = True
    zero: float = 0.0
    made: Callable[[FloatArray], FloatArray] | None = None
    rows: Mapping[int, Array] = field(default_factory=dict)
    block_in: int = 1
    block_out: int = 1

    @property
    def channels_in(self) -> int:
        """Channels read."""
        return int(self.weight.shape[1]) * self.group

    @property
    def channels_out(self) -> int:
        """Channels created."""
        return int(self.weight.shape[0])

    @property
    def depthwise(self) -> bool:
        """Whether each group reads one channel, so that the node is a carrier and no contraction."""
        return self.group > 1 and self.weight.shape[1] == 1

    @cached_property
    def is_finite(self) -> bool:
        """Whether no weight is NaN or infinite."""
        return bool(np.isfinite(self.weight).all())


def nonzero(weight: Array) -> BoolArray:
    """`(C_out, C_in/group)` bool: where the weight's window is not all zero. NaN counts as non-zero."""
    hit: BoolArray = weight != 0
    window = math.prod(weight.shape[2:])
    if window != 1:
        # Along the short windows, numpy would take each one for itself.
        columns = np.ascontiguousarray(hit.reshape(weight.shape[0] * weight.shape[1], window).T)
        hit = np.any(columns, axis=0)
    return hit.reshape(weight.shape[:2])


def window_sums(weight: Array) -> FloatArray:
    """`(C_out, C_in/group)`: the weight summed over the kernel's window."""
    sums: FloatArray = weight.reshape(*weight.shape[:2], -1).sum(-1, dtype=np.float64)
    return sums


def bias_of(kernel: DenseKernel) -> FloatArray:
    if kernel.bias is None:
        return np.zeros(kernel.channels_out)
    return kernel.bias.astype(np.float64)


def made_of(kernel: DenseKernel, sums: FloatArray) -> FloatArray:
    """The contents of the result, from those of the sums."""
    return sums if kernel.made is None else kernel.made(sums)


def constant_sums(kernel: DenseKernel, state: FloatArray) -> FloatArray:
    """`(C_out,)`: the bias with what constant inputs add to it."""
    values = np.where(foldable(kernel, state), state, 0.0)
    return bias_of(kernel) + _contribution(kernel, np.arange(kernel.channels_out), values)


def folds(kernel: DenseKernel, state: FloatArray) -> BoolArray:
    """Marks the contents in `state` that contribute a known constant to the result."""
    folded: BoolArray = is_constant(state) & ((state == 0) | kernel.folds)
    return folded


def foldable(kernel: DenseKernel, state: FloatArray) -> BoolArray:
    """`(C_in,)` bool: the channels that can be dropped once their content is in the bias. Zero times an infinite
    weight is not zero, so a channel that such a weight reads stays."""
    folded = folds(kernel, state)
    if not folded.any() or kernel.is_finite:
        return folded
    per_in = kernel.channels_in // kernel.group
    finite = np.isfinite(kernel.weight).reshape(kernel.group, -1, per_in, int(np.prod(kernel.weight.shape[2:])))
    safe: BoolArray = folded & finite.all((1, 3)).ravel()
    return safe


def finite_or_wild(values: FloatArray) -> FloatArray:
    return np.where(np.isfinite(values), values, WILD)


def narrow(
    kernel: DenseKernel,
    blocks: tuple[tuple[IntArray, IntArray], ...],
    state: FloatArray,
    live: BoolArray,
    settled: FloatArray,
) -> DenseKernel:
    """The kernel that computes `blocks`, of one size, from their input and output channels. The contribution of removed
    constant channels moves into the bias. Rows of padding channels are zeroed, so that they cannot overflow; their bias
    is `settled`."""
    folded = foldable(kernel, state) & (state != 0)
    weights, biases = [], []
    for index_in, index_out in blocks:
        weight = _cut(kernel, index_out, index_in)
        padding = ~live[index_out]
        if padding.any() and (weight[padding] != 0).any():
            weight = weight.copy() if weight is kernel.weight else weight
            weight[padding] = 0
        weights.append(weight)
        absent = folded.copy()
        absent[index_in] = False
        bias = bias_of(kernel)[index_out]
        if absent.any():
            bias = bias + _contribution(kernel, index_out, np.where(absent, state, 0.0))
        biases.append(np.where(is_constant(settled[index_out]), settled[index_out], bias))
    bias_all = np.concatenate(biases).astype(kernel.weight.dtype)
    return replace(
        kernel,
        weight=weights[0] if len(weights) == 1 else np.concatenate(weights),
        bias=None if kernel.bias is None and not bias_all.any() else bias_all,
        group=len(blocks),
        rows=_cut_rows(kernel, np.concatenate([index_out for _, index_out in blocks])),
    )


def _contribution(kernel: DenseKernel, rows: IntArray, values: FloatArray) -> FloatArray:
    """What inputs with these `values` add to the sums of `rows`."""
    per_in, per_out = kernel.channels_in // kernel.group, kernel.channels_out // kernel.group
    read = values.reshape(kernel.group, per_in)[rows // per_out]
    used = read.any(0)
    if not used.any():
        return np.zeros(rows.size)
    # An infinite weight may stand where nothing is read.
    sums = np.where(read[:, used] != 0, window_sums(kernel.weight[rows][:, used]), 0.0)
    added: FloatArray = (sums * read[:, used]).sum(1)
    return added


def _cut_rows(kernel: DenseKernel, index_out: IntArray) -> Mapping[int, Array]:
    return {index: vector[index_out] for index, vector in kernel.rows.items()}


def _cut(kernel: DenseKernel, rows: IntArray, columns: IntArray) -> Array:
    """The weight between the output channels `rows` and the input channels `columns`: zeros between different groups.
    The weight itself where these are all channels of a single group."""
    if kernel.group == 1 and is_whole(rows, kernel.channels_out) and is_whole(columns, kernel.channels_in):
        return kernel.weight
    per_in, per_out = kernel.channels_in // kernel.group, kernel.channels_out // kernel.group
    read = columns % per_in
    if kernel.weight.size <= _HELD_TWICE:
        weight = kernel.weight.take(rows, 0).take(read, 1)
    else:  # in one step, which takes longer: cutting rows and then columns would hold a large weight twice
        weight = kernel.weight[np.ix_(rows, read)]
    if kernel.group > 1:
        weight[(rows // per_out)[:, None] != (columns // per_in)[None, :]] = 0
    return weight


def narrow_depthwise(kernel: DenseKernel, index_in: IntArray) -> tuple[DenseKernel, IntArray]:
    if is_whole(index_in, kernel.channels_in):
        return kernel, np.arange(kernel.channels_out)
    multiplier = kernel.channels_out // kernel.group
    index_out = (index_in[:, None] * multiplier + np.arange(multiplier)).ravel()
    bias = None if kernel.bias is None else kernel.bias[index_out]
    rows = _cut_rows(kernel, index_out)
    return replace(kernel, weight=kernel.weight[index_out], bias=bias, group=index_in.size, rows=rows), index_out


def is_whole(index: IntArray, size: int) -> bool:
    return index.size == size and bool((index == np.arange(size)).all())


def equal(left: Array | None, right: Array | None) -> bool:
    if left is None or right is None:
        return left is right
    return left is right or (left.shape == right.shape and np.array_equal(left, right, equal_nan=True))


def same_kernel(left: DenseKernel, right: DenseKernel) -> bool:
    same_weight = left.weight is right.weight
    return same_weight and left.group == right.group and equal(left.bias, right.bias)
