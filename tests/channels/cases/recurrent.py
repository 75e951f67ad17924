"""LSTM, GRU and RNN in all their forms, and ConstantOfShape, which makes their initial states."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto

from tests.channels.case import Case, Plain, Tracked
from upscale_onnx.types import Array

_RNG = np.random.default_rng(5)
_UNITS, _CHANNELS = 5, 4
_X = Tracked((3, 2, _CHANNELS), (2,))
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def sparse(*shape: int, share: float = 0.6) -> Array:
    """Small weights, of which this share is zero."""
    values = _RNG.integers(-4, 5, shape).astype(np.float32) / 4
    values[_RNG.random(shape) < share] = 0
    return np.asarray(values)


def units_of(weight: Array, op: str, gone: tuple[int, ...]) -> Array:
    """The weight with zeros in all that computes the units `gone`, and in what reads them through the recurrence."""
    changed = weight.reshape(weight.shape[0], _GATES[op], _UNITS, *weight.shape[2:]).copy()
    changed[:, :, list(gone)] = 0
    if weight.ndim == 3 and weight.shape[2] == _UNITS:
        changed[..., list(gone)] = 0
    return changed.reshape(weight.shape)


def _case(
    op: str, note: str, *states: Any, x: Any = _X, directions: int = 1, bias: bool = True, whole: bool = False,
    lengths: Any = None, peepholes: Any = None, outputs: int = 1, opset: int = 14, refused: bool = False, **attrs: Any,
) -> Case:  # fmt: skip
    gates = _GATES[op]
    weight = units_of(sparse(directions, gates * _UNITS, _CHANNELS), op, (1,))
    recurrence = units_of(sparse(directions, gates * _UNITS, _UNITS), op, (1,))
    offset = units_of(sparse(directions, gates * _UNITS), op, (1,)) if bias else None
    both = None if offset is None else np.concatenate([offset, offset], 1)
    operands = [x, weight, recurrence, both, lengths, *states]
    if peepholes is not None:
        operands += [None] * (7 - len(operands)) + [peepholes]
    while operands[-1] is None:
        operands.pop()
    if directions == 2:
        attrs = {"direction": "bidirectional", **attrs}
    attrs = {"hidden_size": _UNITS, **attrs}
    return Case(op, tuple(operands), attrs, opset, note, outputs, exact=False, refused=refused, whole=whole)


def _cases() -> list[Case]:
    lengths, start = np.asarray([3, 2], np.int32), Tracked((1, 2, _UNITS), (2,))
    zero, one = np.zeros((1, 2, _UNITS), np.float32), np.ones((1, 2, _UNITS), np.float32)
    both = Tracked((2, 2, _UNITS), (0, 2))
    found = []
    for op in _GATES:
        found += [
            _case(op, "Y"),
            _case(op, "all outputs", outputs=3 if op == "LSTM" else 2, opset=7),
            _case(op, "no bias", bias=False),
            _case(op, "reverse", direction="reverse", opset=22),
            _case(op, "two directions", directions=2, whole=True, outputs=2),
            _case(op, "lengths", lengths=lengths),
            _case(op, "zero state", zero),
            _case(op, "state", one),
            _case(op, "computed state", start, whole=True),
            _case(op, "computed states of both", both, directions=2, whole=True),
            _case(op, "state of an input", Plain((1, 2, _UNITS))),
            _case(op, "of an input", x=Plain((3, 2, _CHANNELS))),
        ]
    relu = {"activations": ["Sigmoid", "Relu", "Softsign"]}
    found += [
        _case("LSTM", "peepholes", peepholes=sparse(1, 3 * _UNITS)),
        _case("LSTM", "peepholes, both", peepholes=sparse(2, 3 * _UNITS), directions=2, whole=True),
        _case("LSTM", "both states", zero, zero, lengths=lengths, outputs=3),
        _case("LSTM", "cell state", zero, one, outputs=3),
        _case("LSTM", "activations", **relu),
        _case("LSTM", "clip", clip=0.5),
        _case("LSTM", "input forget", input_forget=1),
        _case("LSTM", "no zero", activations=["Sigmoid", "Sigmoid", "Tanh"]),
        _case("GRU", "reset after", linear_before_reset=1),
        _case("GRU", "activations", activations=["HardSigmoid", "LeakyRelu"], activation_alpha=[0.3, 0.1]),
        _case("RNN", "relu", activations=["Relu"]),
        _case("RNN", "sigmoid", activations=["Sigmoid"]),
        _case("RNN", "two", directions=2, activations=["Relu", "Tanh"], whole=True),
        _case("GRU", "batch first", x=Tracked((2, 3, _CHANNELS), (2,)), layout=1, outputs=2),
        _case("RNN", "batch first", x=Tracked((2, 3, _CHANNELS), (2,)), layout=1, outputs=2),
        _case("LSTM", "batch first", x=Tracked((2, 3, _CHANNELS), (2,)), layout=1, outputs=2),
    ]
    return found


CASES = [
    *_cases(),
    Case("LSTM", (_X, Tracked((1, 20, 4), (1,)), sparse(1, 20, 5)), {"hidden_size": 5}, 14, "computed", refused=True),
    Case("ConstantOfShape", (Plain((2,), TensorProto.INT64),), note="sizes of an input"),
    Case("GRU", (Tracked((3, 2, 4), (0,)), sparse(1, 15, 4), sparse(1, 15, 5)), {"hidden_size": 5}, 14, "steps",
         refused=True),
]  # fmt: skip
