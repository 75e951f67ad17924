"""ONNX's own tests of operators, between layers with dead channels: a sample of what the program runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.traps.net import net, weight

PROGRAMS = Path(__file__).resolve().parents[2] / "docs" / "programs"
WORDS = ("softmax_axis_1", "reduce_max_keepdims", "layer_normalization_4d_axis1", "maxpool_2d", "concat_3d", "test_pow")
MODULES = ("softmax", "logsoftmax", "reducemax", "layernormalization", "maxpool", "concat", "pow")
LEAST = 50


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PROGRAMS))
    import operator_tests  # type: ignore[import-not-found, unused-ignore]

    return operator_tests  # type: ignore[no-any-return, unused-ignore]


@pytest.mark.slow
def test_no_operator_makes_a_wrong_network(program: ModuleType) -> None:
    judged = {network.name: program.judged(network, "gather") for network in program.networks(WORDS, MODULES)}
    assert not {name: kind for name, kind in judged.items() if kind.startswith(("wrong", "refused"))}
    assert sum(kind == "smaller" for kind in judged.values()) > LEAST


def between_layers(seed: int) -> onnx.ModelProto:
    model = net(
        "(float[2,3,4,4] x) => (float[2,4,4,4] y)",
        """h = Conv(x, h_weight)
        y = Conv(h, y_read_weight)""",
        h_weight=weight(8, 3, 1, 1, silent=(2, 5), seed=seed), y_read_weight=weight(4, 8, 1, 1, seed=seed),
    )  # fmt: skip
    for node in model.graph.node:
        node.name = f"{node.output[0]}_layer"
    return model


def test_a_wrong_network_is_seen(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": np.arange(96, dtype=np.float32).reshape(2, 3, 4, 4)}
    one, other = (program.Network("", between_layers(seed), (feeds,), True) for seed in (0, 1))
    assert program.judged(one, "keep") == "smaller"
    made = upscale_onnx.compile(one.model, export="keep", align=1, race=False, verify=False)
    monkeypatch.setattr(upscale_onnx, "compile", lambda *_, **__: made)
    assert program.judged(one, "keep") == "smaller"
    assert re.fullmatch(r"wrong: by \d.\de[+-]\d\d of the scale", program.judged(other, "keep"))


def test_results_are_compared_as_their_types_hold_them(program: ModuleType) -> None:
    one = np.array([100, 1, np.inf, np.nan], np.float32)
    assert program._difference(one, one + np.float32(5e-4), 1e-5) is None  # 5e-6 of the scale
    assert program._difference(one, one * np.float32(1.001), 1e-5) == "by 1.0e-03 of the scale"
    half = one.astype(np.float16)
    assert program._difference(half, half * np.float16(1.001), 1e-5) is not None
    assert program._difference(half, half * np.float16(1.001), 1e-5, steps=2) is None  # one step of float16
    assert program._difference(half, half * np.float16(1.01), 1e-5, steps=2) is not None
    assert program._difference(one, one[[0, 1, 3, 2]], 1e-5) == "infinities, or what is no number, elsewhere"
    assert program._difference(np.arange(4), np.array([0, 1, 2, 4]), 1e-5) == "1 elements of 4"
    assert program._difference(one, one[:2], 1e-5) == "float32(2,) instead of float32(4,)"
