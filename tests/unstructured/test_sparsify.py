"""Zeros in the tensors that were chosen, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.graphs import check, parse, run, weight
from upscale_onnx import compile
from upscale_onnx.cli.main import main
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.masks.targets import constant_tensors
from upscale_onnx.unstructured.parameters import choose, parameters
from upscale_onnx.unstructured.sparsify import Sparsifying, sparsify
from upscale_onnx.unstructured.sparsity import sparsity

NETWORK = """(float[N,4,6,6] x) => (float[N,5] y) {
    c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, first, b1)
    r1 = Relu(c1)
    c2 = Conv<kernel_shape=[1,1]>(r1, second, b2)
    r2 = Relu(c2)
    c3 = Conv<kernel_shape=[3,3], group=12>(r2, depthwise)
    p = GlobalAveragePool(c3)
    f = Flatten(p)
    y = Gemm(f, head, b3)
}"""


def _weight(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


@pytest.fixture
def model() -> onnx.ModelProto:
    """Two convolutions, a depthwise one, and a head, each with weights of its own."""
    return parse(
        NETWORK,
        first=_weight(16, 4, 3, 3),
        b1=_weight(16),
        second=_weight(12, 16, 1, 1),
        b2=_weight(12),
        depthwise=_weight(12, 1, 3, 3),
        head=_weight(12, 5),
        b3=_weight(5),
    )


def _values(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {name: numpy_helper.to_array(tensor) for name, tensor in constant_tensors(model).items()}


def test_parameters_know_their_layers_and_channels(model: onnx.ModelProto) -> None:
    found = {p.name: p for p in parameters(model)}
    assert list(found) == ["first", "b1", "second", "b2", "depthwise", "head", "b3"]
    assert [p.kind for p in found.values()].count("bias") == 3
    assert (found["first"].input_axis, found["first"].output_axis) == (1, 0)
    assert (found["depthwise"].input_axis, found["depthwise"].output_axis) == (None, 0)
    assert (found["head"].input_axis, found["head"].output_axis) == (0, 1)
    assert found["head"].nodes == ("y",)


def test_globs_choose_by_tensor_and_by_node(model: onnx.ModelProto) -> None:
    def names(*args: Any) -> list[str]:
        return [p.name for p in choose(parameters(model), *args)]

    assert names() == ["first", "second", "depthwise", "head"]
    assert names(("c*",)) == ["first", "second", "depthwise"]
    assert names(("c1", "head"), (), ("weight", "bias")) == ["first", "b1", "head"]
    assert names((), ("c3", "first")) == ["second", "head"]
    for bad in ((("nothing*",),), ((), ("C1",))):
        with pytest.raises(ArgumentError, match="is the name of no layer"):
            names(*bad)
    with pytest.raises(ArgumentError, match="no constant floating-point bias"):
        names(("c3",), (), ("bias",))


def test_only_chosen_tensors_change_and_only_to_zero(model: onnx.ModelProto) -> None:
    original = model.SerializeToString()
    pruned = sparsify(model, Sparsifying(amount=0.3, layers=("c*",), ignore=("c2",))).model
    assert model.SerializeToString() == original
    for name, before in _values(model).items():
        after = _values(pruned)[name]
        changed = before.view(np.uint32) != after.view(np.uint32)
        assert changed.sum() == (round(0.3 * before.size) if name in ("first", "depthwise") else 0)
        assert not after[changed].any()
    pruned.graph.ClearField("initializer")
    bare = onnx.ModelProto.FromString(original)
    bare.graph.ClearField("initializer")
    assert pruned == bare


def test_global_ranks_all_entries_together(model: onnx.ModelProto) -> None:
    values = _values(model)
    values["first"] = values["first"] * np.float32(1e-3)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
    masks = sparsify(model, Sparsifying(amount=500, is_global=True)).masks
    assert not masks["first"][np.abs(values["first"]) < 1e-3].any()
    assert sum(int((~mask).sum()) for mask in masks.values()) == 500
    drawn = sparsify(model, Sparsifying("random", 0.5, is_global=True)).masks
    assert sum(int((~mask).sum()) for mask in drawn.values()) == round(0.5 * sum(m.size for m in drawn.values()))


def test_zeros_that_are_there_count_or_do_not(model: onnx.ModelProto) -> None:
    once = sparsify(model, Sparsifying(amount=0.5)).model
    again = sparsify(once, Sparsifying(amount=0.5)).model
    assert again == once
    further = sparsify(once, Sparsifying(amount=0.5, keep_zeros=True)).model
    assert sparsity(further, choose(parameters(further))).share == pytest.approx(0.75, abs=0.01)


def test_scores_stand_in_for_values(model: onnx.ModelProto) -> None:
    scores = {"head": np.arange(60).reshape(12, 5)}
    mask = sparsify(model, Sparsifying(amount=6, layers=("head",)), scores).masks["head"]
    assert np.flatnonzero(~mask).tolist() == list(range(6))
    with pytest.raises(ArgumentError, match="did you mean 'head'"):
        sparsify(model, Sparsifying(amount=6, layers=("head",)), {"heat": scores["head"]})
    with pytest.raises(ArgumentError, match="the tensor differs"):
        sparsify(model, Sparsifying(amount=6), {"head": scores["head"][:2]})


def test_a_pattern_of_ones_own(model: onnx.ModelProto) -> None:
    def checkers(array: NDArray[Any], before: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[Any]:
        return np.arange(array.size).reshape(array.shape) % 2

    found = sparsify(model, Sparsifying(checkers, layers=("head",)))
    assert not _values(found.model)["head"].ravel()[::2].any()
    assert _values(found.model)["head"].ravel()[1::2].all()
    with pytest.raises(ArgumentError, match="'head': the mask has shape"):
        sparsify(model, Sparsifying(lambda array, before, rng: array[0] != 0, layers=("head",)))


def test_structured_patterns_follow_the_side(model: onnx.ModelProto) -> None:
    found = sparsify(model, Sparsifying("ln-structured", 0.25, n=2, side="input"))
    assert found.skipped == ("depthwise",)
    rows = {row.name: row for row in sparsity(found.model).tensors}
    assert (rows["first"].zero_inputs, rows["first"].inputs) == (1, 4)
    assert (rows["second"].zero_inputs, rows["second"].zero_outputs) == (4, 0)
    assert (rows["head"].zero_inputs, rows["head"].shape) == (3, (12, 5))
    values = np.linalg.norm(_values(model)["head"], axis=1)
    gone = ~_values(found.model)["head"].any(axis=1)
    assert set(np.flatnonzero(gone)) == set(np.argsort(values)[:3])
    with pytest.raises(ArgumentError, match="has input channels"):
        sparsify(model, Sparsifying("ln-structured", 0.25, side="input", layers=("depthwise",)))
    with pytest.raises(ArgumentError, match="'head': axis 3 does not exist"):
        sparsify(model, Sparsifying("ln-structured", 0.25, dim=3))


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("raw", [True, False])
def test_every_encoding_keeps_what_is_not_pruned(dtype: int, raw: bool) -> None:
    values = [3.0, -0.5, 0.25, float("nan"), -0.0, float("inf"), 1.0, -2.0]
    tensor = helper.make_tensor("w", dtype, (4, 2), values)
    if raw:
        tensor = numpy_helper.from_array(numpy_helper.to_array(tensor), "w")
    tensor.doc_string = "kept"
    tensor.metadata_props.add(key="k", value="v")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [value("x", dtype, ["N", 4])],
        [value("y", dtype, ["N", 2])],
        [tensor],
    )
    found = sparsify(helper.make_model(graph), Sparsifying(amount=3)).model.graph.initializer[0]
    after = numpy_helper.to_array(found).ravel().astype(np.float64)
    np.testing.assert_array_equal(after, [3.0, 0, 0, float("nan"), 0, float("inf"), 1.0, -2.0])
    assert found.HasField("raw_data") is raw
    assert (found.doc_string, found.data_type, len(found.metadata_props)) == ("kept", dtype, 1)


def test_shared_tensors_are_pruned_once_and_constant_nodes_as_well() -> None:
    model = parse(
        """(float[N,8] x) => (float[N,8] y) {
            a = MatMul(x, w)
            same = Identity(w)
            b = MatMul(a, same)
            v = Constant<value_float=1.0>()
            c = Mul(b, v)
            y = MatMul(c, k)
        }""",
        w=_weight(8, 8),
        k=_weight(8, 8, seed=1),
    )
    constant = helper.make_node("Constant", [], ["k"], value=model.graph.initializer.pop(1))
    model.graph.node.insert(0, constant)
    onnx.checker.check_model(model)
    assert [(p.name, p.nodes) for p in parameters(model)] == [("w", ("a", "b")), ("k", ("y",))]
    found = sparsify(model, Sparsifying(amount=0.5))
    assert [(int((array == 0).sum())) for array in _values(found.model).values()] == [32, 32]
    x = _weight(3, 8)
    w, k = _values(found.model)["w"], _values(found.model)["k"]
    np.testing.assert_allclose(run(found.model, {"x": x})[0], x @ w @ w @ k, rtol=1e-4, atol=1e-5)


def test_masks_for_tensors_by_name(model: onnx.ModelProto) -> None:
    mask = np.ones((12, 5), np.int8)
    mask[2] = 0
    found = sparsify(model, masks={"head": mask})
    assert sparsity(found.model).zeros == 5
    assert not _values(found.model)["head"][2].any()
    with pytest.raises(ArgumentError, match="did you mean 'head'"):
        sparsify(model, masks={"heads": mask})
    with pytest.raises(ArgumentError, match="'b3': the mask has shape"):
        sparsify(model, masks={"b3": mask})


def test_data_in_another_file_is_not_looked_for(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere")
    for use in (sparsity, lambda m: sparsify(m, Sparsifying(amount=0.1))):
        with pytest.raises(ModelError, match="not loaded"):
            use(model)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"pattern": "l2"}, "no pattern called 'l2'"),
        ({"pattern": "l1"}, "needs an amount"),
        ({"pattern": lambda *_: None, "amount": 0.1}, "leave the amount out"),
        ({"pattern": "ln-structured", "amount": 0.1, "is_global": True}, "only entries are ranked globally"),
        ({"amount": 0.1, "n": float("nan")}, "n is not a number"),
    ],
)
def test_prunings_that_make_no_sense(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError, match=complaint):
        Sparsifying(**options)


@pytest.mark.parametrize("side", ["input", "output"])
def test_the_compile_removes_what_became_whole_channels(side: str) -> None:
    model = parse(
        NETWORK,
        first=weight(16, 4, 3, 3),
        b1=weight(16),
        second=weight(12, 16, 1, 1),
        b2=weight(12),
        depthwise=weight(12, 1, 3, 3),
        head=weight(12, 5),
        b3=weight(5),
    )
    layers, kinds = (("second",), ("weight",)) if side == "input" else (("c1",), ("weight",))
    pruned = sparsify(model, Sparsifying("ln-structured", 0.5, side=side, layers=layers, kinds=kinds)).model  # type: ignore[arg-type]
    result = compile(pruned, race=False, align=1)
    shapes = {name: array.shape for name, array in _values(result.model).items()}
    assert (8, 4, 3, 3) in shapes.values()
    assert (12, 8, 1, 1) in shapes.values()
    assert result.report.after.parameters < result.report.before.parameters
    check(pruned, result.model)
    scattered = sparsify(model, Sparsifying(amount=0.5, layers=layers)).model
    unshrunk = compile(scattered, race=False, align=1).report
    assert unshrunk.after.parameters == unshrunk.before.parameters


def test_the_commands(model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target, report = (str(tmp_path / name) for name in ("in.onnx", "out.onnx", "r.json"))
    onnx.save(model, source)
    assert main(["sparsify", source, target, "--amount", "0.5", "--kind", "all", "--json", report]) == 0
    assert onnx.load(target) == sparsify(model, Sparsifying(amount=0.5, kinds=("weight", "bias"))).model
    content = json.loads(Path(report).read_text())
    assert (content["kind"], content["share"]) == ("sparsity", pytest.approx(0.5, abs=0.01))
    assert [tensor["name"] for tensor in content["tensors"]][:2] == ["first", "b1"]
    assert "sparsity.pruned" in capsys.readouterr().out
    assert main(["sparsity", target, "--layer", "head", "--json", report]) == 0
    assert json.loads(Path(report).read_text())["zeros"] == 30
    assert "sparsity.head" in capsys.readouterr().out
    structured = ["--pattern", "ln-structured", "--n", "inf", "--side", "input", "--amount", "2", "--layer", "second"]
    assert main(["sparsify", source, target, *structured, "-q"]) == 0
    assert sparsity(onnx.load(target)).tensors[2].zero_inputs == 2
    np.savez(tmp_path / "m.npz", head=np.zeros((12, 5)))
    assert main(["sparsify", source, target, "--mask", str(tmp_path / "m.npz"), "-q"]) == 0
    assert not _values(onnx.load(target))["head"].any()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "one of the arguments --amount --mask is required"),
        (["--amount", "1.5"], "neither a share"),
        (["--amount", "999999"], "there are only 576 to prune"),
        (["--amount", "0.1", "--pattern", "l7"], "invalid choice"),
        (["--amount", "0.1", "--n", "2"], "--n has no effect"),
        (["--amount", "0.1", "--dim", "1"], "--dim has no effect"),
        (["--amount", "0.1", "--side", "input"], "--side has no effect"),
        (["--amount", "0.1", "--layer", "q"], "is the name of no layer"),
        (["--amount", "0.1", "--pattern", "random", "--scores", "s.npz"], "--scores has no effect"),
        (["--amount", "0.1", "--pattern", "ln-structured", "--n", "nan"], "not the n of a norm"),
        (["--mask", "none.npz"], "no such file"),
        (["--mask", "none.npz", "--global"], "leave out the other options"),
    ],
)
def test_arguments_that_cannot_be_used(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    onnx.save(model, tmp_path / "in.onnx")
    assert main(["sparsify", str(tmp_path / "in.onnx"), str(tmp_path / "out.onnx"), *words]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.onnx").exists()
