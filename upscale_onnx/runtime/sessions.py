"""onnxruntime sessions: without log output, with the same settings for all, and with denormals set to zero."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto

from upscale_onnx.errors import ModelError
from upscale_onnx.model import save_model
from upscale_onnx.model.external import refuse_external
from upscale_onnx.model.load import read_model
from upscale_onnx.model.on_disk import beside_its_data, data_folder
from upscale_onnx.model.protos import one_line, stored_bytes
from upscale_onnx.model.runtime_layouts import with_standard_convolutions
from upscale_onnx.runtime.pages import few_pages
from upscale_onnx.runtime.providers import Device, quiet_runtime
from upscale_onnx.worker import beat, in_worker

if TYPE_CHECKING:
    import onnxruntime as ort

Model = ModelProto | bytes | str | os.PathLike[str]
Values = Mapping[str, Any]

_QUIET = 4
_IN_MEMORY_BYTES = 2**26
# From this size on, exact sessions do not hold a second copy of the weights in the layout of the kernels.
_PACKED_BYTES = 2**28
_NO_MEMORY = re.compile("bad_alloc|bad allocation|failed to allocate|out of memory", re.IGNORECASE)
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
# A place in onnxruntime's source and the signature of the function there. The cause of the error follows them.
_PLACE = re.compile(r"\S+\.(?:cc|h|cu|cpp):\d+ (?:\S[^()]*::[^()]*\(.*?\)(?: const)? )?")
_LONGEST = 600

# Sessions with weights in a file that they map. Those of races are left out: giving pages back takes time.
_MAPPED: weakref.WeakSet[Any] = weakref.WeakSet()


@in_worker
def make_session(
    model: Model,
    *,
    provider: Device = "cpu",
    threads: int = 1,
    optimize: bool = True,
    exact: bool = False,
    profile_prefix: str | None = None,
    optimized_path: str | None = None,
) -> ort.InferenceSession:
    """A session of `model` with denormals set to zero, no log output and `threads` intra-op threads.

    Outside of the worker, a handle of the session is returned, for `run` and `input_names`.

    optimize: whether onnxruntime applies all its graph optimisations or none.
    exact: CUDA computes contractions without TF32; optimised models compute those of integers without saturation.
    profile_prefix: where onnxruntime writes its own profile.
    optimized_path: where onnxruntime writes the optimised graph, with the weights in a file beside it.

    Raises:
        ModelError: onnxruntime cannot load the model.
    """
    import onnxruntime as ort

    beat()
    ort.disable_telemetry_events()  # models may be confidential
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if exact:
        # Integer kernels of some machines saturate the sums of two neighbouring products, unless this is set.
        options.add_session_config_entry("session.x64quantprecision", "1")
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    if optimized_path is not None:
        options.optimized_model_filepath = optimized_path
        external = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{external}_file_name", f"{Path(optimized_path).name}.data")
        options.add_session_config_entry(f"{external}_min_size_in_bytes", "1024")
    with ort_errors("onnxruntime cannot load the model"), quiet_runtime():
        proto = with_standard_convolutions(_read(model)) if exact else _read(model)
        if exact and _stored(proto) > _PACKED_BYTES:
            options.add_session_config_entry("session.disable_prepacking", "1")
        with _loadable(proto, mapped=exact) as source:
            session = ort.InferenceSession(source, options, providers=_providers(provider, exact))
        if exact and data_folder(proto) is not None:
            _MAPPED.add(session)
        return session


@in_worker
def run(session: ort.InferenceSession, inputs: Values, names: Sequence[str] | None = None) -> list[Any]:
    """The outputs of one inference, all of them or those in `names`.

    Raises:
        ModelError: onnxruntime cannot run the model on these inputs.
    """
    beat()
    with (
        ort_errors("onnxruntime cannot run the model"),
        few_pages() if session in _MAPPED else contextlib.nullcontext(),
    ):
        outputs: list[Any] = session.run(names, dict(inputs))
        return outputs


def bound_inference(session: ort.InferenceSession, feed: Values, provider: Device, doing: str) -> Callable[[], None]:
    """A function that runs one inference in this process, with inputs and outputs in the memory of the device.

    Raises:
        ModelError: the inputs cannot be brought there; the message starts with `doing`.
    """
    import onnxruntime as ort

    with ort_errors(doing):
        binding = session.io_binding()
        for name, array in feed.items():
            value = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), provider, 0)
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, provider)

    def infer() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return infer


@in_worker
def input_names(session: ort.InferenceSession) -> tuple[str, ...]:
    """The names of the session's inputs, in the order of the model."""
    return tuple(value.name for value in session.get_inputs())


@contextlib.contextmanager
def ort_errors(doing: str) -> Iterator[None]:
    """A context that turns onnxruntime's errors into a ModelError with one line of text, which starts with `doing`.

    If memory ran out, it raises a MemoryError instead, because this says nothing about the model.
    """
    try:
        yield
    except _exceptions() as error:
        if _NO_MEMORY.search(str(error)):
            raise MemoryError(f"{doing}: there is not enough memory") from error
        said = _PLACE.sub("", _CODE.sub("", " ".join(str(error).split())))
        raise ModelError(f"{doing}: {one_line(said, _LONGEST)}") from error


@functools.cache
def _exceptions() -> tuple[type[Exception], ...]:
    """onnxruntime's own exceptions, which have no common base class, and those that its Python layer raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*own, RuntimeError, ValueError, TypeError)


def _providers(provider: Device, exact: bool) -> list[Any]:
    if provider == "cpu":
        return ["CPUExecutionProvider"]
    # The CPU stays in the list for operators that CUDA lacks.
    return [("CUDAExecutionProvider", {"use_tf32": "0" if exact else "1"}), "CPUExecutionProvider"]


def _read(model: Model) -> ModelProto:
    if isinstance(model, bytes):
        return _parsed(model)
    return model if isinstance(model, ModelProto) else read_model(model)


def _stored(model: ModelProto) -> int:
    return sum(stored_bytes(tensor) for tensor in model.graph.initializer)


@contextlib.contextmanager
def _loadable(model: ModelProto, mapped: bool) -> Iterator[bytes | str]:
    """The model in a form that a session can load: bytes, or the path of a file if the model is large.

    mapped: large models have external data, which onnxruntime maps. As a file of its own, a model is in memory once
    more while the session loads, but it is then laid out in memory as small models are, which races compare it with.
    It must not need external data, because onnxruntime would look for it in other places than `read_model`.
    """
    folder = data_folder(model)
    if folder is not None:
        with _file_in(folder, beside_its_data(model)) as file:
            yield str(file)
        return
    refuse_external(model, "the model")
    if _stored(model) <= _IN_MEMORY_BYTES:
        yield model.SerializeToString()
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        path = Path(made) / "model.onnx"
        if mapped:
            save_model(model, path, external_over=0)
        else:
            save_model(model, path)
        yield str(path)


@contextlib.contextmanager
def _file_in(folder: Path, model: ModelProto) -> Iterator[Path]:
    """A file of `model` in `folder`, removed afterwards."""
    number, name = tempfile.mkstemp(".onnx", dir=folder)
    path = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(model.SerializeToString())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _parsed(data: bytes) -> ModelProto:
    try:
        model: ModelProto = ModelProto.FromString(data)
    except DecodeError as error:
        raise ModelError("onnxruntime cannot load the model: it is not a protobuf") from error
    return model
