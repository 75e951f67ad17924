"""onnxruntime's MoE and QMoE: a mixture of experts, each of two layers or three, within one node.

Hidden neurons leave each expert by themselves, as many as the expert with the most neurons can do without: an expert
with fewer keeps others of its own, whose weights stay what they are. Which experts a token is routed to stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.channels.channel_map import VARYING, WILD, ChannelMap, is_wild, known_map, vector_map
from upscale_onnx.channels.flow import Even, Flow, Fresh, Maps, Misaligned, Read, Request, Resize, Role, Rule
from upscale_onnx.channels.grid import is_full
from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.registry import register
from upscale_onnx.channels.room import check_pattern_room
from upscale_onnx.channels.rules.expert_forms import of_few_bits, of_floats
from upscale_onnx.channels.rules.expert_weights import Weights
from upscale_onnx.errors import Reason
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import BoolArray, IntArray

ROUTERS = (1, 14)  # inputs: what experts are chosen by, and what their results are weighted by
_ACTIVATIONS = ("relu", "gelu", "silu", "swiglu", "identity")  # all of which make zero of zero


@dataclass(frozen=True, eq=False)
class Mixture:
    """The layers of the experts. first: those that make hidden neurons, each with the rows of its weight that a neuron
    is made of, `(neurons, rows)`. last: the layer that reads them. whole: whether all inputs and results stay.
    activation: the name of the function between them."""

    first: Sequence[tuple[Weights, IntArray]]
    last: Weights
    whole: bool
    activation: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """The experts, the neurons of each, and the channels of the input, which are as many as those of the result."""
        experts, channels, neurons = self.last.shape
        return experts, neurons, channels


class Experts(Rule):
    """The rule of X `(…, H)`, numbers for the router `(tokens, E)`, and weights `(E, outputs, inputs)`, of few bits or
    floating-point ones."""

    data_inputs: int | None = None

    def flow(self, op: Op, maps: Maps, fresh: Fresh) -> Flow:
        mixture, found = mixture_of(op), known_map(maps[0])
        experts, neurons, channels = mixture.shape
        rank = found.rank
        dims = op.in_dims[0] if op.in_dims else None
        if dims is None or dims[-1] != channels:
            raise Refused(Reason.UNSUPPORTED_FORM, f"an input of shape {dims} for experts of {channels} inputs")
        if any(axis != rank - 1 for axis in found.axes) or found.shape[-1] not in (1, channels):
            raise Refused(Reason.MIXED_LAYOUT, f"channels of shape {found.shape} for experts of {channels} inputs")
        check_pattern_room(neurons, channels)
        labels, state = found.along(rank - 1, channels)
        if is_wild(state).any():
            raise Refused(Reason.UNSUPPORTED_FORM, "a channel that may be infinite")
        hidden, made = fresh(experts * neurons).reshape(experts, neurons), fresh(channels)
        routers = _routers(maps)
        wild = any(is_wild(router.state).any() for router in routers.values())
        reads, varying = _reads(mixture, labels, state == 0, hidden, made)
        reads += [Read(index, router.labels.ravel(), made) for index, router in routers.items()]
        fixed, evens = [router.labels for router in routers.values()], list[Even]()
        if mixture.whole or found.shape[-1] == 1:
            # Inputs without channels of their own all stay, and there must be as many results.
            reads += [Read(0, labels), Read(0, made)]
            fixed += [labels, made]
        else:
            evens.append(Even((np.vstack((labels, made)),)))
        content = np.where(wild, WILD, np.where(varying, VARYING, 0.0))
        return Flow(
            (vector_map(made, content, rank, rank - 1),),
            reads=tuple(reads),
            evens=tuple(evens),
            fixed=tuple(fixed),
            creates=True,
            role=Role.CONTRACTION,
            inner=ChannelMap(hidden, np.full(hidden.shape, VARYING)),
        )

    def resize(self, op: Op, request: Request) -> Resize:
        mixture, (found, source), choose = mixture_of(op), request.first_input(), request.choose
        _, neurons, channels = mixture.shape
        for index, router in _routers(request.maps).items():
            held = request.emissions[index]
            if held is None or not is_full(held, router.shape):
                raise Misaligned(router.labels)
        out = request.result.labels.ravel()
        given = source.ravel() if found.shape[-1] == channels else np.arange(channels)
        made = choose.positions(out)
        if given.size != made.size:
            raise Misaligned(found.labels, out)
        hidden = known_map(request.inner).labels
        unit = mixture.last.unit
        # What fills blocks of channels would need more blocks of one scale.
        left = [choose.positions(row) if unit == 1 else np.flatnonzero(choose.live(row)) for row in hidden]
        kept = _of_one_size(left, neurons, unit)
        emission = made.reshape((1,) * (found.rank - 1) + (-1,))
        if kept.shape[1] == neurons and is_full(given, (channels,)) and is_full(made, (channels,)):
            return Resize((emission,))
        constants = mixture.last.cut(np.broadcast_to(made, (len(kept), made.size)), kept)
        for weights, rows in mixture.first:
            columns = np.broadcast_to(given, (len(kept), given.size))
            constants |= weights.cut(rows[kept].reshape(len(kept), -1), columns)
        return Resize((emission,), constants)


def _routers(maps: Maps) -> dict[int, ChannelMap]:
    """What experts are chosen and weighted by, by input."""
    return {index: found for index in ROUTERS if index < len(maps) and (found := maps[index]) is not None}


def _reads(
    mixture: Mixture, labels: IntArray, folded: BoolArray, hidden: IntArray, made: IntArray
) -> tuple[list[Read], BoolArray]:
    """What the classes `hidden` `(experts, neurons)` read of `labels`, of which some are `folded`, and what the classes
    `made` read of them; and which of the latter vary."""
    reads, varying = list[Read](), np.zeros(made.size, bool)
    for expert, row in enumerate(hidden):
        taken, biased = _reading(mixture, expert)
        silent = ~(taken[:, ~folded].any(1) | biased)
        given = mixture.last.reading(expert)
        varying |= given[:, ~silent].any(1) | mixture.last.biased(expert)
        reads += [Read(0, labels, row, taken, foldable=folded), Read(0, row, made, given, foldable=silent)]
    return reads, varying


def _reading(mixture: Mixture, expert: int) -> tuple[BoolArray, BoolArray]:
    """`(neurons, inputs)`: what each hidden neuron of an expert reads; `(neurons,)`: whether it has a bias."""
    _, neurons, channels = mixture.shape
    taken, biased = np.zeros((neurons, channels), bool), np.zeros(neurons, bool)
    for weights, rows in mixture.first:
        reading, added = weights.reading(expert), weights.biased(expert)
        for row in rows.T:
            taken |= reading[row]
            biased |= added[row]
    return taken, biased


def _of_one_size(kept: Sequence[IntArray], neurons: int, unit: int) -> IntArray:
    """`(experts, neurons left)`: whole units of neurons that hold those in `kept`, of every expert as many."""
    units = [np.unique(row // unit) for row in kept]
    count = max(1, *(row.size for row in units))
    filled = [np.union1d(row, np.setdiff1d(np.arange(neurons // unit), row)[: count - row.size]) for row in units]
    return (np.stack(filled)[:, :, None] * unit + np.arange(unit)).reshape(len(kept), -1)


def mixture_of(op: Op) -> Mixture:
    """The layers of a node. Raises `Refused` where they are computed at run time or have another form."""
    if any(op.is_dynamic(index) for index in range(2, len(op.present)) if index not in ROUTERS):
        raise Refused(Reason.DYNAMIC_PARAMETER, "weights of experts are computed at run time")
    activation = op.attrs.get("activation_type", "relu")
    activation = activation.decode() if isinstance(activation, bytes) else activation
    fusion = int(op.attrs.get("swiglu_fusion", 0)) if activation == "swiglu" else 0
    if activation not in _ACTIVATIONS or fusion not in (0, 1, 2):
        raise Refused(Reason.UNSUPPORTED_FORM, f"activation {activation}")
    few_bits = op.op_type == "QMoE"
    up, down, side = of_few_bits(op) if few_bits else of_floats(op)
    experts, channels, neurons = down.shape
    numbers = np.arange(neurons, dtype=np.int64)[:, None]
    rows: IntArray = {
        0: numbers,
        1: numbers * 2 + np.arange(2),  # both rows of a neuron beside each other
        2: numbers + np.arange(2) * neurons,  # all second rows behind all first ones
    }[fusion]
    first = [(up, rows), *([] if side is None else [(side, numbers)])]
    fits = all(weights.shape == (experts, rows.size, channels) for weights, rows in first)
    if not fits or 0 in down.shape:
        raise Refused(Reason.UNSUPPORTED_FORM, f"weights of experts of shape {up.shape} and {down.shape}")
    return Mixture(first, down, few_bits, activation)


register(Experts(), "MoE", "QMoE", domain=RUNTIME_DOMAIN)
