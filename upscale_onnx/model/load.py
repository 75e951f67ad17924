"""Loading: a valid ONNX model with all its data in memory, or an error of one clear line."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError
from onnx import ModelProto, TensorProto

from upscale_onnx.errors import ModelError
from upscale_onnx.files.reading import TooLarge, read_bounded
from upscale_onnx.model.edit import sorted_model
from upscale_onnx.model.external import load_external, refuse_external
from upscale_onnx.model.functions import check_functions
from upscale_onnx.model.inlining import inlined
from upscale_onnx.model.operators import STANDARD_DOMAINS
from upscale_onnx.model.protos import one_line, skeleton
from upscale_onnx.model.runtime_operators import set_apart, with_import
from upscale_onnx.model.sparse import with_dense_weights
from upscale_onnx.model.stored import WeightStore, is_stored
from upscale_onnx.model.tensors import field_length, model_tensors, raw_length, tensor_problem
from upscale_onnx.model.unique_names import with_unique_names
from upscale_onnx.model.wellformed import check_wellformed
from upscale_onnx.model.windows import window_problem
from upscale_onnx.worker.checks import check

_MAX_PROTOBUF_BYTES = 2**31 - 1


Model = str | os.PathLike[str] | ModelProto
"""The path of a model, or the model itself."""


def load_model(path_or_proto: Model, store: WeightStore | None = None) -> ModelProto:
    """The checked model at a path, with its external data; or the given model, checked.

    Functions of the model are written out. If a node stands in front of a node whose output it reads, or a name stands
    for several values, the result is a sorted and renamed copy. If onnxruntime's own operators are not imported, it is
    a copy that imports them. Sparse weights that are no smaller than dense ones are dense, in a copy.

    store: takes the large weights of a large model with external data; None keeps all in memory.

    Raises:
        ModelError: the file cannot be read, is not a valid ONNX model, is newer than the installed onnx
            understands, or lacks part of its data.
    """
    if isinstance(path_or_proto, ModelProto):
        model, where = path_or_proto, "the given model"
    else:
        model, where = read_model(path_or_proto, store), str(path_or_proto)
    check_wellformed(model, where)
    model = with_import(sorted_model(model))
    check_model(model, where)
    whole = inlined(with_dense_weights(model))
    # The nodes of functions may be written out in any order.
    return with_unique_names(whole if whole is model else sorted_model(whole))


def read_model(path: str | os.PathLike[str], store: WeightStore | None = None) -> ModelProto:
    """The model at `path` with its external data; whether it is valid is not checked. store: as for `load_model`.

    Raises:
        ModelError: the file cannot be read, is no ONNX model, or lacks part of its data.
    """
    file = Path(path)
    model = parse_model(file)
    _check_versions(model, str(file))
    load_external(model, file, store)
    return model


def parse_model(path: Path) -> ModelProto:
    """The model at `path` without its external data.

    Raises:
        ModelError: the file cannot be read, or is no ONNX model.
    """
    if path.is_dir():
        raise ModelError(f"{path}: is a directory; give the .onnx file in it")
    try:
        data = read_bounded(path, _MAX_PROTOBUF_BYTES)
    except FileNotFoundError as error:
        raise ModelError(f"{path}: no such file") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except TooLarge as error:
        raise ModelError(
            f"{path}: is larger than the 2 GB of a protobuf file; save its weights as external data"
        ) from error
    if not data:
        raise ModelError(f"{path}: is empty")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        # A ModelProto starts with its IR version (field 1, a small number). A file that does but fails was truncated.
        if data[:1] == b"\x08" and data[1:2] <= bytes([onnx.IR_VERSION]):
            raise ModelError(f"{path}: is truncated or damaged; copy or export it again") from error
        raise ModelError(f"{path}: is not an ONNX file (not a protobuf)") from error
    return model


def check_model(model: ModelProto, where: str) -> None:
    """Check that `model`, which is well formed, is valid ONNX of a version that the installed onnx knows.

    Raises:
        ModelError: it is not; the message starts with `where`.
    """
    _check_versions(model, where)
    check_functions(model, where)
    refuse_external(model, where)
    try:
        for tensor in model_tensors(model):
            _check_size(tensor, where)
        _check_windows(model, where)
        fault = check(set_apart(_with_ranks(skeleton(model))).SerializeToString())
    except (DecodeError, EncodeError, ValueError, TypeError) as error:
        fault = str(error)
    if fault is not None:
        raise ModelError(f"{where}: not a valid ONNX model: {one_line(fault)}")


def _check_windows(model: ModelProto, where: str) -> None:
    problem = window_problem(model)
    if problem:
        raise ModelError(f"{where}: {problem}")


def _with_ranks(bare: ModelProto) -> ModelProto:
    """Declare an empty shape for inputs and outputs of unknown rank: the checker requires one, runtimes do not."""
    for value in (*bare.graph.input, *bare.graph.output):
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    return bare


def _check_versions(model: ModelProto, where: str) -> None:
    if not model.ir_version and not model.HasField("graph"):
        raise ModelError(f"{where}: is not an ONNX model (no IR version, no graph)")
    if not model.ir_version:
        raise ModelError(f"{where}: is not an ONNX model (no IR version)")
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where}: has IR version {model.ir_version}, the installed onnx {onnx.__version__} reads up to "
            f"{onnx.IR_VERSION}; install a newer onnx"
        )
    if not model.HasField("graph"):
        raise ModelError(f"{where}: has no graph; it is truncated or damaged")
    if not model.opset_import and model.ir_version >= 3:
        raise ModelError(f"{where}: is not an ONNX model (imports no operator set)")
    newest = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        if opset.domain in STANDARD_DOMAINS and opset.version > newest:
            raise ModelError(
                f"{where}: uses operator set {opset.version}, the installed onnx {onnx.__version__} knows up to "
                f"{newest}; install a newer onnx"
            )


def _check_size(tensor: TensorProto, where: str) -> None:
    """Check that a tensor holds as much data as its shape says. The error would otherwise come when it is read."""
    problem = tensor_problem(tensor)
    if problem:
        raise ModelError(f"{where}: tensor '{tensor.name}' {problem}")
    if is_stored(tensor):
        return
    if tensor.HasField("raw_data"):
        found, unit, expected = len(tensor.raw_data), "bytes", raw_length(tensor)
    else:
        field = onnx.helper.tensor_dtype_to_field(tensor.data_type)
        found, unit, expected = len(getattr(tensor, field)), "entries", field_length(tensor)
    if found != expected:
        raise ModelError(
            f"{where}: tensor '{tensor.name}' of shape {tuple(tensor.dims)} holds {found} {unit} instead of {expected}"
        )
