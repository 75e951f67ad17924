"""A process that may crash, hang or eat memory without taking ours along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from upscale_onnx.errors import ArgumentError, InternalError, ModelError
from upscale_onnx.worker import models
from upscale_onnx.worker.client import RemoteTraceback, Worker
from upscale_onnx.worker.limits import MEMORY_VARIABLE, TIME_VARIABLE

HERE = Path(__file__).parent
MODEL = '<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] y) <float[2] w = {1, 2}> { y = Relu (x) }'


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker of its own, which finds the module `victims`."""
    monkeypatch.syspath_prepend(str(HERE))
    found = Worker()
    yield found
    found.stop()


def ask(worker: Worker, name: str, *args: Any) -> Any:
    return worker.call("victims", name, args, {})


def test_one_process_does_it_all(worker: Worker) -> None:
    first = ask(worker, "process")
    assert first == ask(worker, "process") != os.getpid()


@pytest.mark.parametrize("large", [2**25, 0])
def test_arrays_and_models_come_back_as_they_are(worker: Worker, large: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_LARGE_ELEMENTS", large)
    model = onnx.parser.parse_model(MODEL)
    values = {"a": np.arange(5), "b": np.ones((2, 3), np.float16), "c": np.array(["x", "y"], object), "d": np.zeros(0)}
    arrays, found = ask(worker, "doubled", values, model)
    for name, array in values.items():
        np.testing.assert_array_equal(arrays[name], array * 2)
        assert arrays[name].dtype == array.dtype
    arrays["a"][0] = 1  # it is ours to write
    assert found.graph.name == "gg"
    assert model.graph.name == "g"
    found.graph.name = "g"
    assert found.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


def test_the_pieces_of_a_large_model_are_the_model() -> None:
    model = onnx.parser.parse_model(MODEL)
    whole = onnx.ModelProto()
    pieces = list(models._parts(model))
    assert len(pieces) == 2
    for piece in pieces:
        whole.MergeFromString(piece)
    assert whole == model


def test_a_crash_is_told_in_one_line_and_the_next_call_has_a_new_process(worker: Worker) -> None:
    first = ask(worker, "process")
    with pytest.raises(ModelError, match=r"crashed on the model \(SIGABRT: vector: out of range\)"):
        ask(worker, "crash", "a\nvector:  out of range\n\n")
    assert ask(worker, "process") != first
    with pytest.raises(ModelError, match="killed, most likely because memory ran out"):
        ask(worker, "killed")
    assert ask(worker, "process")


def test_who_is_silent_for_too_long_is_stopped(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(worker, "process")
    monkeypatch.setenv(TIME_VARIABLE, "0.5")
    assert ask(worker, "busy", 0.2, 5) == "done"
    with pytest.raises(ModelError, match=r"took longer than 0\.5 s for one step"):
        ask(worker, "busy", 3.0, 1)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_who_holds_too_much_is_stopped(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MEMORY_VARIABLE, "0.5")
    assert ask(worker, "process")
    with pytest.raises(ModelError, match=r"needs more than 0\.5 GB of memory"):
        ask(worker, "hold", 1000)


@pytest.mark.parametrize("variable", [TIME_VARIABLE, MEMORY_VARIABLE])
@pytest.mark.parametrize("value", ["none", "0", "-1", "nan"])
def test_limits_are_positive_numbers(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ArgumentError, match=f"{variable}={value}: give a positive number"):
        ask(worker, "process")
    monkeypatch.delenv(variable)
    assert ask(worker, "process")


def test_errors_are_those_of_the_function(worker: Worker) -> None:
    with pytest.raises(ModelError, match="it does not work") as caught:
        ask(worker, "refuse", "model")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "victims.py" in str(caught.value.__cause__)
    with pytest.raises(ModelError, match="not enough memory"):
        ask(worker, "refuse", "memory")
    with pytest.raises(KeyError, match="it does not work"):
        ask(worker, "refuse", "key")


def test_functions_are_called_on_this_side_and_may_use_the_worker(worker: Worker) -> None:
    seen: list[int] = []

    def tell(number: int) -> int:
        seen.append(number)
        return number * (ask(worker, "told", lambda inner: inner, 3) if number else 0)

    assert ask(worker, "told", tell, 3) == 3 + 6
    assert seen == [0, 1, 2]


def test_what_a_function_on_this_side_raises_comes_through(worker: Worker) -> None:
    error = KeyError("mine")

    def fail(number: int) -> int:
        raise error

    first = ask(worker, "process")
    with pytest.raises(KeyError) as caught:
        ask(worker, "told", fail, 1)
    assert caught.value is error
    assert ask(worker, "process") == first


def test_an_interrupt_leaves_no_answer_to_a_question_nobody_asked(worker: Worker) -> None:
    def interrupt(number: int) -> int:
        raise KeyboardInterrupt

    first = ask(worker, "process")
    with pytest.raises(KeyboardInterrupt):
        ask(worker, "told", interrupt, 1)
    assert ask(worker, "process") != first


def test_what_cannot_be_sent_leaves_the_worker_as_it_is(worker: Worker) -> None:
    first = ask(worker, "process")
    with pytest.raises(Exception, match="pickle"):
        ask(worker, "doubled", {"a": (number for number in ())})
    with pytest.raises(TypeError):
        ask(worker, "doubled", {})
    assert ask(worker, "process") == first


def test_folder_and_variables_are_those_of_the_caller(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSCALE_TEST", "1")
    ask(worker, "process")
    monkeypatch.chdir(tmp_path)
    assert ask(worker, "folder_and_variable", "UPSCALE_TEST") == (str(tmp_path), "1")
    monkeypatch.delenv("UPSCALE_TEST")
    assert ask(worker, "folder_and_variable", "UPSCALE_TEST") == (str(tmp_path), None)


def test_what_libraries_print_is_no_message(worker: Worker, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(worker, "talkative") == "done"
    assert ask(worker, "process")
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_cannot_start_is_a_fault_of_ours(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InternalError, match="the worker process failed"):
        ask(worker, "process")


@pytest.mark.parametrize(
    "call",
    ["'victims', 'busy', (60.0, 1), {}", "'re', 'match', ('(a+)+$', 'a' * 40 + 'b'), {}"],
    ids=["python", "native code that keeps every thread waiting"],
)
def test_the_worker_ends_with_its_parent(call: str) -> None:
    if sys.platform != "linux" and "re" in call:
        pytest.skip("only Linux tells a process of a closed pipe")
    script = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from upscale_onnx.worker.client import WORKER\n"
        "print(WORKER.call('victims', 'process', (), {}), flush=True)\n"
        f"WORKER.call({call})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_leaves_the_worker_to_its_parent(worker: Worker) -> None:
    script = (
        f"import os, sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from upscale_onnx.worker.client import WORKER\n"
        "ask = lambda: WORKER.call('victims', 'process', (), {})\n"
        "first = ask()\n"
        "if not os.fork():\n"
        "    assert ask() != first\n"
        "    sys.exit(7)\n"
        "assert os.waitstatus_to_exitcode(os.wait()[1]) == 7\n"
        "assert ask() == first\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
