"""What made a report: the command line, the versions of the libraries, the machine, and the day."""

from __future__ import annotations

import argparse
import platform
import shlex
from collections.abc import Sequence
from datetime import datetime, timezone

import upscale_onnx
from upscale_onnx.results import Origin

_LIBRARIES = ("onnx", "numpy")


def origin_of(args: argparse.Namespace) -> Origin:
    """The origin of what the command with these arguments reports. `main` has put its words into `args.words`."""
    from upscale_onnx.runtime import describe
    from upscale_onnx.runtime.providers import resolve_provider, runtime_version

    threads = getattr(args, "threads", 1)
    provider = resolve_provider(getattr(args, "provider", "cpu"))
    return Origin(
        command_line(getattr(args, "words", ())),
        {
            "upscale_onnx": upscale_onnx.__version__,
            "python": platform.python_version(),
            "onnxruntime": runtime_version(),
            **{name: _version(name) for name in _LIBRARIES},
        },
        describe(provider, threads if isinstance(threads, int) else threads[0]),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def command_line(words: Sequence[str]) -> str:
    """The command with these arguments, for a shell."""
    return shlex.join(["python", "-m", "upscale_onnx", *words])


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
