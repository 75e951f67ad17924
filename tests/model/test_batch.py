from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model import infer_shapes
from upscale_onnx.model.batch import check_batch, rebatch
from upscale_onnx.model.load import check_model

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model(HEAD + text)


def outputs(model: onnx.ModelProto, feed: dict[str, np.ndarray[Any, Any]]) -> list[Any]:
    """What ONNX's own evaluator computes."""
    return list(ReferenceEvaluator(model).run(None, feed))


SHUFFLE = """
shuffle (float[1,4,3,2] x) => (float[1,24] y)
<int64[5] split = {1, 2, 2, 3, 2}, int64[4] merge = {0, -1, 3, 2}, int64[2] flat = {1, 24}>
{
    a = Relu (x)
    b = Reshape (a, split)
    c = Transpose <perm = [0, 2, 1, 3, 4]> (b)
    d = Reshape (c, merge)
    y = Reshape (d, flat)
}
"""
# The batch is the second axis in the middle, and is folded into the heads there.
ATTENTION = """
attention (float[1,6,8] x) => (float[1,6,8] y)
<int64[3] heads = {6, 2, 4}, int64[3] whole = {6, 1, 8}>
{
    a = Transpose <perm = [1, 0, 2]> (x)
    b = Reshape (a, heads)
    c = Softmax <axis = 2> (b)
    d = Reshape (c, whole)
    y = Transpose <perm = [1, 0, 2]> (d)
}
"""
CONSTANT_NODE = """
flat (float[2,4,1,1] x) => (float[2,4] y)
{
    s = Constant <value = int64[2] {2, -1}> ()
    y = Reshape (x, s)
}
"""


@pytest.mark.parametrize("text", [SHUFFLE, ATTENTION, CONSTANT_NODE], ids=["shuffle", "attention", "constant node"])
@pytest.mark.parametrize("batch", [2, 4, 6])
def test_each_sample_is_computed_as_before(text: str, batch: int) -> None:
    original = model(text)
    untouched = original.SerializeToString()
    resized = rebatch(original, batch)
    check_model(resized, "rebatched")
    size, *shape = (dim.dim_value for dim in original.graph.input[0].type.tensor_type.shape.dim)
    x = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32)
    pieces = [outputs(original, {"x": part})[0] for part in np.split(x, batch // size)]
    np.testing.assert_array_equal(outputs(resized, {"x": x})[0], np.concatenate(pieces))
    assert infer_shapes(resized)["y"].dims == (batch, *infer_shapes(original)["y"].dims[1:])
    assert original.SerializeToString() == untouched


def test_what_need_not_change_is_returned_itself() -> None:
    fixed = model(SHUFFLE)
    dynamic = model("g (float[n,4] x) => (float[n,4] y) { y = Relu (x) }")
    assert rebatch(fixed, 1) is fixed
    assert rebatch(dynamic, 8) is dynamic


@pytest.mark.parametrize("batch", [1, 8])
def test_batches_that_a_model_can_be_given(batch: int) -> None:
    check_batch(model("g (float[N,8] x) => (float[N,8] y) { y = Relu(x) }"), batch)
    check_batch(model(f"g (float[{batch},8] x) => (float[{batch},8] y) {{ y = Relu(x) }}"), batch)


@pytest.mark.parametrize(("batch", "said"), [(8, "batch is 8: the model takes batches of 1 only"), (0, "at least 1")])
def test_batches_that_it_cannot_be_given(batch: int, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        check_batch(model("g (float[1,8] x) => (float[1,8] y) { y = Relu(x) }"), batch)


def test_a_shape_with_other_readers_keeps_its_value() -> None:
    text = """
    g (float[1,6] x) => (float[1,2,3] y, float[1,2,3] z)
    <int64[3] s = {1, 2, 3}, float[6] w = {1, 2, 3, 4, 5, 6}>
    {
        y = Reshape (x, s)
        v = Reshape (w, s)
        z = Mul (y, v)
    }
    """
    resized = rebatch(model(text), 4)
    found = outputs(resized, {"x": np.ones((4, 6), np.float32)})
    assert [output.shape for output in found] == [(4, 2, 3)] * 2
    assert onnx.numpy_helper.to_array(resized.graph.initializer[0]).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("g (float[1,4] x, float[3,4] y) => (float[3,4] z) { z = Add (x, y) }", "'x' 1, 'y' 3"),
        ("g (float[1,4] x) => (float[1,4] y) <int64[1] a = {0}> { y = ReduceSum (x, a) }", "output 'y'"),
        ("g (float[4,2] x) => (float[4,2] y) <int64[2] s = {2, 4}> { a = Reshape (x, s) y = Relu (a) }", "Reshape"),
    ],
    ids=["no common batch", "an output over all samples", "a batch that does not divide"],
)
def test_models_that_have_no_batch_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        rebatch(model(text), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["digits_inception_masked.onnx", "digits_cnet_masked.onnx"])
def test_shipped_networks(name: str) -> None:
    original = onnx.load(Path(__file__).resolve().parents[2] / "models" / name)
    for fixed in (dim for value in original.graph.input for dim in value.type.tensor_type.shape.dim[:1]):
        fixed.dim_value = 1
    resized = rebatch(original, 3)
    value = original.graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]]
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    feeds = [{value.name: part} for part in np.split(x, 3)]
    pieces = [outputs(original, feed)[0] for feed in feeds]
    found = outputs(resized, {value.name: x})[0]
    np.testing.assert_allclose(found, np.concatenate(pieces), rtol=1e-4, atol=1e-5)
