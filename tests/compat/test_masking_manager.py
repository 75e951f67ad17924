"""Masks by the reference's interface, on graphs small enough to check by hand and on real networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.compat.networks import columns, residual, rows, weights
from tests.graphs import parse, weight
from upscale_onnx import MaskingManager
from upscale_onnx.compat import L1, LAMP, HRank, Importance
from upscale_onnx.errors import ArgumentError, ModelError

ROOT = Path(__file__).resolve().parents[2]


def test_each_layer_loses_its_own_lowest_in_place() -> None:
    model = residual()
    before = weights(model)
    manager = MaskingManager(model)
    assert manager.importance(L1()).mask(amount=0.25) is manager
    assert manager.model is model
    for name, amount in (("wc", 4), ("wd", 4), ("we", 3)):
        norms = np.abs(before[name]).sum(axis=(0, 2, 3))
        assert columns(model, name) == sorted(np.argsort(norms)[:amount].tolist())
    assert columns(model, "wc") != columns(model, "wd")
    for name in ("wa", "wb", "ba"):  # three colours are too few to prune
        np.testing.assert_array_equal(weights(model)[name], before[name])


def test_the_default_importance_is_the_euclidean_norm() -> None:
    first, second = residual(), residual()
    MaskingManager(first).mask(0.5)
    MaskingManager(second).importance().mask()
    assert weights(first).keys() == weights(second).keys()
    norms = np.linalg.norm(weights(residual())["we"].reshape(5, 12), axis=0)
    assert columns(first, "we") == columns(second, "we") == sorted(np.argsort(norms)[:6].tolist())


def test_constrained_layers_agree() -> None:
    model = residual()
    MaskingManager(model, method="constrained").importance("l2").mask(0.25)
    assert columns(model, "wc") == columns(model, "wd")
    assert len(columns(model, "wc")) == 4


def test_the_output_side_loses_rows_and_biases() -> None:
    model = residual()
    MaskingManager(model, side="output").importance(LAMP()).mask(0.5)
    assert [len(rows(model, name)) for name in ("wa", "wb", "wc", "wd", "we")] == [8, 8, 6, 6, 0]
    assert not weights(model)["ba"][rows(model, "wa")].any()
    assert columns(model, "wc") == []


@pytest.mark.parametrize("heuristic", ["l2", LAMP()])
def test_global_ranks_all_layers_together(heuristic: str | LAMP) -> None:
    model, flat = residual(), residual()
    we = weights(model)["we"].copy()
    we[:, :2] *= 10  # the other ten of its twelve channels are of little importance to it
    next(t for t in model.graph.initializer if t.name == "we").CopyFrom(onnx.numpy_helper.from_array(we, "we"))
    MaskingManager(model, is_global=True).importance(heuristic).mask(0.5)
    MaskingManager(flat).importance(heuristic).mask(0.5)
    lost = [len(columns(model, name)) for name in ("wc", "wd", "we")]
    assert sum(lost) == sum(len(columns(flat, name)) for name in ("wc", "wd", "we")) == 22
    assert lost[2] > 6


def test_segments_are_closed_sets_of_layers() -> None:
    segments = MaskingManager(residual()).segments()
    found = [
        (
            {layer.name for layer in s.producers},
            {layer.name for layer in s.consumers},
            {layer.name for layer in s.layers},
        )
        for s in segments
    ]
    assert ({"a", "b"}, {"c", "d"}, {"c", "d"}) in found
    assert ({"c", "d"}, {"y"}, {"y"}) in found
    outputs = MaskingManager(residual(), side="output").segments()
    assert {layer.parameter for layer in outputs[0].layers} == {"wa", "wb"}


def test_weights_of_layers_can_be_read_written_and_masked() -> None:
    model = residual()
    manager = MaskingManager(model)
    segment = next(s for s in manager.segments() if {x.name for x in s.layers} == {"c", "d"})
    layer = next(x for x in segment.layers if x.name == "c")
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[:, 5] = 0
    weight = layer.weight.copy()
    weight[:, 5] = 0
    assert columns(model, "wc") == []
    layer.weight = weight
    assert columns(model, "wc") == [5]
    with pytest.raises(ArgumentError, match="shape"):
        layer.weight = weight[:, 1:]
    manager.importance(L1())
    assert segment.mask(0.5) is segment
    assert [len(columns(model, name)) for name in ("wc", "wd", "we")] == [8, 8, 0]


def test_a_segment_has_an_importance_of_its_own() -> None:
    model = residual()
    manager = MaskingManager(model)
    one, other = (next(s for s in manager.segments() if name in {x.name for x in s.layers}) for name in ("c", "y"))
    assert one.importance(Highest()) is one
    one.mask(0.25)
    assert columns(model, "wc") == [12, 13, 14, 15]
    other.mask(0.25)  # by the manager's
    assert columns(model, "wc") == [12, 13, 14, 15]
    assert len(columns(model, "we")) == 3
    assert columns(model, "we") != [9, 10, 11]


def test_siblings_are_the_normalisations_behind_producers() -> None:
    text = """(float[N, 3, 4, 4] x) => (float[N, 8, 4, 4] y) {
        a = Conv<kernel_shape=[1, 1]>(x, wa)
        b = BatchNormalization(a, scale, shift, mean, var)
        y = Conv<kernel_shape=[1, 1]>(b, wy)
    }"""
    ones = np.ones(8, np.float32)
    model = parse(text, wa=weight(8, 3, 1, 1), wy=weight(8, 8, 1, 1), scale=2 * ones, shift=ones, mean=ones, var=ones)
    (made,) = (s for s in MaskingManager(model, side="output").segments() if s.siblings)
    (norm,) = made.siblings
    assert (norm.op_type, norm.parameter, made.dim) == ("BatchNormalization", "scale", 0)
    np.testing.assert_array_equal(norm.weight, 2 * ones)
    assert all((s.siblings, s.dim) == ((), 1) for s in MaskingManager(model).segments())


class Highest(Importance):
    """Prunes the channels of high numbers first."""

    def forward(self, x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        """Falling scores."""
        return -np.arange(len(x), dtype=float)


def test_own_importance_and_own_criterion() -> None:
    model = residual()
    MaskingManager(model).importance(Highest()).mask(0.25)
    assert columns(model, "wc") == [12, 13, 14, 15]
    MaskingManager(model).importance(lambda weight, axis, rng: np.arange(weight.shape[axis])).mask(0.25)
    assert columns(model, "wc") == [0, 1, 2, 3, 12, 13, 14, 15]


def test_hrank_measures_feature_maps() -> None:
    model = residual()
    # Channel 3 of s is constant, so that its maps have rank 1, and all others are of full rank.
    for name in ("wa", "wb"):
        tensor = next(t for t in model.graph.initializer if t.name == name)
        array = weights(model)[name].copy()
        array[3] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, name))
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    given, own = onnx.ModelProto(), onnx.ModelProto()
    given.CopyFrom(model)
    own.CopyFrom(model)
    MaskingManager(given).importance(HRank({"x": x})).mask(0.1)
    MaskingManager(own, inputs=[x]).importance(HRank()).mask(0.1)
    assert columns(given, "wc") == columns(own, "wc") == columns(given, "wd") == [3]
    with pytest.raises(ArgumentError, match="calibration"):
        MaskingManager(residual()).importance(HRank()).mask(0.1)


def test_a_file_is_not_changed() -> None:
    path = ROOT / "models" / "digits_inception_masked.onnx"
    content = path.read_bytes()
    manager = MaskingManager(path).importance(LAMP()).mask(0.5)
    assert path.read_bytes() == content
    assert manager.model.SerializeToString() != content


def test_what_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="side is 'both'"):
        MaskingManager(residual(), side="both")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="method is 'free'"):
        MaskingManager(residual(), method="free")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="not list"):
        MaskingManager([1, 2])
    with pytest.raises(ModelError, match="no such file"):
        MaskingManager(tmp_path / "none.onnx")
    with pytest.raises(ArgumentError, match="amount"):
        MaskingManager(residual()).mask(1.5)
    with pytest.raises(ArgumentError, match="'magnitude'"):
        MaskingManager(residual()).importance("magnitude").mask(0.5)
    with pytest.raises(ArgumentError, match="2 inputs are given, the model takes 1"):
        MaskingManager(residual(), inputs=[np.zeros(1), np.zeros(1)])
