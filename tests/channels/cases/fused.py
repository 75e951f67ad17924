"""Operators of onnxruntime's own domain, as its optimiser writes them."""

from __future__ import annotations

from typing import Any

from tests.channels.case import Case, Operand, Plain, Tracked
from tests.channels.cases.contractions import image, weight
from upscale_onnx.model.runtime_operators import RUNTIME_DOMAIN


def _case(
    op: str, operands: tuple[Operand, ...], attrs: dict[str, Any] | None = None, note: str = "", **more: Any
) -> Case:
    return Case(op, operands, attrs or {}, note=note, domain=RUNTIME_DOMAIN, **more)


def _contractions() -> list[Case]:
    x, row, padded = image(), Tracked((3, 6)), {"pads": [1, 1, 1, 1]}
    kernel = (x, weight(4, 6, 3, 3), weight(4))
    return [
        _case("FusedConv", kernel, {"activation": "Relu", **padded}, note="Relu"),
        _case("FusedConv", kernel, {"activation": "Sigmoid"}, note="Sigmoid", exact=False),
        _case("FusedConv", kernel, {"activation": "Tanh", **padded}, note="Tanh", exact=False),
        _case("FusedConv", kernel, {"activation": "LeakyRelu", "activation_params": [0.5]}, note="LeakyRelu"),
        _case("FusedConv", kernel, {"activation": "Clip", "activation_params": [-2.0, 3.0]}, note="Clip"),
        _case("FusedConv", kernel, {"activation": "HardSigmoid", "activation_params": [0.5, 0.25]}, note="HardSigmoid"),
        _case("FusedConv", (x, weight(6, 1, 3, 3)), {"activation": "Relu", "group": 6, **padded}, note="depthwise"),
        _case("FusedConv", (image(8), weight(8, 2, 1, 1)), {"activation": "Relu", "group": 4}, note="groups",
              whole=True),
        _case("FusedConv", (*kernel, Tracked((2, 4, 5, 5))), {"activation": "Relu", **padded}, note="sum"),
        _case("FusedConv", (*kernel, Tracked((2, 4, 5, 5))), {"activation": "Sigmoid", **padded}, note="sum, Sigmoid",
              exact=False),
        _case("FusedConv", kernel, {"activation": "Softsign"}, note="unknown", refused=True),
        _case("FusedGemm", (row, weight(4, 6), weight(4)), {"activation": "Relu", "transB": 1}, note="Relu"),
        _case("FusedGemm", (row, weight(6, 4), weight(4)), {"activation": "LeakyRelu", "activation_alpha": 0.5},
              note="LeakyRelu"),
    ]  # fmt: skip


def _products() -> list[Case]:
    tokens, matrix = Tracked((2, 5, 6), (2,)), Tracked((2, 6, 5), (1,))
    queries, keys = Tracked((2, 3, 5, 4), (1, 3)), Tracked((2, 3, 5, 4), (1, 3))
    return [
        _case("FusedMatMul", (tokens, weight(6, 4)), {"alpha": 0.5}, note="right"),
        _case("FusedMatMul", (tokens, weight(4, 6)), {"transB": 1, "alpha": 2.0}, note="right, transB"),
        _case("FusedMatMul", (matrix, weight(6, 4)), {"transA": 1}, note="right, transA"),
        _case("FusedMatMul", (weight(6, 4), matrix), {"transA": 1}, note="left, transA"),
        _case("FusedMatMul", (weight(4, 6), tokens), {"transB": 1}, note="left, transB"),
        _case("FusedMatMul", (queries, keys), {"transB": 1, "alpha": 0.5}, note="features of heads", whole=True),
        _case("FusedMatMul", (tokens, Tracked((2, 7, 6), (2,))), {"transB": 1}, note="features"),
        _case("FusedMatMul", (matrix, Tracked((2, 6, 7), (1,))), {"transA": 1}, note="features, transA"),
        _case("FusedMatMul", (Tracked((2, 3, 5, 5), (1,)), Tracked((2, 3, 4, 5), (1, 2))), {"transB": 1}, note="tokens",
              whole=True),
        _case("FusedMatMul", (tokens, weight(6, 4)), {"alpha": float("inf")}, note="infinite", refused=True),
        _case("TransposeMatMul", (matrix, weight(6, 4)), {"transA": 1}, note="right, transA"),
    ]  # fmt: skip


def _activations() -> list[Case]:
    tokens = Tracked((2, 5, 6), (2,))
    return [
        _case("BiasGelu", (tokens, weight(6)), note="constant bias", exact=False),
        _case("FastGelu", (tokens, weight(6)), note="bias", exact=False),
        _case("FastGelu", (tokens,), note="no bias", exact=False),
        _case("Gelu", (tokens,), exact=False),
        _case("QuickGelu", (tokens,), {"alpha": 1.5}, exact=False),
    ]


def _normalizations() -> list[Case]:
    x, skip, scale = Tracked((2, 5, 6), (2,)), Tracked((2, 5, 6), (2,)), weight(6)
    return [
        _case("SkipLayerNormalization", (x, skip, scale, weight(6), weight(6)), note="bias", exact=False),
        _case("SkipLayerNormalization", (x, skip, scale), {"epsilon": 0.5}, note="scale", exact=False),
        _case("SkipLayerNormalization", (x, Plain((2, 5, 6)), scale), note="of an input", exact=False),
        _case("SkipLayerNormalization", (x, Plain((5, 6)), scale), note="broadcast", refused=True),
        _case("SkipSimplifiedLayerNormalization", (x, skip, scale, weight(6)), exact=False),
    ]


def _experts() -> list[Case]:
    router, up, down = Plain((5, 3)), weight(3, 4, 6), weight(3, 6, 4)
    return [
        _case("MoE", (Tracked((5, 6)), router, up, weight(3, 4), down, weight(3, 6)), note="biases", exact=False,
              whole=True),
        _case("MoE", (Tracked((1, 5, 6), (2,)), router, weight(3, 8, 6), None, down),
              {"activation_type": "swiglu", "swiglu_fusion": 1, "k": 2}, note="gated", exact=False, whole=True),
        _case("MoE", (Tracked((5, 6)), router, Plain((3, 4, 6)), None, down), note="computed weights", refused=True),
    ]  # fmt: skip


CASES = (*_contractions(), *_products(), *_activations(), *_normalizations(), *_experts())
