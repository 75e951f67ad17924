"""Pairs of models that differ only where ordinary random inputs do not look."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError
from upscale_onnx.proof.equivalence import compare_models
from upscale_onnx.runtime import tolerance, verify

ROOT = Path(__file__).resolve().parents[2]
IMAGE = (1, 3, 16, 16)
Arrays = dict[str, "np.ndarray[Any, Any]"]


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng((seed, *shape)).standard_normal(shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: Arrays,
    shape: Sequence[int | str] = IMAGE,
    kind: int = TensorProto.FLOAT,
    out: int = TensorProto.FLOAT,
    rank: int = 4,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", out, [None] * rank)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def pair(
    nodes: Sequence[onnx.NodeProto], weights: Arrays, changed: str, value: Any, **settings: Any
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A model, and one in which the weight `changed` is `value`."""
    other = weights | {changed: np.asarray(value, np.asarray(weights[changed]).dtype)}
    return model(nodes, weights, **settings), model(nodes, other, **settings)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def dead_relu() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Channels that wake only on inputs of the scale of pixels."""
    nodes = [
        node("Conv", "x w1 b1", "h"),
        node("Relu", "h", "r"),
        node("Conv", "r w2", "p"),
        node("Conv", "x wm", "m"),
        node("Add", "p m", "y"),
    ]
    weights = {
        "w1": normal(8, 3, 3, 3) / 5,
        "b1": np.full(8, -20, np.float32),
        "w2": normal(4, 8, 1, 1),
        "wm": normal(4, 3, 3, 3),
    }
    return pair(nodes, weights, "w2", weights["w2"] * (np.arange(8) != 3).reshape(1, 8, 1, 1))


def threshold() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A branch that is taken where the mean of the input is above a half."""
    nodes = [
        node("ReduceMean", "x", "mean", axes=[1, 2, 3]),
        node("Greater", "mean half", "c"),
        node("Conv", "x w1", "a"),
        node("Conv", "x w2", "b"),
        node("Where", "c a b", "y"),
    ]
    weights = {"half": np.float32(0.5), "w1": normal(4, 3, 1, 1), "w2": normal(4, 3, 1, 1, seed=1)}
    return pair(nodes, weights, "w1", -weights["w1"])


def vocabulary() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Rows of an embedding beyond the 256th, read through a Cast."""
    nodes = [node("Cast", "x", "ids", to=TensorProto.INT64), node("Gather", "table ids", "e"), node("Relu", "e", "y")]
    table = normal(2000, 4)
    halved = np.where(np.arange(2000)[:, None] < 256, table, table / 2)
    return pair(nodes, {"table": table}, "table", halved, shape=(1, 64), kind=TensorProto.INT32, rank=3)


def small_head() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Scores beside boxes that are a hundred million times larger."""
    nodes = [
        node("Conv", "x wb", "boxes"),
        node("Conv", "x ws", "logits"),
        node("Sigmoid", "logits", "scores"),
        node("Concat", "boxes scores", "y", axis=1),
    ]
    weights = {"wb": normal(4, 3, 1, 1) * 1e8, "ws": normal(2, 3, 1, 1)}
    return pair(nodes, weights, "ws", weights["ws"] * 0.7)


def all_nan() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """NaN wherever one input is negative."""
    nodes = [
        node("ReduceMin", "x", "least", keepdims=0),
        node("Sqrt", "least", "root"),
        node("Conv", "x w", "a"),
        node("Div", "a root", "y"),
    ]
    weights = {"w": normal(4, 3, 1, 1)}
    return pair(nodes, weights, "w", weights["w"] * 1.5)


def bright_bytes() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A branch that reads what bytes have above 128."""
    nodes = [
        node("Cast", "x", "f", to=TensorProto.FLOAT),
        node("Sub", "f middle", "d"),
        node("Relu", "d", "r"),
        node("Conv", "r w1", "h"),
        node("Conv", "f w2", "s"),
        node("Add", "h s", "y"),
    ]
    weights = {"middle": np.float32(128), "w1": normal(4, 3, 1, 1), "w2": normal(4, 3, 1, 1, seed=1)}
    return pair(nodes, weights, "w1", weights["w1"] * 0, kind=TensorProto.UINT8)


def distant_clip() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A bound that small inputs never reach."""
    nodes = [node("Conv", "x w", "h"), node("Clip", "h low high", "y")]
    weights = {"w": normal(8, 3, 1, 1) / 4, "low": np.float32(-40), "high": np.float32(20)}
    return pair(nodes, weights, "high", 30)


def false_condition() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """What counts only where a single truth value is false."""
    nodes = [node("Where", "x a b", "y")]
    weights = {"a": normal(4), "b": normal(4, seed=1)}
    return pair(nodes, weights, "b", weights["a"], shape=(), kind=TensorProto.BOOL, rank=1)


PAIRS = [dead_relu, threshold, vocabulary, small_head, all_nan, bright_bytes, distant_clip, false_condition]


@pytest.mark.parametrize("make", PAIRS, ids=lambda make: make.__name__)
def test_models_that_differ_where_few_inputs_look_are_told_apart(make: Any) -> None:
    a, b = make()
    found = verify(a, b)
    assert not found.equal
    for same in (a, b):
        assert verify(same, same).equal


def test_pairs_of_a_collection_are_told_apart() -> None:
    folder = Path(os.environ.get("UPSCALE_CASES", ROOT.parent / "shared" / "cases")) / "blind"
    if not folder.is_dir():
        pytest.skip(f"no pairs of models at {folder}")
    paths = sorted(folder.glob("*_a.onnx"))
    assert paths
    for path in paths:
        assert main(["verify", str(path), str(path).replace("_a.onnx", "_b.onnx"), "-q"]) == 3, path.name


def test_nothing_but_nan_shows_nothing() -> None:
    a = model([node("Sub", "x x", "zero"), node("Div", "zero zero", "y")], {})
    found = verify(a, a)
    assert not found.equal
    assert found.undecided
    assert "NaN throughout" in found.detail
    shown = compare_models(a, a)
    assert shown.equal
    assert "NaN throughout" in shown.detail
    b = model([node("Sub", "x x", "zero"), node("Add", "zero zero", "y")], {})
    found = verify(a, b)
    assert not found.equal
    assert not found.undecided


def test_one_noisy_output_gives_no_leave_to_the_others() -> None:
    """The sine of large numbers is noise; the sum beside it is not."""
    nodes = [
        node("Conv", "x w", "sum"),
        node("Mul", "sum steep", "wide"),
        node("Sin", "wide", "noisy"),
        node("Conv", "x v", "y"),
    ]
    weights = {"w": normal(4, 3, 1, 1), "steep": np.float32(30), "v": normal(4, 3, 1, 1, seed=1)}
    a, b = pair(nodes, weights, "v", weights["v"] * np.float32(1 + 2e-5))
    for each in (a, b):
        each.graph.output.append(helper.make_tensor_value_info("noisy", TensorProto.FLOAT, [None] * 4))
    b.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.float32(30 * (1 + 1e-7)), "steep"))
    found = verify(a, b)
    assert not found.equal
    assert "output 'y' differs" in found.detail


def test_a_constant_of_low_precision_does_not_loosen_what_computes_in_float32() -> None:
    shift = np.ones(4, ml_dtypes.bfloat16)
    nodes = [
        node("Cast", "shift", "s", to=TensorProto.FLOAT),
        node("Reshape", "s to", "t"),
        node("Conv", "x w", "h"),
        node("Add", "h t", "y"),
    ]
    weights = {"shift": shift, "to": np.array([1, 4, 1, 1]), "w": normal(4, 3, 1, 1)}
    a, b = pair(nodes, weights, "w", weights["w"] * 1.001)
    assert tolerance(a) < 1e-5
    assert not verify(a, b).equal


def quantised(scale: float = 0.05, weight: float = 1.0) -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w", "h"),
        node("QuantizeLinear", "h scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "d"),
        node("Conv", "d v", "y"),
    ]
    weights = {"w": normal(8, 3, 3, 3) / 5 * np.float32(weight), "scale": np.float32(scale), "zero": np.int8(0)}
    return model(nodes, weights | {"v": normal(4, 8, 1, 1) / 3})


def test_values_that_fall_between_two_steps_of_a_quantiser_may_go_either_way() -> None:
    found = verify(quantised(), quantised(weight=1 + 1e-5))
    assert found.equal, found.detail
    assert 1e-3 < found.outputs[0].relative <= found.tolerance < 0.1
    assert not verify(quantised(), quantised(weight=1.2)).equal


def test_a_network_that_amplifies_rounding_of_its_input_is_judged_by_that() -> None:
    """Its first sum cancels, and there is nothing that onnxruntime's optimisations would compute otherwise."""
    nodes = [node("Sub", "x near", "d"), node("Mul", "d much", "y")]
    near = np.asarray(normal(1, 3, 16, 16))
    a, b = (model(nodes, {"near": near * np.float32(1 + e), "much": np.float32(2)}) for e in (0, 6e-8))
    assert verify(a, b).equal


def test_channels_that_never_fire_are_counted() -> None:
    nodes = [node("Conv", "x w b", "h"), node("Relu", "h", "y")]
    bias = np.array([0, 0, 0, 0, 0, -1e5, -1e5, -1e5], np.float32)
    w = normal(8, 3, 3, 3)
    w[7] = 0  # a constant channel has nothing that could sleep
    a = model(nodes, {"w": w, "b": bias})
    found = verify(a, a)
    assert (found.activations, found.asleep) == (8, 2)


def test_open_dimensions_take_the_sizes_that_are_asked_for() -> None:
    a = model([node("Relu", "x", "y")], {}, shape=("batch", "sequence"), rank=2)
    found = verify(a, a, dims={"sequence": 700})
    assert {shapes["x"][1] for shapes in found.shapes} == {700}
    assert {verify(a, a).shapes[i]["x"][1] for i in (0, 1)} == {512, 1536}
    with pytest.raises(ArgumentError, match="'length' is no open dimension"):
        verify(a, a, dims={"length": 3})


def test_dims_are_read_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = model([node("Relu", "x", "y")], {}, shape=("batch", "sequence"), rank=2)
    onnx.save(a, tmp_path / "a.onnx")
    path = str(tmp_path / "a.onnx")
    assert main(["verify", path, path, "--dims", "sequence=300", "--dims", "batch=2"]) == 0
    assert main(["verify", path, path, "--dims", "sequence"]) == 2
    assert "is not NAME=SIZE" in capsys.readouterr().err


def test_a_difference_beyond_what_the_cap_allows_is_no_noise() -> None:
    a, b = pair([node("Conv", "x w", "y")], {"w": normal(4, 3, 1, 1)}, "w", normal(4, 3, 1, 1) * 1.01)
    found = verify(a, b)
    assert not found.equal
    assert math.isfinite(found.outputs[0].relative)


def test_an_input_without_samples_is_compared_all_the_same() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("ThresholdedRelu", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    empty = model(nodes, {"w": normal(4, 3, 1, 1)}, shape=(0, 3, 16, 16))
    found = compare_models(empty, empty)
    assert found.equal, found.detail
