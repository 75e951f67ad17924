"""A criterion is one module and its line in the registry: the distance of feature maps, which needs data."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.examples.patched import patched, run_python, touched
from tests.graphs import parse, weight
from upscale_onnx.errors import ArgumentError

DIFF = "criterion.diff"
COMPILE = """
import sys, numpy, upscale_onnx
from onnx import numpy_helper
how = {"amount": 0.25, "masks": "flat", "race": False, "export": "upscale"}
done = upscale_onnx.compile(sys.argv[1], criterion="map-distance", calibration=numpy.load(sys.argv[2]), **how)
assert done.report.verification.equal
arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in done.masked.graph.initializer}
print(numpy.flatnonzero(~arrays["second"].any((0, 2, 3))).tolist())
"""


def network() -> onnx.ModelProto:
    """Two convolutions; channels 1 and 6 of the 8 between them are the same, and so are their readers' weights."""
    first = weight(8, 3, 3, 3)
    first[6] = first[1]
    return parse(
        """(float[N, 3, 6, 6] x) => (float[N, 4, 4, 4] y) { c = Conv(x, first) r = Relu(c) y = Conv(r, second) }""",
        first=first,
        second=weight(4, 8, 1, 1),
    )


def test_a_criterion_is_one_module_and_a_line_in_the_registry() -> None:
    assert touched(DIFF) == ["upscale_onnx/masks/criteria/map_distance.py", "upscale_onnx/pruning/criteria.py"]


def test_without_it_there_is_no_such_criterion() -> None:
    with pytest.raises(ArgumentError, match="no criterion called 'map-distance'"):
        upscale_onnx.compile(network(), amount=0.25, criterion="map-distance", race=False)


def test_the_channels_whose_maps_are_nearest_to_others_are_pruned(tmp_path: Path) -> None:
    model, x = network(), np.random.default_rng(0).normal(size=(12, 3, 6, 6)).astype(np.float32)
    onnx.save(model, tmp_path / "in.onnx")
    np.save(tmp_path / "x.npy", x)
    tree = patched(DIFF, tmp_path)
    gone = ast.literal_eval(run_python(tree, "-c", COMPILE, str(tmp_path / "in.onnx"), str(tmp_path / "x.npy")))
    maps = np.stack([_maps(numpy_helper.to_array(model.graph.initializer[0]), sample) for sample in x])
    apart = [[np.linalg.norm(maps[:, a] - maps[:, b], axis=1).sum() for b in range(8)] for a in range(8)]
    assert gone == sorted(np.argsort(np.sum(apart, axis=1))[:2].tolist())


def _maps(first: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """(C, positions), what the first convolution makes, behind its Relu."""
    windows = np.lib.stride_tricks.sliding_window_view(sample, (3, 3), (1, 2))
    return np.maximum(np.einsum("cyxij,ocij->oyx", windows, first), 0).reshape(len(first), -1)
