"""Repair of small networks whose best repair is known, and what it must never do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.pruned import pruned
from upscale_onnx.errors import ArgumentError
from upscale_onnx.export.sizes import remaining, size_goal, tightened
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.options import Options
from upscale_onnx.pruning.prune import prune
from upscale_onnx.repair.choose import obs_scores
from upscale_onnx.repair.repair import repair
from upscale_onnx.runtime.activations import batches_of, value_batches
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.runtime.walk import Walk


def _network(*, normalised: bool = False, biased: bool = True) -> onnx.ModelProto:
    """Stem, two residual blocks, pooling and a classifier, over 8x8 images; channel 5 of the stem copies channel 2."""
    rng = np.random.default_rng(0)
    tensors: dict[str, NDArray[Any]] = {}
    nodes = []

    def conv(source: str, name: str, outputs: int, inputs: int) -> str:
        tensors[f"{name}_w"] = rng.normal(size=(outputs, inputs, 3, 3)) / (3 * inputs**0.5)
        if biased:
            tensors[f"{name}_b"] = rng.normal(size=outputs) / 4
        given = [source, f"{name}_w", f"{name}_b"] if biased else [source, f"{name}_w"]
        nodes.append(helper.make_node("Conv", given, [name], name, pads=[1, 1, 1, 1]))
        if not normalised:
            return name
        for part, values in (
            ("gamma", rng.uniform(0.5, 2, outputs)),
            ("beta", rng.normal(size=outputs)),
            ("mean", rng.normal(size=outputs) / 4),
            ("variance", rng.uniform(0.5, 2, outputs)),
        ):
            tensors[f"{name}_{part}"] = values
        parameters = [f"{name}_{part}" for part in ("gamma", "beta", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [name, *parameters], [f"{name}_n"], f"{name}_n"))
        return f"{name}_n"

    nodes_of_stem = conv("x", "stem", 12, 3)
    nodes.append(helper.make_node("Relu", [nodes_of_stem], ["r0"]))
    for block, source in ((1, "r0"), (2, "r1")):
        first = conv(source, f"a{block}", 16, 12)
        nodes.append(helper.make_node("Relu", [first], [f"h{block}"]))
        second = conv(f"h{block}", f"c{block}", 12, 16)
        nodes.append(helper.make_node("Add", [second, source], [f"s{block}"]))
        nodes.append(helper.make_node("Relu", [f"s{block}"], [f"r{block}"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["r2"], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["f"]))
    nodes.append(helper.make_node("MatMul", ["f", "fc"], ["z"], "fc"))
    nodes.append(helper.make_node("Add", ["z", "fc_b"], ["y"]))
    tensors["fc"], tensors["fc_b"] = rng.normal(size=(12, 10)), rng.normal(size=10)
    for part in [key for key in tensors if key.startswith("stem")]:
        tensors[part][5] = tensors[part][2]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 10))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def _data(count: int = 160, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def _array(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def _error(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    x = {"x": _data(64, seed=9)}
    (expected,), (found,) = (run(make_session(m), x) for m in (model, other))
    return float(np.square(expected - found).mean() / expected.var())


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("how", ["stats", "lsq"])
def test_repair_brings_outputs_nearer(how: Any, normalised: bool, biased: bool) -> None:
    model = _network(normalised=normalised, biased=biased)
    masked, _ = pruned(model, Options.of(amount=0.3, masks="flat"))
    before = model.SerializeToString(), masked.SerializeToString()
    repaired, layers = repair(model, masked, batches_of({"x": _data()}, 32), how)
    assert (model.SerializeToString(), masked.SerializeToString()) == before
    onnx.checker.check_model(repaired, full_check=True)
    assert _error(model, repaired) < (0.5 if how == "lsq" else 0.95) * _error(model, masked)
    assert [layer.weight for layer in layers] == ["stem_w", "a1_w", "c1_w", "a2_w", "c2_w", "fc"]
    assert all(layer.after <= layer.before for layer in layers)
    for name in ("a1_w", "c1_w", "a2_w", "c2_w", "fc"):
        assert not _array(repaired, name)[_array(masked, name) == 0].any(), "what is pruned stays pruned"


def test_weights_that_are_worse_when_they_are_rounded_stay_as_they_are() -> None:
    model = _network()
    masked, _ = pruned(model, Options.of(amount=0.3, masks="flat"))
    batches = batches_of({"x": _data()}, 32)
    repaired, _ = repair(model, masked, batches, rounded=lambda name, values: np.round(values, 3))
    assert _error(model, repaired) < 0.5 * _error(model, masked)
    fitted = _array(repaired, "c1_w")
    assert (fitted != _array(masked, "c1_w")).any()
    np.testing.assert_allclose(fitted, np.round(fitted, 3), atol=1e-6)
    kept, _ = repair(model, masked, batches, rounded=lambda name, values: 9 * values)
    assert all((_array(kept, name) == _array(masked, name)).all() for name in ("a1_w", "a1_b", "c1_w", "c1_b"))


def test_a_channel_that_has_a_copy_is_made_up_for_entirely() -> None:
    model = _network()
    kept = np.arange(12) != 5
    masked, _ = write_masks(model, {"a1_w": kept})
    repaired, _ = repair(model, masked, batches_of({"x": _data(320)}, 32))
    assert _error(model, masked) > 1e-3
    assert _error(model, repaired) < 1e-6
    expected = _array(model, "a1_w")[:, 2] + _array(model, "a1_w")[:, 5]
    np.testing.assert_allclose(_array(repaired, "a1_w")[:, 2], expected, atol=2e-3)


def test_obs_removes_the_copy_first() -> None:
    scores = obs_scores(_network(), batches_of({"x": _data()}, 32))
    assert set(scores) == {"stem_w", "a1_w", "c1_w", "a2_w", "c2_w", "fc"}
    assert int(np.argmin(scores["a1_w"])) in (2, 5)


def test_nothing_pruned_means_nothing_changed() -> None:
    model = _network()
    repaired, layers = repair(model, model, batches_of({"x": _data()}, 32))
    assert _error(model, repaired) < 1e-10
    assert all(layer.after <= 1e-4 for layer in layers)


def test_the_residual_branch_is_made_up_for() -> None:
    model = _network()
    masked, _ = write_masks(model, {"a1_w": np.arange(12) > 3, "c1_w": np.arange(16) > 6})
    repaired, layers = repair(model, masked, batches_of({"x": _data()}, 32))
    by_weight = {layer.weight: layer for layer in layers}
    # Nothing of block 2 is pruned, so all it could mend is what block 1 handed on: through c2, behind the Add.
    assert by_weight["c2_w"].after < 0.97 * by_weight["c2_w"].before
    assert _error(model, repaired) < _error(model, masked)


def test_pruned_outputs_stay_zero() -> None:
    model = _network()
    masked, _ = pruned(model, Options.of(amount=0.25, side="output", masks="flat"))
    repaired, _ = repair(model, masked, batches_of({"x": _data()}, 32))
    for name in ("stem", "a1", "c1", "a2", "c2"):
        gone = ~_array(masked, f"{name}_w").reshape(_array(masked, f"{name}_w").shape[0], -1).any(axis=1)
        assert gone.any()
        assert not _array(repaired, f"{name}_w")[gone].any()
        assert not _array(repaired, f"{name}_b")[gone].any()
    assert _error(model, repaired) < 0.7 * _error(model, masked)


@pytest.mark.parametrize("criterion", ["l2", "obs"])
def test_zeros_that_the_model_came_with_stay(criterion: Any) -> None:
    """Also where layers choose their channels anew."""
    came, _ = pruned(_network(), Options.of(amount=0.25, masks="flat"))
    options = Options.of(amount=0.5, masks="flat", criterion=criterion, repair="lsq", calibration={"x": _data()})
    masked, _ = pruned(came, options)
    for name in ("a1_w", "c1_w", "a2_w", "c2_w", "fc"):
        weight, axis = _array(masked, name), 0 if name == "fc" else 1
        read = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).any(axis=1)
        assert read.sum() == weight.shape[axis] // 2
        assert not weight[_array(came, name) == 0].any()


def test_a_size_is_reached_where_layers_choose_their_channels_anew() -> None:
    """Branches that choose other channels than the masks had leave more of what they read in common."""
    folder = Path(__file__).resolve().parents[2] / "models"
    model = onnx.load(folder / "digits_inception_masked.onnx")
    data = {"image": np.load(folder / "digits_test.npz")["image"][:64]}
    options = Options.of(criterion="obs", repair="lsq", calibration=data, race=False, params=0.4)
    wanted = size_goal(options.prune)
    assert wanted is not None
    assert remaining(model, wanted, options)(prune(model, options).model) <= wanted.share


def test_a_smaller_size_is_asked_for() -> None:
    for given, asked in (({"params": 0.5}, 0.45), ({"macs": 0.5}, 0.45), ({"compression": 1.8}, 0.5)):
        found = size_goal(tightened(Options.of(**given), 0.9).prune)
        assert found is not None
        assert found.share == pytest.approx(asked)


def test_scattered_zeros_are_left_as_they_are() -> None:
    model = _network()
    masked = onnx.ModelProto()
    masked.CopyFrom(model)
    weight = _array(masked, "a1_w").copy()
    weight[np.random.default_rng(0).random(weight.shape) < 0.3] = 0
    next(t for t in masked.graph.initializer if t.name == "a1_w").CopyFrom(numpy_helper.from_array(weight, "a1_w"))
    repaired, layers = repair(model, masked, batches_of({"x": _data()}, 32))
    assert "a1_w" not in [layer.weight for layer in layers]
    np.testing.assert_array_equal(_array(repaired, "a1_w"), weight)


def test_too_little_data_and_other_graphs_are_refused() -> None:
    model = _network()
    with pytest.raises(ArgumentError, match="at least 16 samples, there are 8"):
        repair(model, model, batches_of({"x": _data(8)}, 4))
    with pytest.raises(ArgumentError, match="the graphs of the pruned and the unpruned model differ"):
        repair(model, _network(normalised=True), batches_of({"x": _data(32)}, 4))


def test_a_walk_holds_and_spills_what_is_read_later() -> None:
    model = _network()
    batches = batches_of({"x": _data(40)}, 16)
    expected = [values["r1"] for values in value_batches(model, ["r1"], batches)]
    position = next(i for i, node in enumerate(model.graph.node) if node.output[0] == "r1")
    for spill_bytes in (0, 10_000, 2**30):
        with Walk(model, batches, spill_bytes=spill_bytes) as walk:
            for stop in range(position + 2):
                walk.advance(stop)
            for found, wanted in zip(walk.values("r1"), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
            with pytest.raises(KeyError):
                next(walk.values("h1"))


@pytest.mark.slow
def test_resnet20_keeps_most_of_its_outputs(corpus: Path) -> None:
    model = onnx.load(corpus / "trained" / "cifar10_resnet20.onnx")
    x = np.random.default_rng(0).normal(size=(128, 3, 32, 32)).astype(np.float32)
    masked, _ = pruned(model, Options.of(amount=0.3, masks="flat"))
    repaired, _ = repair(model, masked, batches_of({"input": x}, 32))
    test = {"input": np.random.default_rng(1).normal(size=(64, 3, 32, 32)).astype(np.float32)}
    (expected,), (before,), (after,) = (run(make_session(m), test) for m in (model, masked, repaired))
    assert np.square(after - expected).mean() < 0.5 * np.square(before - expected).mean()
