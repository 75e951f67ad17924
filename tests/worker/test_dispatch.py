"""Where decorated functions run, and that the caller's processor keeps its state."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from upscale_onnx.runtime.providers import runtime_version
from upscale_onnx.worker import in_process, in_worker, is_isolated, on_runtime_thread
from upscale_onnx.worker.dispatch import IN_PROCESS_VARIABLE

# onnxruntime asks the first session of a process only whether to flush, and other tests make sessions as well.
SCRIPT = """
import sys
import numpy as np
import onnx.parser
from upscale_onnx.runtime.sessions import make_session, run

text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) { y = Mul(x, x) }'
(inside,) = run(make_session(onnx.parser.parse_model(text)), {"x": np.array([1e-20], np.float32)})
outside = np.float32(1e-20) * np.float32(1e-20)
print(inside[0] == 0, outside != 0, "onnxruntime" in sys.modules)
"""


@pytest.mark.parametrize("here", ["", "1"])
def test_subnormal_numbers_are_flushed_inside_of_a_session_and_survive_outside(here: str) -> None:
    variables = {**os.environ, IN_PROCESS_VARIABLE: here}
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout.split() == ["True", "True", str(bool(here))]


def test_calls_from_the_runtime_thread_stay_on_it() -> None:
    inner = on_runtime_thread(threading.get_ident)
    outer = on_runtime_thread(lambda: (threading.get_ident(), inner(), is_isolated()))
    first, second, isolated = outer()
    assert first == second != threading.get_ident()
    assert not isolated


def test_in_process_nothing_is_isolated() -> None:
    assert is_isolated()
    with in_process():
        assert not is_isolated()
        assert in_worker(os.getpid)() == os.getpid()
    assert is_isolated()


def test_errors_reach_the_caller() -> None:
    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError, match="here"):
        on_runtime_thread(fail)()


def test_the_version_is_that_of_the_library() -> None:
    import onnxruntime

    assert runtime_version() == onnxruntime.__version__
