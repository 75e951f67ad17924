"""Real networks, where there is a corpus of them: masked by an independent script, compiled, compared.

UPSCALE_CORPUS names the folder; UPSCALE_THOROUGH=1 takes every network in it instead of a few small ones.
"""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from tests.thorough import THOROUGH
from upscale_onnx import compile
from upscale_onnx.types import Array

FOLDER = Path(os.environ.get("UPSCALE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus"))
FEW = (
    "tv__squeezenet1_1", "tv__shufflenet_v2_x1_0", "tv__mobilenet_v2__opset17", "timm__mobilenetv4_conv_small",
    "tv__mnasnet1_0", "timm__ghostnet_100", "timm__mixnet_s", "tv__efficientnet_b0", "tv__densenet121__opset13",
    "timm__vit_tiny_patch16_224",
)  # fmt: skip
FEW_TRAINED = (
    "cifar10_resnet20", "fastestdet", "hyperlpr_cls_96", "mlperf_tiny_resnet8_cifar10", "mnist_conv_cntk",
    "mobilenet_v2_int8_dynamic", "silero_vad_16k_op15", "yunet_120x160",
)  # fmt: skip
EXPORTS = ("keep", "upscale", "gather")
# Of the output's own scale; the optimisation levels of onnxruntime differ by a fifth of it.
TOLERANCE = 1e-5


def names(kind: str, few: tuple[str, ...]) -> list[str]:
    """The networks to compile; the few are named even where there is no corpus, so that their skipping shows."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.onnx")) if THOROUGH else list(few)


def script(folder: Path, name: str) -> ModuleType:
    """A script of the corpus as a module."""
    spec = importlib.util.spec_from_file_location(f"corpus_{name}", folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(model: onnx.ModelProto) -> list[Array]:
    """The outputs for one random image."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.normal(size=[dim if isinstance(dim, int) else 2 for dim in value.shape]).astype(np.float32)
        for value in session.get_inputs()
    }
    return [np.asarray(value) for value in session.run(None, feeds)]


def parameters(model: onnx.ModelProto) -> int:
    """Elements of float weights."""
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    return sum(int(np.prod(t.dims)) for t in floats)


def unread_columns(model: onnx.ModelProto) -> list[str]:
    """Conv (of one group) and Gemm nodes with an input channel whose weights are all zero, beside others."""
    weights = {t.name: t for t in model.graph.initializer}
    found = []
    for node in model.graph.node:
        attrs = {a.name: a.i for a in node.attribute}
        if node.op_type not in ("Conv", "Gemm") or node.input[1] not in weights or attrs.get("group", 1) != 1:
            continue
        weight = numpy_helper.to_array(weights[node.input[1]])
        axis = 0 if node.op_type == "Gemm" and not attrs.get("transB", 0) else 1
        read = weight.any(axis=tuple(a for a in range(weight.ndim) if a != axis))
        if not read.all() and read.size > 1:
            found.append(f"{node.op_type} {node.name}: {int((~read).sum())} of {read.size}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", names("skeletons", FEW))
def test_a_masked_network_compiles_exactly(corpus: Path, name: str) -> None:
    model = script(corpus, "materialize").materialize(corpus / "skeletons" / f"{name}.onnx")
    assert script(corpus, "mask").mask(model, amount=0.3) > 0
    expected = run(model)
    # Of the two that do without selections or without slices, every other network takes one; all where there is time.
    others = ("keep", "gather") if THOROUGH else ((), ("keep",), (), ("gather",))[FEW.index(name) % 4]
    for export in ("upscale", *others):
        compiled = compile(model, export=export, align=1, race=False, verify=False).model  # type: ignore[arg-type]
        for value, left, right in zip(model.graph.output, expected, run(compiled), strict=True):
            assert left.shape == right.shape
            error = np.abs(left - right).max() / (np.abs(left).max() or 1)
            assert error < TOLERANCE, f"{export}: {value.name} is off by {error:.2g} of its scale"
        assert parameters(compiled) < parameters(model), f"{export}: nothing was removed"
        if export == "upscale":
            assert not unread_columns(compiled)
    del model, compiled
    gc.collect()


@pytest.mark.slow
@pytest.mark.parametrize("name", names("trained", FEW_TRAINED))
def test_a_trained_network_compiles_exactly(corpus: Path, name: str) -> None:
    model = onnx.load(corpus / "trained" / f"{name}.onnx")
    # The one that changes most; all where there is time.
    for export in EXPORTS if THOROUGH else ("upscale",):
        result = compile(model, export=export, race=False, verify=True)  # type: ignore[arg-type]
        assert result.report.verification is not None
        assert result.report.verification.equal
