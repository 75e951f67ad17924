"""ONNX's own tests of operators, between layers with dead channels: a sample of what the program runs."""

from __future__ import annotations

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
    assert program.judged(other, "keep") == "wrong"
