from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.runtime import load_inputs
from upscale_onnx.runtime.inputs import feasible_inputs, input_specs, random_inputs
from upscale_onnx.runtime.sessions import make_session, run

MANY = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[n, 3, h, h] image, int64[n, t] ids, bool[n] flag, string[n] text, float16 scale, uint8[n, 2] bytes,
   int64 step, float[4] w) => (float[n, 3, h, h] y)
<float[4] w = {1, 2, 3, 4}>
{ y = Relu (image) }
"""


def parse(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]> ' + text)


def test_every_type_gets_values_and_weights_get_none() -> None:
    model = onnx.parser.parse_model(MANY)
    inputs = random_inputs(model, seed=1)
    assert list(inputs) == ["image", "ids", "flag", "text", "scale", "bytes", "step"]
    for spec in input_specs(model):
        assert inputs[spec.name].dtype == spec.dtype
        assert inputs[spec.name].ndim == len(spec.dims or ())
    assert inputs["image"].shape == (1, 3, 64, 64)
    assert abs(inputs["image"].std() - 1) < 0.1
    assert inputs["ids"].min() >= 0
    assert isinstance(inputs["text"].ravel()[0], str)


def test_one_name_is_one_size_and_trials_differ_in_every_dimension() -> None:
    model = onnx.parser.parse_model(MANY)
    first, second = random_inputs(model, trial=0), random_inputs(model, trial=1)
    for inputs in (first, second):
        n, _, h, w = inputs["image"].shape
        assert h == w
        assert inputs["ids"].shape[0] == inputs["flag"].shape[0] == n
    assert first["image"].shape[0] != second["image"].shape[0]
    assert first["image"].shape[2] != second["image"].shape[2]
    assert first["ids"].shape[1] != second["ids"].shape[1]


def test_the_seed_decides() -> None:
    model = parse("g (float[8] x) => (float[8] y) { y = Relu (x) }")
    np.testing.assert_array_equal(random_inputs(model, seed=3)["x"], random_inputs(model, seed=3)["x"])
    assert not np.array_equal(random_inputs(model, seed=3)["x"], random_inputs(model, seed=4)["x"])
    assert not np.array_equal(random_inputs(model, trial=0)["x"], random_inputs(model, trial=2)["x"])


def feasible(model: onnx.ModelProto, trial: int = 0, batch: int | None = None) -> dict[str, np.ndarray]:
    session = make_session(model)
    return feasible_inputs(lambda inputs: run(session, inputs), model, trial=trial, batch=batch)


@pytest.mark.parametrize("trial", [0, 1])
def test_many_open_dimensions_make_no_large_input(trial: int) -> None:
    model = parse("g (float[a,b,c,d,e,f] x) => (float[a,b,c,d,e,f] y) { y = Relu (x) }")
    assert 1000 < feasible(model, trial)["x"].size <= 2**22
    images = parse("g (float[a,3,c,d] x) => (float[a,3,c,d] y) { y = Relu (x) }")
    assert feasible(images, trial)["x"].shape == ((1, 3, 64, 64), (2, 3, 96, 96))[trial]


def test_a_window_that_the_declared_shape_hides_is_found() -> None:
    model = parse("g (float[n, t] x) => (float[n, 224] y) { y = Add (x, w) }")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(224, np.float32), "w"))
    assert [feasible(model, trial)["x"].shape for trial in (0, 1)] == [(1, 224), (2, 224)]


def test_a_batch_that_is_fixed_inside_stays_one() -> None:
    model = parse("g (float[n, 8] x) => (float[8] y) <int64[1] s = {8}> { y = Reshape (x, s) }")
    assert [feasible(model, trial)["x"].shape for trial in (0, 1)] == [(1, 8), (1, 8)]


def test_a_declared_size_of_zero_is_fed_as_it_is() -> None:
    model = parse("g (float[0, n] x) => (float[0, n] y) { y = Relu (x) }")
    assert [feasible(model, trial)["x"].shape for trial in (0, 1)] == [(0, 512), (0, 1536)]


def test_the_batch_can_be_chosen() -> None:
    model = parse("g (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }")
    assert feasible(model, batch=5)["x"].shape == (5, 4)


def test_indices_stay_within_a_small_vocabulary() -> None:
    model = parse(
        "g (int64[n, t] ids) => (float[n, t, 1] y) <float[10, 1] table = {0,1,2,3,4,5,6,7,8,9}>"
        " { y = Gather (table, ids) }"
    )
    assert feasible(model)["ids"].max() < 10


def test_a_model_that_never_runs_says_why() -> None:
    model = parse("g (float[n, 4] x) => (float[n] y) <int64[1] s = {7}> { y = Reshape (x, s) }")
    with pytest.raises(ModelError, match="no input was found on which the model runs") as caught:
        feasible(model)
    assert "\n" not in str(caught.value)


def test_a_recurrent_state_shares_the_batch(corpus: Path) -> None:
    model = onnx.load(corpus / "trained" / "silero_vad.onnx")
    shapes = [{name: array.shape for name, array in feasible(model, trial).items()} for trial in (0, 1)]
    for found in shapes:
        assert found["input"][0] == found["state"][1]
    assert shapes[0]["input"] != shapes[1]["input"]


def test_a_sequence_input_is_refused_in_one_line() -> None:
    info = onnx.helper.make_tensor_sequence_value_info("x", 1, None)
    out = onnx.helper.make_tensor_value_info("y", 7, [])
    graph = onnx.helper.make_graph([onnx.helper.make_node("SequenceLength", ["x"], ["y"])], "g", [info], [out])
    with pytest.raises(ModelError, match="input 'x' is no tensor"):
        random_inputs(onnx.helper.make_model(graph))


TWO = "g (float[n, 2] a, int64[n] b, float[1] w) => (float[n, 2] y) <float[1] w = {1}> { y = Mul (a, w) }"
A, B = np.ones((3, 2), np.float32), np.ones(3, np.int64)


def test_the_users_inputs_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", a=A, b=B)
    inputs = load_inputs(tmp_path / "in.npz", parse(TWO))
    np.testing.assert_array_equal(inputs["a"], A)
    np.testing.assert_array_equal(inputs["b"], B)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": A}, "lacks 'b'"),
        ({"a": A, "b": B, "c": B}, "'c' is no input"),
        ({"a": A, "b": B, "w": A}, "'w' is no input"),
        ({"a": A.astype(np.float64), "b": B}, "'a' is float64, the model takes float32"),
        ({"a": A[0], "b": B}, r"'a' has shape \(2,\), the model takes \(n, 2\)"),
        ({"a": A[:, :1], "b": B}, r"'a' has shape \(3, 1\)"),
        ({"a": A, "b": B[:2]}, r"'b' has shape \(2,\)"),
        ({"a": np.array([None]), "b": B}, "cannot be read as .npz"),
    ],
)
def test_arrays_that_do_not_fit_give_one_line(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "in.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=message) as caught:
        load_inputs(tmp_path / "in.npz", parse(TWO))
    assert "\n" not in str(caught.value)


def no_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, A)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (no_file, "no such file"),
        (Path.mkdir, "cannot be read"),
        (Path.touch, "cannot be read"),
        (lambda path: path.write_bytes(b"text"), "cannot be read"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "cannot be read"),
        (one_array, "holds one array"),
    ],
)
def test_files_that_are_no_npz_give_one_line(tmp_path: Path, write: object, message: str) -> None:
    path = tmp_path / "in.npz"
    write(path)  # type: ignore[operator]
    with pytest.raises(ArgumentError, match=message) as caught:
        load_inputs(path, parse(TWO))
    assert "\n" not in str(caught.value)


def test_a_first_axis_is_as_long_as_its_entries_that_are_picked() -> None:
    model = parse("g (int64[n, e] edges) => (int64[e] y) <int64 end = {2}> { y = Gather (edges, end) }")
    assert feasible(model)["edges"].shape[0] > 2
