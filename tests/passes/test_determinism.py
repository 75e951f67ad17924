"""The same model in gives the same bytes out, in one process and in two that hash strings differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.graphs import indices, parse, weight
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes

MODEL = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y, float[1,2,4,4] z, float[1,2,4,4] u, float[1,3,4,4] v) {
        a = Conv(x, w1)
        b = Conv(x, w2)
        s = Add(a, b)
        r = Relu(s)
        c = Concat<axis=1>(r, a)
        p, q = Split<axis=1>(c, sizes)
        i = Identity(q)
        y = Conv(r, w3)
        z = Conv(c, w4)
        u = Conv(p, w5)
        v = Conv(i, w6)
    }""",
    w1=weight(8, 3, 1, 1, rows=[1]),
    w2=weight(8, 3, 1, 1, rows=[1, 5], seed=1),
    sizes=indices(8, 8),
    w3=weight(2, 8, 1, 1, columns=[0, 2, 7]),
    w4=weight(2, 16, 1, 1, columns=[1, 2, 3, 11]),
    w5=weight(2, 8, 1, 1, columns=[3, 4]),
    w6=weight(3, 8, 1, 1, columns=[0, 6]),
)
SCRIPT = """
import hashlib, sys, onnx
from upscale_onnx.export.export import make
from upscale_onnx.export.recipes import recipes
from upscale_onnx.model import infer_shapes
model = onnx.load(sys.argv[1])
made = make(recipes(4)[sys.argv[2]], model, infer_shapes(model))
print(hashlib.sha256(made.SerializeToString(deterministic=True)).hexdigest())
"""


@pytest.mark.parametrize("name", sorted(recipes(4)))
def test_one_process(name: str) -> None:
    first, second = (make(recipes(4)[name], MODEL, infer_shapes(MODEL)) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", ["keep", "upscale"])
def test_two_processes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(MODEL, path)
    runs = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path), name],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert len(runs[0].stdout.strip()) == 64
