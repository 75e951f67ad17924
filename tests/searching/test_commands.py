"""The commands that a search writes make the models that it has measured."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest

import upscale_onnx
from tests.graphs import parse
from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.cli.main import main
from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.measures.data import unlabelled
from upscale_onnx.types import Array

pytest.importorskip("optuna")


def network() -> onnx.ModelProto:
    """Two inverted residuals on a stream of values that only additions and 1x1 convolutions read."""

    def drawn(*shape: int) -> Array:
        return np.random.default_rng(shape).normal(size=shape).astype(np.float32) / np.float32(np.sqrt(shape[1]))

    text = """(float[N, 3, 6, 6] x) => (float[N, 6, 6, 6] y) {
        a = Conv(x, stem)
        b = Conv(a, expand1)
        c = Relu(b)
        d = Conv(c, project1)
        e = Add(a, d)
        f = Conv(e, expand2)
        g = Relu(f)
        h = Conv(g, project2)
        i = Add(e, h)
        y = Conv(i, head)
    }"""
    shapes = {"stem": (12, 3), "expand1": (24, 12), "project1": (12, 24)}
    shapes |= {"expand2": (20, 12), "project2": (12, 20), "head": (6, 12)}
    return parse(text, **{name: drawn(*shape, 1, 1) for name, shape in shapes.items()})


@pytest.mark.parametrize("choice", ["scores", "exact"])
def test_they_make_what_was_measured(tmp_path: Path, choice: Choice) -> None:
    """Here, a repair turns the basis of the stream: masks written for it are no masks of the network's own basis."""
    model, data = tmp_path / "in.onnx", tmp_path / "data.npz"
    onnx.save(network(), model)
    data.write_bytes(archive_bytes({"x": np.random.default_rng(0).normal(size=(32, 3, 6, 6)).astype(np.float32)}))
    settings = upscale_onnx.Searching(strategy="random", trials=2, choice=choice)
    found = upscale_onnx.search(
        model,
        tmp_path / "s",
        settings=settings,
        method="unconstrained",
        criterion="obs",
        repair="lsq",
        calibration=str(data),
    )
    line = found.commands[0]
    assert main(shlex.split(line)[1:]) == 0
    row = dict(zip(found.columns, found.rows[0], strict=True))
    made = onnx.load(tmp_path / "s" / "profiles" / f"{row['profile']}.onnx")
    distance = unlabelled(network(), str(data), limit=1000).value(made)
    assert distance == pytest.approx(row["distance"], rel=1e-3)
