"""LayerNormalization and RMSNormalization: each channel is divided by a deviation that all of them tell.

Channels that are known at all places may leave: what they add to the mean and to the variance is known. Of n channels,
let m be left, and let c and v be mean and variance of the others, which may differ from place to place. Then

    mean_n = m/n · mean_m + (1 - m/n) · c,    var_n = m/n · mean_m((x - mean_n)²) + (1 - m/n) · ((mean_n - c)² + v)

Of zeros, c and v are zero. Of zeros alone, scale and epsilon of an RMSNormalization take over the factor m/n.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_constant, is_wild, known_map, varying
from upscale_onnx.channels.evaluate import evaluate
from upscale_onnx.channels.flow import Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Rule
from upscale_onnx.channels.grid import is_full, take
from upscale_onnx.channels.new_node import NewNode
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.rules.contents import constant_content
from upscale_onnx.channels.rules.levels import is_level, known_levels
from upscale_onnx.channels.rules.normalization import divided
from upscale_onnx.channels.rules.reduction import WORTH, mean_over, row_reads
from upscale_onnx.errors import Reason
from upscale_onnx.types import Array, BoolArray, FloatArray, IntArray


class LayerNormalization(Rule):
    """scale, B: broadcast to the normalised axes (from `axis` on). The order of channels is free."""

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        found = known_map(maps[0])
        first = op.axis("axis", -1, found.rank)
        for index in range(1, len(op.present)):
            if op.is_dynamic(index):
                raise Refused(Reason.DYNAMIC_PARAMETER, "affine parameters are computed at run time")
        parameters = [op.constant(index) for index in (1, 2)]
        finite = all(p is None or np.isfinite(p).all() for p in parameters)
        wild = is_wild(found.state).any() or not finite
        # Without epsilon, zero times the quotient may be no number.
        settled = settled_by_scale(found.shape, *parameters) if op.attrs.get("epsilon", 1e-5) else varying(found.shape)
        hit = [axis for axis in found.axes if axis >= first]
        idle = _idle(op, found, hit)
        if _is_rms(op) and idle is not None:
            settled = np.where(found.state == 0, 0.0, settled)
        content = found.with_state(np.full(found.shape, WILD) if wild else settled)
        if not wild and hit == list(found.axes) and is_constant(found.state).all():
            content = found.with_state(_of_constants(op, found.state))
        if not hit:
            return Flow((content,), fragile=divided(op, found))
        if idle is not None:
            labels = found.labels.ravel()
            return Flow((content,), reads=(Read(0, labels, labels, foldable=idle),))
        # With channels on other axes too (the features of heads), all rows share the parameters.
        fixed = (found.labels,) if len(hit) < len(found.axes) else ()
        return Flow((content,), reads=row_reads(found, hit), fixed=fixed)

    def resize(self, op: Op, request: Request) -> Resize:
        found, emission = request.first_input()
        if is_full(emission, found.shape):
            return Resize((emission,))
        vectors = {index: vector for index in (1, 2) if (vector := op.constant(index)) is not None}
        cut = {index: take(vector, emission, found.shape) for index, vector in vectors.items()}
        if any(vector.ndim != vectors[index].ndim for index, vector in cut.items()):
            raise Misaligned(found.labels)
        share = emission.size / found.labels.size
        hit = [axis for axis in found.axes if axis >= op.axis("axis", -1, found.rank)]
        if share in (0, 1) or _idle(op, found, hit) is None:
            return Resize((emission,), {index: vector for index, vector in cut.items() if vector is not vectors[index]})
        if _is_rms(op):
            return Resize((emission,), *rescaled(op, cut, share))
        others = _others(op, found, emission)
        return Resize((emission,), replace=(compensated(op, 0, found.rank, cut[1], cut.get(2), share, others=others),))


@dataclass(frozen=True, eq=False)
class Others:
    """What is known of channels that left: their mean and variance, to be broadcast to the value."""

    mean: FloatArray
    variance: FloatArray


def _others(op: Op, found: ChannelMap, emission: IntArray) -> Others | None:
    """What is known of the channels that `emission` lacks; None where they are zero."""
    axes = tuple(range(op.axis("axis", -1, found.rank), found.rank))
    levels = known_levels(found)
    gone = np.ones(found.shape, bool)
    gone.flat[emission] = False
    if levels is None or (found.state[gone] == 0).all():
        return None
    mean = levels.mean(axes, keepdims=True, where=gone)
    return Others(mean, levels.var(axes, keepdims=True, where=gone))


def rescaled(
    op: Op, cut: dict[int, Array], share: float, scale: int = 1, epsilon: float = 1e-5
) -> tuple[dict[int, Array], dict[str, float]]:
    """The parameters and attributes with which the mean of squares over a `share` of the channels stands for that over
    all. cut: the vectors of the channels that are left, that at `scale` among them. epsilon: what it is by default."""
    vector = cut[scale] / np.asarray(math.sqrt(share), cut[scale].dtype)
    return {**cut, scale: vector.astype(cut[scale].dtype)}, {"epsilon": float(op.attrs.get("epsilon", epsilon)) / share}


def _of_constants(op: Op, state: FloatArray) -> FloatArray:
    """What the channels hold where all that is normalised is constant."""
    inputs = [state.astype(op.dtype(0)), *(op.constant(index) for index in range(1, len(op.present)))]
    made = evaluate(op.op_type, op.opset, op.attrs, inputs, domain=op.domain)
    known = made is not None and made[0].shape == state.shape and np.isfinite(made[0]).all()
    return made[0].astype(np.float64) if made is not None and known else varying(state.shape)


def _is_rms(op: Op) -> bool:
    return op.op_type != "LayerNormalization"


def _idle(op: Op, found: ChannelMap, hit: list[int]) -> BoolArray | None:
    """The channels, `(n,)`, that are known and for which the node can make up; None where it cannot, or need not."""
    zeros = (found.state == 0 if _is_rms(op) else is_level(found)).ravel()
    scale = op.constant(1)
    if len(hit) < len(found.axes) or scale is None:
        return None
    return idle(zeros, scale, op.attrs.get("epsilon", 1e-5), _is_rms(op))


def idle(zeros: BoolArray, scale: Array, epsilon: float, rms: bool) -> BoolArray | None:
    """The channels `zeros`, `(n,)`, which are zero or known, if a normalisation can make up for them; None where it
    cannot, or need not."""
    if not zeros.any() or zeros.all() or not epsilon:
        return None
    # Where squares are summed up by separate nodes, half precision would overflow.
    written_out = scale.dtype in (np.float32, np.float64) and zeros.mean() >= WORTH
    return zeros if rms or written_out else None


def compensated(
    op: Op,
    operand: int | NewNode,
    rank: int,
    scale: Array,
    bias: Array | None,
    share: float,
    epsilon: float = 1e-5,
    others: Others | None = None,
) -> NewNode:
    """The nodes in place of a LayerNormalization of `operand`, from which channels have left that are known.

    scale, bias: those of the channels that are left. share: of the channels, those that are left. epsilon: what it is
    by default. others: what is known of the channels that left; None: they are zero.
    """

    def number(value: float | FloatArray) -> Array:
        with np.errstate(over="ignore"):  # the node itself overflows there, too
            return np.asarray(value, scale.dtype)

    axes = list(range(op.axis("axis", -1, rank), rank))
    mean = NewNode("Mul", (mean_over(op, operand, axes), number(share)))
    added: float | FloatArray = float(op.attrs.get("epsilon", epsilon))
    if others is not None:
        mean = NewNode("Add", (mean, number((1 - share) * others.mean)))
        added = added + (1 - share) * others.variance
    apart = NewNode("Sub", (operand, mean))
    own = NewNode("Mul", (mean_over(op, NewNode("Mul", (apart, apart)), axes), number(share)))
    off = mean if others is None else NewNode("Sub", (mean, number(others.mean)))
    rest = NewNode("Mul", (NewNode("Mul", (off, off)), number(1 - share)))
    variance = NewNode("Add", (NewNode("Add", (own, rest)), number(added)))
    result = NewNode("Div", (apart, NewNode("Sqrt", (variance,))))
    result = NewNode("Mul", (result, scale))
    return result if bias is None else NewNode("Add", (result, bias))


def settled_by_scale(shape: tuple[int, ...], scale: Array | None, bias: Array | None) -> FloatArray:
    """The contents of normalised channels: where the scale is zero, they are what the bias is."""
    zero = None if scale is None else constant_content(scale, shape)
    level = np.zeros(shape) if bias is None else constant_content(bias, shape)
    if zero is None or level is None:
        return varying(shape)
    return np.where((zero == 0) & is_constant(level), level, VARYING)


# SimplifiedLayerNormalization is onnxruntime's name for RMSNormalization in optimised models.
register(LayerNormalization(), "LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
