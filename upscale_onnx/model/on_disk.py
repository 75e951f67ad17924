"""Models whose large weights are in a file of our own: they take no memory, and onnxruntime maps the file.

Only `weights_on_disk` and stores (`stored.py`) make such models. No model of a user refers to files by the time it
comes here: `load_model` has read its external data, copied it to a store, or refused it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx import ModelProto, StringStringEntryProto

from upscale_onnx.model import stored
from upscale_onnx.model.external import load_external
from upscale_onnx.model.load import parse_model
from upscale_onnx.model.protos import stored_bytes
from upscale_onnx.model.save import save_model
from upscale_onnx.model.tensors import is_external

_NAME = "model.onnx"


@contextmanager
def weights_on_disk(model: ModelProto) -> Iterator[ModelProto]:
    """A context with a copy of `model` whose large weights are in a temporary file; `model` itself where it is
    small, or where a store holds them already.

    Raises:
        ModelError: the file cannot be written.
    """
    large = sum(stored_bytes(tensor) for tensor in model.graph.initializer) > stored.ALWAYS_IN_MEMORY
    if not large or stored.store_of(model) is not None:
        yield model
        return
    with tempfile.TemporaryDirectory(prefix=stored.PREFIX, ignore_cleanup_errors=True) as folder:
        path = Path(folder, _NAME)
        save_model(model, path, external_over=0, external_from=stored.SMALLEST)
        stubs = parse_model(path)
        for location in _locations(stubs):
            location.value = str(Path(folder, location.value))
        yield stubs


def data_folder(model: ModelProto) -> Path | None:
    """The folder with the weights of a model from `weights_on_disk`, or of a part of it; None for any other model. No
    other folder is ever returned, whatever file a model refers to."""
    first = next(_locations(model), None)
    folder = None if first is None else Path(first.value).parent
    return folder if folder is not None and folder.is_absolute() and folder.name.startswith(stored.PREFIX) else None


def beside_its_data(model: ModelProto) -> ModelProto:
    """A copy of a model from `weights_on_disk` as a file in the folder of its weights has to be."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for location in _locations(copy):
        location.value = Path(location.value).name
    return copy


def in_memory(model: ModelProto) -> ModelProto:
    """`model` if it holds its weights, else a copy that does.

    Raises:
        ModelError: the file with the weights was changed.
    """
    folder = data_folder(model)
    if folder is None:
        return model
    copy = beside_its_data(model)
    load_external(copy, folder / _NAME)
    return copy


def _locations(model: ModelProto) -> Iterator[StringStringEntryProto]:
    for tensor in model.graph.initializer:
        if is_external(tensor):
            yield from (entry for entry in tensor.external_data if entry.key == "location")
