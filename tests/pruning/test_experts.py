"""Amounts and criteria choose hidden neurons of experts within one node, each expert its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import upscale_onnx
from tests.channels.engine import Engine
from tests.channels.test_expert_nodes import (
    EXPERTS,
    FEATURES,
    FORMS,
    HIDDEN,
    TOKENS,
    WIDTH,
    mixture,
    network,
    quantised,
)
from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.float_view import float_view, viewed
from upscale_onnx.masks.kept import kept_channels
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.pruning.pruned import kept_masks
from upscale_onnx.results import Report
from upscale_onnx.types import Array

GATED = FORMS[-1]
BOUNDED = {**GATED, "activation_alpha": 1.702, "activation_beta": 1.0, "swiglu_limit": 1.5}


def moe(form: dict[str, Any]) -> onnx.ModelProto:
    """Experts whose last layers read some neurons of each expert less than others."""
    held = mixture(form, True, [])
    held["w2"] = strong()
    node = helper.make_node("MoE", ["v", "r", "w1", "b1", "w2", "b2"], ["o"], domain="com.microsoft", **form)
    return network(node, held, [], [])


def qmoe(bits: int, block: int, points: bool) -> onnx.ModelProto:
    held = {**mixture(GATED, True, []), "w2": strong()}
    parts = {f"{part}{i}": array for i in "12" for part, array in quantised(held[f"w{i}"], bits, block, points).items()}
    names = ["v", "r", "w1", "s1", "b1", "w2", "s2", "b2", *(["", "", "", "p1", "p2"] if points else [])]
    attrs = {**GATED, "expert_weight_bits": bits, **({"block_size": block} if block else {})}
    node = helper.make_node("QMoE", names, ["o"], domain="com.microsoft", **attrs)
    return network(node, {**held, **parts}, [], [])


def strong() -> Array:
    """Weights `(E, outputs, neurons)` of a last layer, in which the neurons of `kept` are much larger than others."""
    rng = np.random.default_rng(5)
    last = rng.normal(size=(EXPERTS, WIDTH, HIDDEN))
    for expert, row in enumerate(kept()):
        last[expert] *= np.where(np.isin(np.arange(HIDDEN), row), 1, 0.3)
    return last.astype(np.float32)


def kept() -> list[Array]:
    """The half of the neurons of each expert that is to stay, in pairs beside each other."""
    rng = np.random.default_rng(6)
    return [np.sort((rng.permutation(HIDDEN // 2)[: HIDDEN // 4, None] * 2 + [0, 1]).ravel()) for _ in range(EXPERTS)]


def outputs(model: onnx.ModelProto) -> Array:
    return Engine(model).run({"x": np.random.default_rng(4).normal(size=(TOKENS, FEATURES)).astype(np.float32)})[0]


def tensors(model: onnx.ModelProto) -> dict[str, Array]:
    return {tensor.name.split("_")[0]: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def neurons(report: Report) -> list[tuple[int, int]]:
    return [(one.kept, one.channels) for one in report.profile if one.weight == "w2"]


@pytest.mark.parametrize("model", [
    *(moe(form) for form in [*FORMS, BOUNDED]), *(qmoe(4, block, True) for block in (0, 16)), qmoe(8, 0, False),
])  # fmt: skip
def test_the_view_computes_the_same(model: onnx.ModelProto) -> None:
    """Criteria of activations see what the experts compute."""
    view = float_view(model)
    assert view is not None
    expected = outputs(model)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(outputs(view.model), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("method", [None, "constrained"])
@pytest.mark.parametrize("form", [FORMS[0], GATED], ids=["plain", "gated"])
def test_an_amount_takes_the_least_neurons_of_each_expert(form: dict[str, Any], method: Any) -> None:
    model = moe(form)
    given = {} if method is None else {"method": method}
    found = upscale_onnx.compile(model, amount=0.5, align=1, race=False, **given)
    assert found.report.verification is not None
    assert found.report.verification.equal
    assert neurons(found.report) == [(HIDDEN // 2, HIDDEN)]
    before, left = tensors(model), tensors(found.model)
    gates = 2 if form is GATED else 1
    assert left["w1"].shape == (EXPERTS, gates * HIDDEN // 2, WIDTH // 2)
    assert left["w2"].shape == (EXPERTS, WIDTH // 2, HIDDEN // 2)
    rows = [(gates * row[:, None] + np.arange(gates)).ravel() for row in kept()]
    for expert, row in enumerate(rows):
        np.testing.assert_array_equal(left["b1"][expert], before["b1"][expert][row])


def test_rows_of_neurons_go_with_their_biases() -> None:
    form = FORMS[0]
    found = upscale_onnx.compile(moe(form), amount=0.25, side="output", align=1, race=False)
    assert [(one.weight, one.kept, one.channels) for one in found.report.profile if one.weight == "w1"] == [
        ("w1", 24, 32)
    ]
    assert tensors(found.model)["b1"].shape == (EXPERTS, 24)


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize(("bits", "block"), [(4, 0), (8, 0), (4, 16), (8, 16)])
def test_whole_bytes_and_blocks_of_few_bits_go(bits: int, block: int, points: bool) -> None:
    model = qmoe(bits, block, points)
    found = upscale_onnx.compile(model, amount=0.5, align=1, race=False)
    assert found.report.verification is not None
    assert found.report.verification.equal
    assert neurons(found.report) == [(HIDDEN // 2, HIDDEN)]
    left, before = tensors(found.model), tensors(model)
    assert left["w1"].shape == (EXPERTS, HIDDEN, WIDTH * bits // 8)
    assert left["w2"].shape == (EXPERTS, WIDTH, HIDDEN // 2 * bits // 8)
    for expert, row in enumerate(kept() if not block else ()):
        both = (2 * row[:, None] + [0, 1]).ravel()
        np.testing.assert_array_equal(left["b1"][expert], before["b1"][expert][both])


def test_less_than_a_block_stays() -> None:
    found = upscale_onnx.compile(qmoe(4, 16, False), amount=0.25, align=1, race=False)
    assert tensors(found.model)["w2"].shape == (EXPERTS, WIDTH, HIDDEN // 2)


def test_channels_that_stay_in_place_keep_their_weights() -> None:
    """What the experts read is a result of the model, too."""
    model = moe(FORMS[0])
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, [TOKENS, WIDTH]))
    found = upscale_onnx.compile(model, amount=0.5, align=1, race=False)
    left = tensors(found.model)["w1"]
    assert left.shape == (EXPERTS, HIDDEN // 2, WIDTH)
    assert left.any((0, 1)).all()


def test_shared_weights_stay() -> None:
    model = moe(FORMS[0])
    other = model.graph.node.add()
    other.CopyFrom(model.graph.node[2])
    other.output[0] = "second"
    model.graph.output.add().CopyFrom(helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, [TOKENS, WIDTH]))
    found = upscale_onnx.compile(model, amount=0.5, align=1, race=False)
    assert tensors(found.model)["w2"].shape == (EXPERTS, WIDTH, HIDDEN)


def samples(count: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(count * TOKENS, FEATURES)).astype(np.float32)


def distance(model: onnx.ModelProto, options: Options) -> float:
    """How far pruning and repair move the outputs, relative to their size."""
    pruned = prune(model, options)
    after = pruned.model if pruned.finished is None else pruned.finished(pruned.model)
    assert [one.kept for one in kept_channels(viewed(after), "input") if one.weight == "w2"] == [HIDDEN // 2]
    batches = np.split(samples(20, 5), 20)
    made, wanted = (np.stack([Engine(each).run({"x": x})[0] for x in batches]) for each in (after, model))
    return float(np.linalg.norm(made - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize("model", [moe(GATED), qmoe(8, 0, True)], ids=["floats", "bytes"])
def test_repair_fits_what_is_left_of_experts(model: onnx.ModelProto) -> None:
    """`obs` knows which neurons can be made up for; there are fewer inputs of the layer than neurons."""
    asked = Options.of(amounts=(("w2", 0.5),), masks="flat", calibration={"x": samples(60, 4)})
    by_size, by_obs = distance(model, asked), distance(model, asked.replaced(criterion="obs"))
    assert by_obs < by_size
    assert distance(model, asked.replaced(repair="lsq")) < 0.6 * by_size
    assert distance(model, asked.replaced(criterion="obs", repair="lsq")) < 0.6 * by_obs


def test_layers_of_experts_are_ranked_with_others_by_obs() -> None:
    asked = Options.of(amount=0.3, scope="global", criterion="obs", calibration={"x": samples(30, 4)})
    found = prune(moe(GATED), asked)
    assert found.scores.keys() == {"w1", "w2", "wc"}
    assert 0 < kept_masks(found, "input")["w2"].sum() < HIDDEN


def test_repair_of_statistics_says_that_experts_keep_theirs() -> None:
    found = upscale_onnx.compile(moe(GATED), amount=0.5, calibration={"x": samples(5, 4)}, repair="stats", race=False)
    assert any("'stats' moves biases, which experts" in note for note in found.report.notes)


@pytest.mark.parametrize("odd", [{"k": "two"}, {"k": 9}, {"swiglu_limit": 1}, {"use_sparse_mixer": 1}], ids=str)
def test_experts_with_odd_attributes_have_no_view(odd: dict[str, Any]) -> None:
    assert float_view(moe(GATED)) is not None
    assert float_view(moe({**GATED, **odd})) is None


def test_experts_without_a_view_are_said_to_stay() -> None:
    model = moe({**GATED, "use_sparse_mixer": 1})
    found = prune(model, Options.of(amount=0.5))
    assert any("in this form are not pruned" in note for note in found.notes)


@pytest.mark.parametrize("form", [FORMS[0], GATED], ids=["plain", "gated"])
def test_a_mask_file_names_neurons_of_each_expert(tmp_path: Path, form: dict[str, Any]) -> None:
    model, masks = moe(form), np.stack([np.isin(np.arange(HIDDEN), row) for row in kept()])
    np.savez(tmp_path / "masks.npz", w2=masks)
    found = upscale_onnx.compile(model, mask=str(tmp_path / "masks.npz"), align=1, race=False)
    assert found.report.masked_channels == EXPERTS * HIDDEN // 2
    assert neurons(found.report) == [(HIDDEN // 2, HIDDEN)]
    before, left = tensors(model), tensors(found.model)
    for expert, row in enumerate(kept()):
        np.testing.assert_array_equal(left["w2"][expert], before["w2"][expert][:, row])


def test_a_mask_file_names_rows_of_gates_and_neurons_of_all_experts(tmp_path: Path) -> None:
    """Rows 6 and 7 are the gate of neuron 3 and what it is for."""
    path = tmp_path / "masks.json"
    path.write_text('{"w1@output": {"pruned": [[6, 7], [0, 1], [2, 3]]}, "w2": {"pruned": [5, 8]}}')
    model = moe(GATED)
    found = upscale_onnx.compile(model, mask=str(path), align=1, race=False)
    before, left = tensors(model), tensors(found.model)
    for expert, first in enumerate((3, 0, 1)):
        row = np.setdiff1d(np.arange(HIDDEN), [first, 5, 8])
        np.testing.assert_array_equal(left["w2"][expert], before["w2"][expert][:, row])


@pytest.mark.parametrize(("gone", "left"), [((4, 5, 8, 9), HIDDEN - 4), ((4, 5, 8, 10, 12), HIDDEN - 2)])
def test_a_mask_file_takes_just_what_it_names_of_few_bits(tmp_path: Path, gone: tuple[int, ...], left: int) -> None:
    """A byte holds two neurons: of those named alone, zeros are left."""
    model = qmoe(4, 0, True)
    np.savez(tmp_path / "masks.npz", w2=~np.isin(np.arange(HIDDEN), gone))
    found = upscale_onnx.compile(model, mask=str(tmp_path / "masks.npz"), align=1, race=False)
    assert tensors(found.model)["w2"].shape == (EXPERTS, WIDTH, left // 2)
    before, after = (float_view(each) for each in (model, found.masked))
    assert before is not None
    assert after is not None
    rows = [stored.stored.values for stored in (before.weights["w2"], after.weights["w2"])]  # type: ignore[union-attr]
    np.testing.assert_array_equal(rows[1], np.where(np.isin(np.arange(HIDDEN), gone), 0, rows[0]))


def test_repair_takes_just_the_neurons_that_a_mask_file_names(tmp_path: Path) -> None:
    gone = np.isin(np.arange(HIDDEN), (4, 6, 8, 10))
    np.savez(tmp_path / "masks.npz", w2=~gone)
    asked = Options.of(mask=str(tmp_path / "masks.npz"), repair="lsq", calibration={"x": samples(20, 4)})
    after = float_view(prune(qmoe(4, 0, True), asked).model)
    assert after is not None
    for used in after.experts["w2"].used("input"):
        np.testing.assert_array_equal(used, ~gone)


def test_a_mask_file_with_another_count_of_experts_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "masks.npz", w2=np.ones((2, HIDDEN), np.bool_))
    with pytest.raises(ArgumentError, match="'w2' has 2 rows, there are 3 matrices"):
        upscale_onnx.compile(moe(GATED), mask=str(tmp_path / "masks.npz"), race=False)
    np.savez(tmp_path / "masks.npz", wc=np.ones((2, WIDTH), np.bool_))
    with pytest.raises(ArgumentError, match="'wc' has 2 rows, the weight is one matrix"):
        upscale_onnx.compile(moe(GATED), mask=str(tmp_path / "masks.npz"), race=False)
