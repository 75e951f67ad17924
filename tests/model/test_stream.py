from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.graphs import parse, weight
from upscale_onnx.model.stream import file_bytes, pieces


def model() -> onnx.ModelProto:
    made = parse(
        "(float[1,3,4,4] x) => (float[1,4,4,4] y) { a = Conv(x, w) y = Relu(a) }",
        w=weight(4, 3, 1, 1),
    )
    helper.set_model_props(made, {"b": "2", "a": "1"})
    made.doc_string, made.graph.doc_string = "about the model", "about the graph"
    made.functions.add(name="f", domain="d")
    return made


def test_pieces_are_the_whole() -> None:
    whole = list(pieces(model()))
    assert b"".join(whole) == model().SerializeToString(deterministic=True)
    assert len(whole) == 3


@given(sizes=st.lists(st.sampled_from([0, 1, 31, 32, 4000, 70000]), max_size=4))
def test_initializers_of_any_length(sizes: list[int]) -> None:
    made = model()
    made.graph.initializer.extend(numpy_helper.from_array(np.arange(size), f"t{size}") for size in sizes)
    whole = made.SerializeToString(deterministic=True)
    assert b"".join(pieces(made)) == whole
    assert file_bytes(made) == len(whole)


def test_the_size_of_a_model_counts_what_is_said_of_its_weights() -> None:
    made = model()
    tensor = numpy_helper.from_array(np.ones((8, 700), np.float32), "large")
    tensor.doc_string, tensor.data_location = "about the weight", onnx.TensorProto.DEFAULT
    tensor.metadata_props.add(key="from", value="here")
    made.graph.initializer.append(tensor)
    assert file_bytes(made) == len(made.SerializeToString(deterministic=True))


@pytest.mark.parametrize("empty", ["graph", "initializer"])
def test_models_without(empty: str) -> None:
    made = model()
    (made if empty == "graph" else made.graph).ClearField(empty)
    assert b"".join(pieces(made)) == made.SerializeToString(deterministic=True)


def test_what_the_installed_onnx_does_not_know_is_kept() -> None:
    data = model().SerializeToString(deterministic=True)
    unknown = b"\xfa\x7f\x03new"  # field 2047, a string
    made = onnx.ModelProto.FromString(data + unknown)
    assert b"".join(pieces(made)) == made.SerializeToString(deterministic=True)
    assert unknown in b"".join(pieces(made))
