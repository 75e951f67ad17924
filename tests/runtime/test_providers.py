from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime as ort
import pytest

from upscale_onnx.errors import ArgumentError, ProviderError
from upscale_onnx.runtime import describe, providers, resolve_provider
from upscale_onnx.runtime.providers import cpu_block


def has_cuda() -> bool:
    return resolve_provider("auto") == "cuda"


def test_the_cpu_is_always_there() -> None:
    assert resolve_provider("cpu") == "cpu"


def test_auto_is_what_a_session_really_gets() -> None:
    assert resolve_provider("auto") in ("cpu", "cuda")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        assert resolve_provider("auto") == "cpu"


def test_cuda_is_given_or_refused_but_never_replaced() -> None:
    if has_cuda():
        assert resolve_provider("cuda") == "cuda"
        return
    with pytest.raises(ProviderError, match=r"provider cuda is not available: .+; use --provider cpu") as caught:
        resolve_provider("cuda")
    assert "\n" not in str(caught.value)


def test_unknown_providers_are_bad_arguments() -> None:
    with pytest.raises(ArgumentError, match="unknown provider 'tpu'"):
        resolve_provider("tpu")


def test_looking_for_cuda_prints_nothing() -> None:
    code = "from upscale_onnx.runtime import resolve_provider; resolve_provider('auto')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == ""
    assert found.stderr == ""


def test_the_description_names_the_machine() -> None:
    described = describe("cpu", threads=2)
    assert described["provider"] == "cpu"
    assert described["threads"] == 2
    assert described["onnxruntime"] == ort.__version__
    assert described["cpu"]
    assert described["device"] == described["cpu"]


@pytest.mark.parametrize(("flags", "block"), [("fpu avx2 avx512f", 16), ("fpu avx2", 8), ("", 8)])
def test_the_block_follows_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, block: int) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: {flags}\n")
    monkeypatch.setattr(providers, "_CPUINFO", info)
    monkeypatch.delenv("UPSCALE_CPU_BLOCK", raising=False)
    providers._cpuinfo.cache_clear()
    try:
        assert cpu_block() == block
    finally:
        providers._cpuinfo.cache_clear()


def test_the_block_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSCALE_CPU_BLOCK", "4")
    assert cpu_block() == 4
    for bad in ("0", "-8", "wide"):
        monkeypatch.setenv("UPSCALE_CPU_BLOCK", bad)
        with pytest.raises(ArgumentError, match="UPSCALE_CPU_BLOCK"):
            cpu_block()
