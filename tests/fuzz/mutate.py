"""Seeded damage to a serialised model: to its bytes, or to fields of its messages."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message

_LIMITS = (-(2**63), -(2**31), 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1)
_NUMBERS = (-2, -1, 0, 1, 2, 3, 7, 16, 17, 64, 255, 2**16, *_LIMITS)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0e38, 1.0e-40, float("inf"), float("-inf"), float("nan"))
_MOST_SPAN = 64


def mutant(seeds: Sequence[bytes], number: int, seed: int = 0) -> bytes:
    """Mutant `number`: a third of them by bytes, the others by field, each with one to four changes."""
    rng = random.Random(f"{seed}-{number}")
    data = rng.choice(seeds)
    change = _bytes_changed if rng.random() < 1 / 3 else _fields_changed
    return change(data, rng, rng.choice((1, 1, 1, 2, 2, 4)), seeds)


def _bytes_changed(data: bytes, rng: random.Random, times: int, seeds: Sequence[bytes]) -> bytes:
    raw = bytearray(data)
    for _ in range(times):
        at = rng.randrange(len(raw) + 1)
        span = rng.randrange(1, _MOST_SPAN)
        kind = rng.randrange(6)
        if kind == 0 and raw:
            raw[at % len(raw)] ^= 1 << rng.randrange(8)
        elif kind == 1 and raw:
            raw[at % len(raw)] = rng.randrange(256)
        elif kind == 2:
            del raw[at : at + span]
        elif kind == 3:
            raw[at:at] = rng.randbytes(span)
        elif kind == 4:
            raw[at:at] = raw[at : at + span]
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            raw[at : at + span] = other[start : start + span]
    return bytes(raw if rng.random() > 0.05 else raw[: rng.randrange(len(raw) + 1)])


def _fields_changed(data: bytes, rng: random.Random, times: int, seeds: Sequence[bytes]) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for _ in range(times):
        _change(model, rng, seeds)
    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError):
        return data


def _change(model: onnx.ModelProto, rng: random.Random, seeds: Sequence[bytes]) -> None:
    """Change one field of one message; which, goes by the kinds of messages rather than by how many there are."""
    by_kind: dict[str, list[Message]] = {}
    _collect(model, by_kind)
    message = rng.choice(by_kind[rng.choice(sorted(by_kind))])
    fields = [field for field, _ in message.ListFields()]
    if not fields or rng.random() < 0.1:
        fields = list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    if field.name in _NAMES and field.type == FieldDescriptor.TYPE_STRING and rng.random() < 0.6:
        _rename(message, field.name, rng, _names(model))
        return
    value = getattr(message, field.name)
    if hasattr(value, "append") or hasattr(value, "add"):
        _change_repeated(value, field, rng, seeds)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        value.Clear() if rng.random() < 0.5 else message.ClearField(field.name)
    elif rng.random() < 0.15:
        message.ClearField(field.name)
    else:
        _set(lambda new: setattr(message, field.name, new), value, field, rng)


def _collect(message: Any, by_kind: dict[str, list[Message]]) -> None:
    by_kind.setdefault(message.DESCRIPTOR.name, []).append(message)
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in (value,) if hasattr(value, "ListFields") else value:
                _collect(part, by_kind)


_NAMES = frozenset(("name", "input", "output", "op_type", "domain", "ref_attr_name", "dim_param"))


def _names(model: onnx.ModelProto) -> list[str]:
    """Names that mean something in the model, values and operators alike."""
    found: set[str] = {"", "ai.onnx", "com.microsoft"}
    by_kind: dict[str, list[Message]] = {}
    _collect(model, by_kind)
    for node in by_kind.get("NodeProto", ()):
        assert isinstance(node, onnx.NodeProto)
        found.update((*node.input, *node.output, node.op_type, *(a.name for a in node.attribute)))
    found.update(tensor.name for tensor in model.graph.initializer)
    return sorted(name for name in found if isinstance(name, str))


def _rename(message: Any, field: str, rng: random.Random, names: Sequence[str]) -> None:
    value = getattr(message, field)
    if isinstance(value, str | bytes):
        setattr(message, field, rng.choice(names))
    elif value:
        value[rng.randrange(len(value))] = rng.choice(names)


def _change_repeated(value: Any, field: Any, rng: random.Random, seeds: Sequence[bytes]) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        _change_messages(value, field, rng, seeds)
        return
    kind, at = rng.randrange(4), rng.randrange(len(value)) if value else 0
    if kind == 0 and value:
        del value[at]
    elif kind == 1 and value:
        value.append(value[at])
    elif kind == 2 and len(value) > 1:
        other = rng.randrange(len(value))
        value[at], value[other] = value[other], value[at]
    elif value:
        _set(lambda new: value.__setitem__(at, new), value[at], field, rng)
    else:
        _set(value.append, field.default_value or 0, field, rng)


def _change_messages(value: Any, field: Any, rng: random.Random, seeds: Sequence[bytes]) -> None:
    kind, at = rng.randrange(5), rng.randrange(len(value)) if value else 0
    if kind == 0 and value:
        del value[at]
    elif kind == 1 and value:
        value.add().CopyFrom(value[at])
    elif kind == 2 and len(value) > 1:
        value.insert(rng.randrange(len(value)), value.pop(at))
    elif kind == 3:
        value.add()
    else:
        by_kind: dict[str, list[Message]] = {}
        try:
            _collect(onnx.ModelProto.FromString(rng.choice(seeds)), by_kind)
        except DecodeError:
            return
        others = by_kind.get(field.message_type.name, [])
        if others:
            value.add().CopyFrom(rng.choice(others))


def _set(put: Callable[[Any], None], old: Any, field: Any, rng: random.Random) -> None:
    """Put another value of the field's type; what the type does not hold is left."""
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        new: Any = rng.choice(("", "a" * 300, f"{old}_", "\u00e9\u4e2d", "..", "/etc/passwd", "x\ny"))
    elif kind == FieldDescriptor.TYPE_BYTES:
        new = _bytes_changed(bytes(old), rng, 1, (b"\x00" * 16,)) if old else b"\xff\xfe"
    elif kind in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        new = rng.choice((*_FLOATS, old * 2, -old))
    elif kind == FieldDescriptor.TYPE_ENUM:
        new = rng.choice([entry.number for entry in field.enum_type.values])
    else:
        new = rng.choice((*_NUMBERS, old + 1, old - 1, old * 2))
    try:
        put(new)
    except (ValueError, TypeError, OverflowError):
        return
