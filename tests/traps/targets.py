"""The exports that every trap is compiled with, and what must hold of each result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from upscale_onnx import compile
from upscale_onnx.types import Array

_NO_KERNEL = ort.capi.onnxruntime_pybind11_state.NotImplemented


@dataclass(frozen=True)
class Target:
    """One way to export.

    tight: whether a value emits nothing but what is demanded. selects: whether a consumer is handed
    nothing but what it demands.
    """

    export: str
    align: int | None
    tight: bool
    selects: bool

    def __str__(self) -> str:
        return self.export if self.align is None else f"{self.export}-{self.align}"


TARGETS = (
    Target("keep", 1, tight=True, selects=False),
    Target("keep", 8, tight=False, selects=False),
    Target("upscale", None, tight=True, selects=True),
    Target("gather", None, tight=True, selects=True),
    Target("planned", 8, tight=False, selects=False),
)


def check(
    model: onnx.ModelProto,
    target: Target,
    *,
    tolerance: float = 0.0,
    dims: tuple[int, ...] = (2, 3),
    feeds: Mapping[str, Array] | None = None,
) -> onnx.ModelProto:
    """The compiled model, which computes the same as `model` for two sizes of every dynamic dimension, keeps
    its interface and holds no useless selection.

    tolerance: 0 is bit-equal; else relative to the largest magnitude of an output. feeds: inputs whose values
    matter, such as shapes.
    """
    before = model.SerializeToString()
    compiled = compile(model, export=target.export, align=target.align, race=False, verify=False).model  # type: ignore[arg-type]
    assert model.SerializeToString() == before, "the input model was changed"
    onnx.checker.check_model(compiled, full_check=True)
    assert _interface(model) == _interface(compiled)
    for size in dims:
        values = {**random_inputs(model, size), **(feeds or {})}
        for value, left, right in zip(model.graph.output, run(model, values), run(compiled, values), strict=True):
            compare(value.name, left, right, tolerance)
    assert not useless(compiled)
    return compiled


def _interface(model: onnx.ModelProto) -> list[bytes]:
    """Inputs and outputs, without weights that are listed as inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    return [value.SerializeToString() for value in (*inputs, *model.graph.output)]


def compare(name: str, left: Array, right: Array, tolerance: float) -> None:
    """Assert that two outputs are equal, NaNs and infinities in the same places."""
    assert (left.dtype, left.shape) == (right.dtype, right.shape), name
    if not tolerance or left.dtype.kind != "f":
        np.testing.assert_array_equal(left, right, err_msg=name)
        return
    finite = np.isfinite(left)
    np.testing.assert_array_equal(left[~finite], right[~finite], err_msg=name)
    scale = np.abs(left[finite]).max(initial=0) or 1
    np.testing.assert_allclose(right[finite], left[finite], rtol=0, atol=tolerance * scale, err_msg=name)


def random_inputs(model: onnx.ModelProto, size: int) -> dict[str, Array]:
    """Small integers for every input; dynamic dimensions have `size` entries, counting on per name."""
    rng = np.random.default_rng(size)
    weights = {tensor.name for tensor in model.graph.initializer}
    dims: dict[str, int] = {}
    feeds = {}
    for value in model.graph.input:
        if value.name in weights:
            continue
        shape = []
        for dim in value.type.tensor_type.shape.dim:
            known = dim.HasField("dim_value")
            shape.append(dim.dim_value if known else dims.setdefault(dim.dim_param, size + len(dims)))
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = rng.integers(-3, 4, shape).astype(dtype)
    return feeds


def run(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """The outputs by onnxruntime, or by onnx's reference where onnxruntime has no kernel."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except _NO_KERNEL:
        with np.errstate(all="ignore"):
            return [np.asarray(value) for value in ReferenceEvaluator(model).run(None, dict(feeds))]
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def useless(model: onnx.ModelProto) -> list[str]:
    """Selections that select everything, or the same as another."""
    dims = _dims(model)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            weights[node.output[0]] = helper_value(node)
    found: list[str] = []
    seen: set[tuple[Any, ...]] = set()
    for node in model.graph.node:
        if node.op_type not in ("Gather", "Slice", "Split"):
            continue
        shape, results = dims.get(node.input[0]), [dims.get(name) for name in node.output]
        if node.op_type == "Gather" and node.input[1] in weights:
            index, axis = weights[node.input[1]], next((a.i for a in node.attribute if a.name == "axis"), 0)
            if shape is not None and index.ndim == 1 and np.array_equal(index, np.arange(_size(shape[axis]))):
                found.append(f"identity Gather {node.name}")
        if node.op_type == "Slice" and shape is not None and shape == results[0] and not _reverses(node, weights):
            found.append(f"Slice {node.name} of everything")
        if node.op_type == "Split" and len(node.output) == 1:
            found.append(f"Split {node.name} into one")
        parameters = tuple(weights[name].tobytes() if name in weights else name for name in node.input[1:])
        key = (node.op_type, node.input[0], parameters, *sorted(a.SerializeToString() for a in node.attribute))
        if key in seen:
            found.append(f"{node.op_type} {node.name} for the second time")
        seen.add(key)
    return found


def helper_value(node: onnx.NodeProto) -> Array:
    """What a Constant node holds."""
    value = onnx.helper.get_attribute_value(node.attribute[0])
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _reverses(node: onnx.NodeProto, weights: Mapping[str, Array]) -> bool:
    return len(node.input) > 4 and node.input[4] in weights and bool((weights[node.input[4]] < 0).any())


def _size(dim: int | str) -> int:
    return dim if isinstance(dim, int) else -1


def _dims(model: onnx.ModelProto) -> dict[str, list[int | str]]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    found = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        if value.type.tensor_type.HasField("shape"):
            dims = enumerate(value.type.tensor_type.shape.dim)
            found[value.name] = [d.dim_value if d.HasField("dim_value") else d.dim_param or f"?{i}" for i, d in dims]
    return found


def sizes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shape of the weight of every Conv, ConvTranspose, Gemm and MatMul, by the name of the node."""
    weights = {t.name: tuple(t.dims) for t in model.graph.initializer}
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    return {n.name: weights[n.input[1]] for n in model.graph.node if n.op_type in kinds and n.input[1] in weights}


def operators(model: onnx.ModelProto) -> list[str]:
    """Operator types in graph order."""
    return [node.op_type for node in model.graph.node if node.op_type != "Constant"]
