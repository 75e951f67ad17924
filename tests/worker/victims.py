"""What workers of tests are told to do."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from upscale_onnx.errors import ModelError
from upscale_onnx.worker import beat


def process() -> int:
    return os.getpid()


def folder_and_variable(name: str) -> tuple[str, str | None]:
    return os.getcwd(), os.environ.get(name)  # noqa: PTH109


def doubled(arrays: dict[str, Any], model: onnx.ModelProto) -> tuple[dict[str, Any], onnx.ModelProto]:
    model.graph.name += model.graph.name
    return {name: array * 2 for name, array in arrays.items()}, model


def crash(words: str) -> None:
    os.write(2, words.encode())
    os.abort()


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def busy(seconds: float, beats: int) -> str:
    for _ in range(beats):
        time.sleep(seconds)
        beat()
    return "done"


def hold(megabytes: int) -> int:
    data = np.ones(megabytes * 2**17)
    time.sleep(5.0)
    return int(data.size)


def refuse(error: str) -> None:
    raise {"model": ModelError, "memory": MemoryError, "key": KeyError}[error]("it does not work")


def told(tell: Callable[[int], int], times: int) -> int:
    return sum(tell(number) for number in range(times))


def talkative() -> str:
    print("on standard output")
    os.write(1, b"by descriptor")
    return "done"
