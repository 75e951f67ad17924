"""Large weights stay encoded until their values are needed: decoding is much of the time that large models take."""

from __future__ import annotations

from collections import Counter

import pytest
from onnx import TensorProto

from tests.graphs import parse, weight
from upscale_onnx.channels.analysis import analyse
from upscale_onnx.model import content, import_graph, infer_shapes, known
from upscale_onnx.types import Array

LARGE = parse(
    "(float[1,64,6,6] x) => (float[1,64,4,4] y) { a = Conv(x, w) b = Relu(a) y = Conv(b, v) }",
    w=weight(64, 64, 3, 3),
    v=weight(64, 64, 1, 1),
)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each weight was decoded."""
    counts: Counter[str] = Counter()
    decode = content.weight_values

    def counted(tensor: TensorProto) -> Array:
        counts[tensor.name] += 1
        return decode(tensor)

    monkeypatch.setattr(content, "weight_values", counted)
    return counts


def test_a_weight_is_no_shape_and_that_is_seen_at_once(decoded: Counter[str]) -> None:
    found = known.Constants()
    tensor = import_graph(LARGE).tensors()["w"]
    encoded = content.encoded(tensor)
    assert encoded is not None
    found.add_encoded("w", encoded)
    assert found.shape_value("w") is None
    assert not decoded


def test_an_analysis_decodes_a_weight_once_for_its_layer(decoded: Counter[str]) -> None:
    analysis = analyse(import_graph(LARGE), infer_shapes(LARGE))
    assert decoded == {"w": 1, "v": 1}
    decoded.clear()
    for step in analysis.steps:
        if step.op.op_type == "Conv":
            assert [step.op.is_constant(index) for index in (0, 1)] == [False, True]
            assert not step.op.is_dynamic(1)
            assert step.op.weight_shape is not None
            assert step.op.weight_shape[0][:2] == (64, 64)
    assert not decoded
