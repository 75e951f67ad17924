"""The proof of models whose weights are in files, and of models of many regions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.graphs import parse
from upscale_onnx.model import stored
from upscale_onnx.proof import local, run
from upscale_onnx.proof.by_claims import prove
from upscale_onnx.proof.equivalence import compare_models
from upscale_onnx.proof.regions import Region
from upscale_onnx.results import Claim


def gated(hidden: int = 64) -> onnx.ModelProto:
    """A gated unit with half of its hidden channels dead."""
    rng = np.random.default_rng(0)
    first, second, last = (rng.standard_normal((hidden, hidden)).astype(np.float32) for _ in range(3))
    first[:, ::2] = second[:, ::2] = 0
    return parse(
        f"(float[1,4,{hidden}] x) => (float[1,4,{hidden}] y) "
        "{ g = MatMul(x, w1)  r = Relu(g)  u = MatMul(x, w2)  m = Mul(r, u)  d = MatMul(m, w3)  y = Add(x, d) }",
        w1=first,
        w2=second,
        w3=last,
    )


@pytest.fixture
def _on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 1024)
    monkeypatch.setattr(stored, "SMALLEST", 1024)


@pytest.mark.usefixtures("_on_disk")
@pytest.mark.parametrize("in_process", [False, True])
def test_a_compile_is_proven_with_its_weights_in_files(monkeypatch: pytest.MonkeyPatch, in_process: bool) -> None:
    monkeypatch.delenv("UPSCALE_IN_PROCESS", raising=False)
    if in_process:
        monkeypatch.setenv("UPSCALE_IN_PROCESS", "1")
    result = upscale_onnx.compile(gated(), race=False, align=1)
    shown = result.report.verification
    assert shown is not None
    assert shown.equal
    assert shown.local is not None
    assert shown.local.complete
    assert shown.local.regions >= 6
    assert [tensor.dims for tensor in result.model.graph.initializer] == [[64, 32], [64, 32], [32, 64]]
    monkeypatch.setattr(stored, "ALWAYS_IN_MEMORY", 2**30)
    assert upscale_onnx.compile(gated(), race=False, align=1).model == result.model


@pytest.mark.usefixtures("_on_disk")
def test_a_difference_is_found_and_its_reproducer_holds_the_weights(tmp_path: Path) -> None:
    model, other = gated(), gated()
    values = numpy_helper.to_array(other.graph.initializer[2]).copy()
    values[1, 5] += 1
    other.graph.initializer[2].CopyFrom(numpy_helper.from_array(values, "w3"))
    claims = {name: Claim((1, 1, 1)) for name in "grumdy"}
    found = compare_models(model, other, claims, reproducers=str(tmp_path))
    assert not found.equal
    assert found.local is not None
    assert [region.value for region in found.local.refuted] == ["d"]
    saved = onnx.load(tmp_path / "00_d" / "compiled.onnx")
    np.testing.assert_array_equal(numpy_helper.to_array(saved.graph.initializer[0]), values)


@pytest.mark.usefixtures("_on_disk")
def test_regions_without_a_kernel_are_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_kernel(*args: object, **kwargs: object) -> None:
        raise upscale_onnx.ModelError("NOT_IMPLEMENTED")

    monkeypatch.setenv("UPSCALE_IN_PROCESS", "1")
    monkeypatch.setattr(run, "make_session", no_kernel)
    found = compare_models(gated(), gated(), {name: Claim((1, 1, 1)) for name in "grumdy"}, proofs=("local",))
    assert found.equal
    assert found.local is not None
    assert found.local.complete


def test_the_work_for_many_regions_is_in_proportion_to_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions stay small, since onnxruntime's time to make one grows faster; no region is looked up among others."""
    count, most = 60, 16
    steps = "  ".join(f"v{number + 1} = Relu(v{number})" for number in range(count))
    model = parse(f"(float[1,8] v0) => (float[1,8] v{count}) {{ {steps} }}")
    sizes: list[int] = []
    made = run.make_session
    monkeypatch.setenv("UPSCALE_IN_PROCESS", "1")
    monkeypatch.setattr(local, "_CHUNK_REGIONS", most)
    monkeypatch.setattr(run, "make_session", lambda m, **k: sizes.append(len(m.graph.node)) or made(m, **k))
    compared: list[Region] = []
    monkeypatch.setattr(Region, "__eq__", lambda self, other: compared.append(self) or self is other)
    claims = {f"v{number}": Claim((1, 8)) for number in range(1, count + 1)}
    shown = prove(model, model, claims, {"v0": np.zeros((1, 8), np.float32)})
    assert shown.complete
    assert shown.regions == count
    assert max(sizes) <= most
    assert sum(sizes) == 2 * count
    assert not compared


_OF_LIBRARIES = 120  # megabytes that a worker takes with onnx and onnxruntime
_PROOF_OF_LARGE_MODEL = """
import re
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from upscale_onnx.model import stored
from upscale_onnx.proof.equivalence import compare_models

stored.ALWAYS_IN_MEMORY = 2**20
rng, nodes, weights = np.random.default_rng(0), [], []
for n in range({layers}):
    for name, shape in ((f"a{{n}}", (1024, {half})), (f"b{{n}}", ({half}, 1024))):
        weights.append(numpy_helper.from_array(rng.random(shape, np.float32) - 0.5, name))
    nodes += [helper.make_node("MatMul", [f"v{{n}}", f"a{{n}}"], [f"m{{n}}"])]
    nodes += [helper.make_node("MatMul", [f"m{{n}}", f"b{{n}}"], [f"v{{n + 1}}"])]
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1024]) for name in ("v0", "v{layers}"))
graph = helper.make_graph(nodes, "g", [x], [y], weights)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
del weights, graph
assert compare_models(model, model).equal
children = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
(worker,) = children
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc", worker, "status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak memory of another process is read from /proc")
def test_the_worker_holds_no_copies_of_large_models() -> None:
    """Its sessions hold each weight twice, once for each model. No other copy fits under the bound."""
    megabytes = 80
    done = subprocess.run(
        [sys.executable, "-c", _PROOF_OF_LARGE_MODEL.format(layers=5, half=megabytes // 5 * 128)],
        env={name: value for name, value in os.environ.items() if name != "UPSCALE_IN_PROCESS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < (_OF_LIBRARIES + 2.2 * megabytes) * 1024
