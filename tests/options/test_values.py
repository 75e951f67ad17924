"""Options that are mappings and arrays: what becomes of them, and that they do what files of the same content do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.pruning.test_choosing import network
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options, Profile, ProofOptions, PruneOptions, Samples

X = np.random.default_rng(0).normal(size=(24, 3, 8, 8)).astype(np.float32)
HOW: dict[str, Any] = {"race": False, "verify": False, "masks": "flat"}


def open_batch() -> onnx.ModelProto:
    model = network()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def test_a_profile_is_a_value() -> None:
    one, same = (PruneOptions(profile={"w": 0.5, "v": 1}) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert isinstance(one.profile, Profile)
    assert one != PruneOptions(profile={"w": 0.25, "v": 1})
    assert "'w': 0.5" in repr(Options(prune=one))
    assert Options.of(profile=one.profile).prune == one


def test_samples_are_told_apart_by_identity_and_cannot_be_written_into() -> None:
    arrays = {"x": X}
    options = Options.of(calibration=arrays, inputs=arrays)
    assert isinstance(options.prune.calibration, Samples)
    assert options == options.replaced(amount=None)
    assert len({options, options.replaced(amount=None), Options.of(calibration=arrays, inputs=arrays)}) == 2
    with pytest.raises(ValueError, match="read-only"):
        options.prune.calibration["x"][0] = 0
    assert X.flags.writeable
    assert "Samples(x: float32 (24, 3, 8, 8))" in repr(options)
    assert isinstance(ProofOptions(inputs=X).inputs, Samples)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (
            {"profile": {"w": 2.0}},
            "profile is Profile({'w': 2.0}): it takes text or a mapping of weights' names to shares",
        ),
        ({"profile": 0.5}, "profile is 0.5: it takes text or a mapping"),
        ({"inputs": {"x": [1, 2]}}, "inputs is {'x': [1, 2]}: it takes text or a mapping of arrays or None"),
        (
            {"calibration": {"x": X, "z": X}, "amount": 0.3},
            "the arrays given: 'z' is no input; the model's inputs are 'x'",
        ),
        ({"calibration": X[:, :2], "amount": 0.3}, "the arrays given: 'x' has shape (1, 2, 8, 8)"),
        ({"inputs": {"x": X[0]}, "verify": True}, "the arrays given: 'x' has shape (3, 8, 8)"),
        ({"profile": {"nobody": 0.5}}, "the profile given: no layer that can be pruned has a weight 'nobody'"),
        ({"profile": {"first": 0.5}, "amount": 0.5}, "says how much each layer keeps: leave amounts and sizes out"),
    ],
)
def test_what_cannot_be_used_is_said(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        upscale_onnx.compile(network(), **{**HOW, **wrong})
    assert complaint in str(caught.value)


def test_shares_by_layer_do_what_the_file_does(tmp_path: Path) -> None:
    shares = {"first": 0.5, "fourth": 0.25}
    (tmp_path / "p.json").write_text(json.dumps(shares))
    given, read = (upscale_onnx.compile(network(), profile=p, **HOW) for p in (shares, str(tmp_path / "p.json")))
    assert given.model == read.model
    assert {k.weight: k.kept for k in given.report.profile} == {
        "first": 8, "second": 24, "third": 16, "fourth": 8, "fc": 16,
    }  # fmt: skip


@pytest.mark.parametrize("labels", [{}, {"y": np.arange(24) % 3}])
def test_arrays_do_what_the_file_does(tmp_path: Path, labels: dict[str, Any]) -> None:
    np.savez(tmp_path / "data.npz", x=X, **labels)
    wanted: dict[str, Any] = {**HOW, "amount": 0.25, "criterion": "wanda", "repair": "stats", "verify": True}
    made = [
        upscale_onnx.compile(open_batch(), calibration=data, inputs=X[:2], **wanted)
        for data in ({"x": X, **labels}, tmp_path / "data.npz")
    ]
    assert made[0].model == made[1].model
    assert made[0].report.effect == made[1].report.effect
    assert made[0].report.effect is not None
    assert (made[0].report.effect.accuracy_before is None) is not bool(labels)
