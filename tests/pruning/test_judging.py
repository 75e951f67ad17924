"""What tells which masks are best, by outputs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.graphs import parse
from tests.repair.test_repair import _array, _data, _network
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.pruning.judging import outputs_judge
from upscale_onnx.runtime.activations import batches_of
from upscale_onnx.runtime.inputs import Inputs
from upscale_onnx.runtime.sessions import make_session, run

BATCHES = batches_of({"x": _data(128)}, 32)


def _shifted(model: onnx.ModelProto, by: NDArray[Any]) -> onnx.ModelProto:
    """`model` with this added to its outputs."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    tensor = next(t for t in found.graph.initializer if t.name == "fc_b")
    tensor.CopyFrom(numpy_helper.from_array((_array(model, "fc_b") + by).astype(np.float32), "fc_b"))
    return found


def test_outputs_and_classes_count_both() -> None:
    model = _network()
    outputs = np.concatenate([run(make_session(model), batch)[0] for batch in BATCHES])
    judge = outputs_judge(model, BATCHES)
    assert judge(model) == 0.0
    even = np.full(10, 0.5)
    expected = np.sqrt(128 * 10 * 0.25 / np.square(outputs).sum())
    assert judge(_shifted(model, even)) == pytest.approx(expected, rel=1e-3), "no class changes"
    one = np.where(np.arange(10) == np.argsort(outputs[0])[-2], 0.5 * np.sqrt(10), 0.0)
    changed = (outputs.argmax(1) != (outputs + one).argmax(1)).mean()
    assert changed > 0
    assert judge(_shifted(model, one)) == pytest.approx(expected + changed, rel=1e-3)


def test_outputs_that_are_no_classes_are_compared_by_distance_alone() -> None:
    model = parse(
        "(float[N, 3, 8, 8] x) => (float[N, 4, 8, 8] y) { y = Conv(x, w) }",
        w=np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32),
    )
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    halved.graph.initializer[0].CopyFrom(numpy_helper.from_array(_array(model, "w") / 2, "w"))
    assert outputs_judge(model, BATCHES)(halved) == pytest.approx(0.5, rel=1e-5)


def test_what_is_repaired_is_judged_by_other_batches() -> None:
    model = _network()
    masked, _ = write_masks(model, {"a1_w": np.arange(12) > 3})
    seen: list[Sequence[Inputs]] = []

    def repaired(pruned: onnx.ModelProto, fit: Sequence[Inputs]) -> onnx.ModelProto:
        seen.append(fit)
        return pruned

    value = outputs_judge(model, BATCHES, repaired)(masked)
    assert [len(fit) for fit in seen] == [3]
    assert value == pytest.approx(outputs_judge(model, BATCHES[-1:])(masked))
    assert value != pytest.approx(outputs_judge(model, BATCHES)(masked))
