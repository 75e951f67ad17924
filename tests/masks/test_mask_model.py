"""Masking whole models: which zeros are written, and that nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.pruned import pruned, task
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.masks.choose import chooser
from upscale_onnx.masks.mask_model import write_masks
from upscale_onnx.masks.pools import Groups
from upscale_onnx.options import Options


def _network(seed: int = 0) -> onnx.ModelProto:
    """stem (3 -> 16), two 1x1 convolutions of the stem's output (16 -> 12) added, a classifier (12 -> 10)."""
    rng = np.random.default_rng(seed)
    shapes = {
        "stem": (16, 3, 3, 3),
        "left": (12, 16, 1, 1),
        "right": (12, 16, 1, 1),
        "depthwise": (12, 1, 3, 3),
        "fc": (10, 12),
        "left_bias": (12,),
        "fc_bias": (10,),
    }
    nodes = [
        helper.make_node("Conv", ["x", "stem"], ["a"], "stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "left", "left_bias"], ["l"], "left"),
        helper.make_node("Conv", ["r", "right"], ["q"], "right"),
        helper.make_node("Add", ["l", "q"], ["s"]),
        helper.make_node("Conv", ["s", "depthwise"], ["d"], "depthwise", group=12),
        helper.make_node("GlobalAveragePool", ["d"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc", "fc_bias"], ["y"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10))],
        [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in shapes.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.doc_string = "kept"
    onnx.checker.check_model(model)
    return model


def _array(model: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))


def _pruned(model: onnx.ModelProto, name: str, axis: int) -> list[int]:
    rows = np.moveaxis(_array(model, name), axis, 0)
    return [i for i, row in enumerate(rows) if not row.any()]


def _changed(before: onnx.ModelProto, after: onnx.ModelProto) -> set[str]:
    pairs = zip(before.graph.initializer, after.graph.initializer, strict=True)
    return {a.name for a, b in pairs if a.SerializeToString() != b.SerializeToString()}


def test_without_a_mask_the_model_itself_comes_back() -> None:
    model = _network()
    masked, count = pruned(model, Options())
    assert masked is model
    assert count == 0


def test_each_consumer_loses_its_own_lowest_channels() -> None:
    model = _network()
    before = model.SerializeToString()
    masked, count = pruned(model, Options.of(amount=0.3, masks="flat"))
    assert model.SerializeToString() == before
    for name, channels in {"left": 16, "right": 16, "fc": 12}.items():
        norms = np.linalg.norm(np.moveaxis(_array(model, name), 1, 0).reshape(channels, -1).astype(np.float64), axis=1)
        assert _pruned(masked, name, 1) == sorted(np.argsort(norms)[: int(0.3 * channels)])
    assert _pruned(masked, "left", 1) != _pruned(masked, "right", 1)
    # Colours and depthwise filters are left alone, and so are biases on the input side.
    assert _changed(model, masked) == {"left", "right", "fc"}
    assert count == 4 + 4 + 3
    assert masked.doc_string == "kept"
    onnx.checker.check_model(masked, full_check=True)


def test_the_output_side_zeroes_rows_and_their_bias() -> None:
    model = _network()
    masked, count = pruned(model, Options.of(amount=0.25, side="output", criterion="l1", masks="flat"))
    # The classifier's outputs leave the graph; depthwise channels belong to those that feed them.
    assert _changed(model, masked) == {"stem", "left", "left_bias", "right"}
    assert count == 4 + 3 + 3
    assert _pruned(masked, "left", 0) == [i for i, value in enumerate(_array(masked, "left_bias")) if value == 0]
    norms = np.abs(_array(model, "stem").astype(np.float64)).sum((1, 2, 3))
    assert _pruned(masked, "stem", 0) == sorted(np.argsort(norms)[:4])


def test_a_channel_pruned_on_the_output_side_is_zero_for_every_input() -> None:
    model = _network()
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("l", TensorProto.FLOAT, (1, 12, 6, 6)))
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 10)))
    path_free = Options.of(amount=0.5, side="output", masks="flat")
    assert "left" not in _changed(model, pruned(model, path_free)[0])  # it leaves the graph now
    inner, _ = pruned(_network(), path_free)
    inner.graph.output.append(helper.make_tensor_value_info("l", TensorProto.FLOAT, (1, 12, 6, 6)))
    x = np.random.default_rng(1).normal(size=(1, 3, 6, 6)).astype(np.float32)
    _, emitted = cast("list[Any]", ReferenceEvaluator(inner).run(None, {"x": x}))
    assert [c for c in range(12) if not emitted[0, c].any()] == _pruned(inner, "left", 0)
    assert len(_pruned(inner, "left", 0)) == 6


def test_random_follows_the_seed() -> None:
    def choice(seed: int) -> bytes:
        options = Options.of(amount=0.5, criterion="random", seed=seed, masks="flat")
        return bytes(pruned(_network(), options)[0].SerializeToString())

    assert choice(1) == choice(1)
    assert choice(1) != choice(2)


def _agreeing(model: onnx.ModelProto, options: Options, groups: Groups) -> tuple[onnx.ModelProto, int]:
    masks = chooser(model, options.prune, groups).masks(task(model, options).scores, options.prune.amount or 0.0)
    return write_masks(model, masks)


def test_constrained_consumers_agree() -> None:
    model = _network()
    options = Options.of(amount=0.5, method="constrained", masks="flat")
    ids = np.arange(100, 116)
    masked, count = _agreeing(model, options, [[("left", ids), ("right", ids[::-1].copy())]])
    right = [15 - i for i in _pruned(masked, "right", 1)]
    assert _pruned(masked, "left", 1) == sorted(right)
    assert len(right) == 8
    assert len(_pruned(masked, "fc", 1)) == 6  # in no group: chooses for itself
    assert count == 8 + 8 + 6
    free, _ = _agreeing(model, options, ())
    assert _pruned(free, "left", 1) != _pruned(free, "right", 1)


def test_constrained_groups_of_what_is_not_masked_are_passed_over() -> None:
    model = _network()
    options = Options.of(amount=0.5, method="constrained", masks="flat")
    groups: Groups = [[("stem", np.arange(3)), ("nothing", np.arange(5))], []]
    assert _agreeing(model, options, groups) == _agreeing(model, options, ())


def test_a_mask_file_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    left = [1] * 16
    left[3] = left[5] = 0
    path.write_text(json.dumps({"left": left, "stem@output": {"pruned": [0, 15]}, "depthwise@output": [0] + [1] * 11}))
    model = _network()
    masked, count = pruned(model, Options.of(mask=str(path)))
    assert _pruned(masked, "left", 1) == [3, 5]
    assert _pruned(masked, "stem", 0) == [0, 15]
    assert _pruned(masked, "depthwise", 0) == [0]
    assert count == 5
    assert _changed(model, masked) == {"left", "stem", "depthwise"}


def test_a_mask_file_may_prune_everything(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"fc": [0] * 12}))
    masked, count = pruned(_network(), Options.of(mask=str(path)))
    assert not _array(masked, "fc").any()
    assert count == 12


def test_an_npz_mask_follows_the_side_of_the_options(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", left=np.arange(12) != 4)
    masked, _ = pruned(_network(), Options.of(mask=str(tmp_path / "m.npz"), side="output"))
    assert _pruned(masked, "left", 0) == [4]
    assert _array(masked, "left_bias")[4] == 0


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"lefft": [1]}, "'lefft', did you mean 'left'"),
        ({"left": [1, 0]}, "2 entries for 16 channels on the input side of Conv 'left'"),
        ({"left": {"pruned": [16]}}, "channel 16 of 16"),
        ({"depthwise": [1]}, "'depthwise' (Conv) has no axis of input channels"),
        ({"left": [1] * 16, "left@input": [1] * 16}, "masked twice"),
    ],
)
def test_a_mask_file_that_does_not_fit_is_refused(tmp_path: Path, content: object, complaint: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ArgumentError) as caught:
        pruned(_network(), Options.of(mask=str(path)))
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_arguments_that_cannot_be_used() -> None:
    with pytest.raises(ArgumentError, match="amount and a mask file both say"):
        pruned(_network(), Options.of(amount=0.1, mask="m.json"))
    with pytest.raises(ArgumentError, match="criterion called 'best'"):
        pruned(_network(), Options.of(amount=0.1, criterion="best", masks="flat"))
    with pytest.raises(ArgumentError, match="amount is 1"):
        pruned(_network(), Options.of(amount=1.0, masks="flat"))


def test_weights_whose_data_was_not_loaded_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(_network(), path, save_as_external_data=True, location="data.bin", size_threshold=0)
    with pytest.raises(ModelError, match=r"'left'.*load the model with it"):
        pruned(onnx.load(path, load_external_data=False), Options.of(amount=0.3, masks="flat"))


def test_a_weight_in_a_constant_node_and_typed_data() -> None:
    value = helper.make_tensor("", TensorProto.FLOAT, (8, 2), [float(i) for i in range(1, 17)])
    nodes = [
        helper.make_node("Constant", [], ["w"], value=value),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, s)) for n, s in (("x", 8), ("y", 2)))
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]))
    masked, count = pruned(model, Options.of(amount=0.25, masks="flat"))
    assert count == 2
    expected = np.arange(1.0, 17.0).reshape(8, 2)
    expected[:2] = 0
    np.testing.assert_array_equal(numpy_helper.to_array(masked.graph.node[0].attribute[0].t), expected)
    onnx.checker.check_model(masked, full_check=True)


def test_resnet20_loses_its_share_of_every_consumer(corpus: Path) -> None:
    model = onnx.load(corpus / "trained" / "cifar10_resnet20.onnx")
    masked, count = pruned(model, Options.of(amount=0.3, masks="flat"))
    changed = _changed(model, masked)
    assert count == sum(int(0.3 * _array(model, name).shape[1]) for name in changed)
    assert len(changed) == 19  # 18 convolutions behind the stem and the classifier
