"""The graph that onnxruntime executes, with fused operators and explicit layout changes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, helper

from upscale_onnx.model import infer_shapes
from upscale_onnx.model.protos import set_sizes
from upscale_onnx.runtime.providers import Device
from upscale_onnx.runtime.sessions import make_session


def optimised_model(
    model: ModelProto | str | os.PathLike[str], *, provider: Device = "cpu", threads: int = 1
) -> ModelProto:
    """`model` as onnxruntime's optimiser rewrites it, without the data of large weights.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "optimised.onnx"
        make_session(model, provider=provider, threads=threads, optimized_path=str(path))
        return onnx.load(path, load_external_data=False)


def prepared_model(model: ModelProto, sizes: Mapping[str, Sequence[int]]) -> ModelProto:
    """A copy of `model` with inputs of these sizes, the shapes that follow from them, and a name for every node."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for number, node in enumerate(copy.graph.node):
        node.name = f"{node.name or node.op_type}#{number}"
    for value in copy.graph.input:
        if value.name in sizes and value.type.HasField("tensor_type"):
            set_sizes(value.type.tensor_type.shape, sizes[value.name])
    del copy.graph.value_info[:]
    for output in copy.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if not dim.HasField("dim_value"):
                dim.Clear()
    outside = {value.name for value in (*copy.graph.input, *copy.graph.output)}
    outside.update(tensor.name for tensor in copy.graph.initializer)
    for name, shape in infer_shapes(copy).items():
        if name not in outside and shape.dtype:
            copy.graph.value_info.append(helper.make_tensor_value_info(name, shape.dtype, shape.dims))
    return copy
