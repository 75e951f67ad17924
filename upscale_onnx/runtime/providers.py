"""Which execution provider is available, and a description of the machine."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import onnx

from upscale_onnx.errors import ArgumentError, ProviderError
from upscale_onnx.worker import in_worker

Device = Literal["cpu", "cuda"]

_QUIET, _DEFAULT = 4, 2  # onnxruntime's log severities: fatal, warning
_CPUINFO = Path("/proc/cpuinfo")
_BLOCK_VARIABLE = "UPSCALE_CPU_BLOCK"
_AVX512_BLOCK, _PLAIN_BLOCK = 16, 8


def resolve_provider(name: str) -> Device:
    """The provider for "auto", "cpu" or "cuda". "auto" is CUDA if a session really runs on it, else the CPU.

    Raises:
        ArgumentError: there is no provider of that name.
        ProviderError: CUDA was asked for and cannot be used.
    """
    if name == "cpu":
        return "cpu"
    if name == "cuda":
        problem = _cuda_problem()
        if problem:
            raise ProviderError(f"provider cuda is not available: {problem}; use --provider cpu")
        return "cuda"
    if name == "auto":
        return "cpu" if _cuda_problem() else "cuda"
    raise ArgumentError(f"unknown provider '{name}': choose auto, cpu or cuda")


@contextlib.contextmanager
def quiet_runtime() -> Iterator[None]:
    """A context in which onnxruntime logs nothing that it does not also raise."""
    import onnxruntime as ort

    ort.set_default_logger_severity(_QUIET)
    try:
        yield
    finally:
        ort.set_default_logger_severity(_DEFAULT)


@functools.cache
@in_worker
def _cuda_problem() -> str:
    """Why CUDA cannot be used; empty if it can. It is tried, because the GPU build lists it on every machine."""
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return f"onnxruntime {ort.__version__} was built without it"
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
            ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = _QUIET
    try:
        with quiet_runtime():
            session = ort.InferenceSession(_tiny_model(), options, providers=["CUDAExecutionProvider"])
    except (RuntimeError, ValueError) as error:
        return " ".join(str(error).split())[:200]
    if "CUDAExecutionProvider" not in session.get_providers():  # onnxruntime silently falls back to the CPU
        return "no usable GPU, driver, CUDA or cuDNN library was found"
    return ""


def _tiny_model() -> bytes:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> probe (float[1] x) => (float[1] y) { y = Relu (x) }'
    )
    return bytes(model.SerializeToString())


@functools.cache
@in_worker
def runtime_version() -> str:
    """The version of onnxruntime."""
    import onnxruntime as ort

    return str(ort.__version__)


def describe(provider: Device = "cpu", threads: int = 1) -> dict[str, str | int]:
    """The machine and its settings, for measured latencies: device, provider, version of onnxruntime, CPU, cores,
    threads and channels per block."""
    cpu = cpu_name()
    return {
        "device": gpu_name() if provider == "cuda" else cpu,
        "provider": provider,
        "onnxruntime": runtime_version(),
        "cpu": cpu,
        "cores": os.cpu_count() or 1,
        "threads": threads,
        "block": cpu_block(),
    }


@functools.cache
def cpu_name() -> str:
    """The model name of the CPU."""
    for line in _cpuinfo():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def gpu_name() -> str:
    """The name of the first GPU as nvidia-smi reports it, or "cuda"."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "cuda"
    try:
        query = [command, "--query-gpu=name", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "cuda"
    return found.stdout.splitlines()[0].strip() if found.stdout.strip() else "cuda"


def cpu_block() -> int:
    """Channels per block of onnxruntime's blocked layout on this CPU: 16 with AVX-512, else 8.

    The environment variable UPSCALE_CPU_BLOCK overrides it: to compile for another machine, or if the features of
    the CPU cannot be read.

    Raises:
        ArgumentError: the variable is not a positive integer.
    """
    chosen = os.environ.get(_BLOCK_VARIABLE)
    if chosen:
        if not chosen.isdecimal() or int(chosen) < 1:
            raise ArgumentError(f"{_BLOCK_VARIABLE}={chosen}: give a positive number of channels, such as 16")
        return int(chosen)
    return _AVX512_BLOCK if "avx512f" in _cpu_flags() else _PLAIN_BLOCK


def _cpu_flags() -> frozenset[str]:
    for line in _cpuinfo():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


@functools.cache
def _cpuinfo() -> tuple[str, ...]:
    try:
        return tuple(_CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ()
