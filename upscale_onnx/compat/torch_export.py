"""Exporting torch modules to ONNX, and finding the initializer of each parameter. Only this module imports torch."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx

from upscale_onnx.compat.arrays import to_array
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.types import Array

OPSET = 18


class Holder(NamedTuple):
    """The initializer that holds a parameter, and whether the parameter is transposed in it."""

    initializer: str
    transposed: bool

    def turned(self, array: Array) -> Array:
        """`array`, transposed if the initializer holds the parameter transposed. It converts both ways."""
        return array.T if self.transposed else array


class ExportedModule(NamedTuple):
    """A module as ONNX.

    holders: the initializer of each parameter, by name. Parameters that no initializer holds as a whole are left out.
    """

    model: onnx.ModelProto
    holders: Mapping[str, Holder]


def is_module(value: object) -> bool:
    """Whether `value` is a torch module. This does not load torch: whoever has a module has loaded it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def export_module(module: Any, inputs: Sequence[Any], *, dynamic_batch: bool = False) -> ExportedModule:
    """`module` in evaluation mode as ONNX. Its own mode is restored afterwards.

    onnxruntime has no convolutions of float64 and bfloat16, so modules of these types are exported in float32. Inputs
    are converted to the precision of the module.

    inputs: the tensors or arrays to call the module with. The exported model takes inputs of their shapes.
    dynamic_batch: whether the first axis of each input may have any size.

    Raises:
        ArgumentError: onnxscript, which torch needs for the export, is not installed.
        ModelError: the export fails.
    """
    torch, optimizer = _torch(), _optimizer()
    module = _runnable(module)
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    dtype = _precision(module)
    tensors = tuple(torch.as_tensor(value).to(device) for value in inputs)
    tensors = tuple(t.to(dtype) if dtype is not None and t.is_floating_point() else t for t in tensors)
    shapes = None
    if dynamic_batch:  # torch takes an axis of size 1 for a constant
        tensors = tuple(t.repeat(2, *(1,) * (t.dim() - 1)) if t.shape[0] == 1 else t for t in tensors)
        shapes = tuple({0: torch.export.Dim("batch")} for _ in tensors)
    with _inferring(module), _quiet():
        try:
            program = torch.onnx.export(
                module, tensors, dynamo=True, optimize=False, opset_version=OPSET, dynamic_shapes=shapes, verbose=False
            )
        except Exception as error:  # the exporter raises errors of every kind
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"torch cannot export {type(module).__name__} on these inputs: {reason}") from error
        transposed = _transposes(program.model_proto)
        optimizer.fold_constants(program.model)
        optimizer.remove_unused_nodes(program.model)
    model: onnx.ModelProto = program.model_proto
    _strip(model)
    initializers = {tensor.name for tensor in model.graph.initializer}
    holders: dict[str, Holder] = {}
    for name, _ in module.named_parameters():
        for holder in (Holder(name, False), Holder(transposed.get(name, ""), True)):
            if holder.initializer in initializers:
                holders.setdefault(name, holder)
    return ExportedModule(model, holders)


def _precision(module: Any) -> Any:
    """The type of all floating-point parameters of `module`; None if there are several types, or no such parameters."""
    dtypes = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    return dtypes.pop() if len(dtypes) == 1 else None


def _runnable(module: Any) -> Any:
    """`module`, or a copy of it in float32 if onnxruntime lacks operators of its precision."""
    torch = _torch()
    return copy.deepcopy(module).float() if _precision(module) in (torch.float64, torch.bfloat16) else module


def write_parameters(module: Any, arrays: Mapping[str, Array]) -> None:
    """Write `arrays`, by parameter name, into the parameters of `module`."""
    torch = _torch()
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, array in arrays.items():
            parameters[name].copy_(torch.from_numpy(np.array(array, order="C")))


def parameter_arrays(module: Any) -> dict[str, Array]:
    """The parameters of `module`, by name."""
    return {name: to_array(parameter) for name, parameter in module.named_parameters()}


def zeros(module: Any, shape: tuple[int, ...]) -> Any:
    """A tensor of zeros of this shape, on the device of `module`."""
    parameter = next(iter(module.parameters()), None)
    return _torch().zeros(shape, device=None if parameter is None else parameter.device)


def _torch() -> Any:
    import torch

    return torch


def _optimizer() -> Any:
    try:
        from onnxscript import optimizer
    except ImportError as error:
        raise ArgumentError("exporting a torch module needs onnxscript: pip install 'upscale-onnx[torch]'") from error
    return optimizer


def _transposes(model: onnx.ModelProto) -> dict[str, str]:
    """For each matrix, the name of its transpose, which constant folding makes an initializer."""
    found: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "Transpose" and [a.ints for a in node.attribute] in ([[1, 0]], []):
            found.setdefault(node.input[0], node.output[0])
    return found


def _strip(model: onnx.ModelProto) -> None:
    """Remove what the exporter writes about this machine, such as stack traces with local paths."""
    del model.metadata_props[:], model.graph.metadata_props[:]
    for entry in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del entry.metadata_props[:]


@contextlib.contextmanager
def _inferring(module: Any) -> Iterator[None]:
    """A context in which the module is in evaluation mode. Afterwards each of its parts is in its former mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context in which the exporter prints no progress, and no warnings that its own code is deprecated."""
    chatter = logging.getLogger("torch.onnx")
    level = chatter.level
    chatter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.setLevel(level)
