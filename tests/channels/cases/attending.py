"""Attention and rotary embeddings as one operator: the standard ones, and those of onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.channels.case import Case, Operand, Plain, Tracked
from tests.channels.cases.contractions import weight
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN
from upscale_onnx.types import Array

HEADS, SIZE = 4, 4


def tokens(width: int = HEADS * SIZE, length: int = 5) -> Tracked:
    """Heads one behind the other."""
    return Tracked((2, length, width), (2,), through=("Tanh",))


def apart(heads: int = HEADS, size: int = SIZE, length: int = 5) -> Tracked:
    """Heads on an axis of their own."""
    return Tracked((2, heads, length, size), (1, 3), through=("Tanh",))


def mask(heads: int = HEADS) -> Array:
    """Numbers to add to the scores, other ones for each head."""
    return np.random.default_rng(2).normal(size=(1, heads, 5, 5)).astype(np.float32)


def table(*shape: int) -> Array:
    """Cosines or sines."""
    return np.random.default_rng(3).uniform(0.2, 1, shape).astype(np.float32)


def _case(op: str, operands: tuple[Operand, ...], attrs: dict[str, Any], note: str, **more: Any) -> Case:
    settings = {"domain": RUNTIME_DOMAIN, "exact": False, "whole": True, **more}
    return Case(op, operands, attrs, note=note, **settings)


def _standard() -> list[Case]:
    merged = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
    shared = {"q_num_heads": HEADS, "kv_num_heads": 2}

    def case(operands: tuple[Operand, ...], attrs: dict[str, Any], note: str, **more: Any) -> Case:
        return _case("Attention", operands, attrs, note, **{"domain": "", "opset": 23, **more})

    return [
        case((apart(), apart(), apart()), {}, "4-D"),
        case((apart(), apart(), apart(size=3)), {"is_causal": 1}, "4-D, small values"),
        case((tokens(), tokens(), tokens()), merged, "3-D"),
        case((tokens(), tokens(8), tokens(8)), shared, "3-D, groups"),
        case((apart(), apart(2), apart(2)), {"scale": 0.5}, "4-D, groups"),
        case((apart(), apart(), apart(), mask()), {"softcap": 2.0}, "a mask for each head"),
        case((apart(), apart(), apart(), mask(1)), {}, "a mask for all heads"),
        case((apart(), apart(), apart(), mask()[0, 0]), {}, "a mask of two axes"),
        case((apart(), apart(), apart(), Tracked((2, HEADS, 5, 5), (1,))), {}, "a computed mask"),
        case((apart(), apart(), apart(), Plain((1, HEADS, 5, 5))), {}, "an unknown mask"),
        case((apart(), apart(), apart(), None, apart(length=3), apart(length=3)), {}, "with a past", outputs=3),
        case((apart(), apart(), apart(), None, Plain((2, HEADS, 3, SIZE)), Plain((2, HEADS, 3, SIZE))), {},
             "with an unknown past", outputs=3),
        case((apart(), apart(2), apart(2), None, table(2, 2, 3, SIZE), table(2, 2, 3, SIZE)), {},
             "with a constant past", outputs=3),
        case((Plain((2, HEADS, 5, SIZE)), apart(), apart()), {}, "unknown queries"),
        case((apart(), Plain((2, 2, 5, SIZE)), apart(2)), {}, "unknown keys"),
        case((apart(1), apart(1), apart(1)), {}, "one head"),
        case((Tracked((2, HEADS, 5, SIZE), (1,)), apart(), apart()), {}, "queries of heads alone"),
        case((apart(), apart(), apart()), {}, "the scores", outputs=4, refused=True),
        case((tokens(), tokens(), tokens()), {"q_num_heads": 3, "kv_num_heads": 3}, "heads that do not divide",
             refused=True),
    ]  # fmt: skip


def _multi_head() -> list[Case]:
    heads: dict[str, Any] = {"num_heads": HEADS}
    bias = weight(3 * HEADS * SIZE)

    def case(operands: tuple[Operand, ...], note: str, **more: Any) -> Case:
        return _case("MultiHeadAttention", operands, {**heads, **more.pop("attrs", {})}, note, **more)

    return [
        case((tokens(), tokens(), tokens()), "separate"),
        case((tokens(), tokens(), tokens(12)), "small values", attrs={"scale": 0.3}),
        case((tokens(), tokens(), tokens(), bias), "with a bias"),
        case((tokens(), tokens(), tokens(), np.zeros_like(bias)), "with a bias of zeros"),
        case((tokens(), apart(), apart()), "keys and values apart"),
        case((tokens(), tokens(), tokens(), None, None, mask()), "a mask for each head", attrs={"unidirectional": 1}),
        case((tokens(), tokens(), tokens(), None, Plain((2, 5), 6)), "a padding mask"),
        case((tokens(), tokens(), tokens(), None, None, None, apart(length=3), apart(length=3)), "with a past",
             outputs=3, ranks=(3, 4, 4)),
        case((tokens(), tokens(), tokens(), tokens(48)), "a computed bias", refused=True),
    ]  # fmt: skip


def _grouped() -> list[Case]:
    lengths = (np.asarray([4, 4], np.int32), np.asarray(5, np.int32))
    attrs = {"num_heads": HEADS, "kv_num_heads": 2}
    turned = {**attrs, "do_rotary": 1}

    def case(operands: tuple[Operand, ...], attrs: dict[str, Any], note: str, **more: Any) -> Case:
        return _case("GroupQueryAttention", operands, attrs, note, outputs=3, ranks=(3, 4, 4), **more)

    separate, none = (tokens(32), tokens(16), tokens(16)), (None, None)
    return [
        case((*separate, *none, *lengths), attrs, "separate"),
        case((tokens(64), None, None, *none, *lengths), attrs, "packed"),
        case((tokens(96), None, None, *none, *lengths), {**attrs, "kv_num_heads": 4}, "packed, no groups"),
        case((tokens(32 * 2), tokens(32 * 2), tokens(32 * 2), *none, *lengths, table(9, 8), table(9, 8)),
             {**turned, "kv_num_heads": 4}, "rotary"),
        case((*separate, *none, *lengths, None, None, None, mask()), attrs, "a mask for each head"),
        case((*separate, *none, *lengths, None, None, None, None, weight(HEADS)), attrs, "sinks"),
    ]  # fmt: skip


def _packed() -> list[Case]:
    x, heads = tokens(6), {"num_heads": HEADS}

    def case(operands: tuple[Operand, ...], attrs: dict[str, Any], note: str, **more: Any) -> Case:
        return _case("Attention", operands, {**heads, **attrs}, note, **more)

    matrix, narrow = weight(6, 48), weight(6, 44)
    dead = matrix.copy()
    dead[:, [0, 1, 20, 32, 40, 41, 42, 43]] = 0
    return [
        case((x, matrix, weight(48)), {}, "bias"),
        case((x, dead, np.zeros(48, np.float32)), {}, "columns of zeros"),
        case((x, dead, weight(48)), {"unidirectional": 1}, "causal"),
        case((x, narrow, weight(44)), {"qkv_hidden_sizes": [16, 16, 12]}, "small values"),
        case((x, matrix, weight(48), None, None, mask()), {"scale": 0.7}, "a mask for each head"),
        case((x, matrix, weight(48), None, None, Plain((2, HEADS, 5, 5))), {}, "an unknown mask"),
        case((x, matrix, weight(48), np.asarray([3, 5], np.int32)), {}, "lengths"),
        case((x, weight(6, 48), weight(48)), {"num_heads": 3}, "heads that do not divide", refused=True),
    ]


def _rotary() -> list[Case]:
    places = np.tile(np.arange(5), (2, 1))
    both, half = (table(9, 2), table(9, 2)), (table(9, 1), table(9, 1))
    heads = {"num_heads": HEADS}
    partial = {"num_heads": HEADS, "rotary_embedding_dim": 2}

    def standard(operands: tuple[Operand, ...], attrs: dict[str, Any], note: str, **more: Any) -> Case:
        return _case("RotaryEmbedding", operands, attrs, note, **{"domain": "", "opset": 23, **more})

    def runtime(operands: tuple[Operand, ...], attrs: dict[str, Any], note: str) -> Case:
        return _case("RotaryEmbedding", operands, attrs, note)

    return [
        standard((apart(), *both, places), {}, "4-D"),
        standard((apart(), *both, places), {"interleaved": 1}, "4-D, interleaved"),
        standard((tokens(), *both, places), heads, "3-D"),
        standard((tokens(), *half, places), partial, "in part"),
        standard((apart(), *half, places), {"rotary_embedding_dim": 2, "interleaved": 1}, "4-D, in part"),
        standard((apart(), Plain((2, 5, 2)), Plain((2, 5, 2))), {}, "unknown tables"),
        standard((apart(), *half, places), {}, "tables that do not fit", refused=True),
        runtime((apart(), places, *both), {}, "4-D"),
        runtime((tokens(), places, *both), {}, "3-D"),
        runtime((tokens(), places, *both), {"interleaved": 1, **heads}, "3-D, interleaved"),
        runtime((tokens(), places, *half), partial, "in part"),
    ]


CASES = (*_standard(), *_multi_head(), *_grouped(), *_packed(), *_rotary())
