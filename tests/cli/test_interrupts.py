"""Signals: what they leave behind, and what the exit code says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upscale_onnx.cli import sparsity
from upscale_onnx.cli.interrupts import Terminated, held_back, terminations_raise
from upscale_onnx.cli.main import COMMANDS, main
from upscale_onnx.cli.output import Output

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(autouse=True)
def _usual_handlers() -> Iterator[None]:
    """A process that was started in the background may ignore these."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_request_to_end_raises_in_the_context_alone(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Terminated) as caught, terminations_raise():
        signal.raise_signal(number)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_who_handles_it_already_goes_on_doing_so() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with terminations_raise():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


def test_signals_are_held_back_until_the_end_of_the_context() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done


class _Command:
    SUMMARY = "for tests"

    def __init__(self, path: Path, number: signal.Signals, after: bool) -> None:
        self._path, self._number, self._after = path, number, after

    def run(self, args: object, output: Output) -> int:
        del args
        with output.publishing(3) as files:
            files.write(self._path, [b"new"])
            if not self._after:
                signal.raise_signal(self._number)
        signal.raise_signal(self._number)
        return 3

    def add_arguments(self, parser: object) -> None:
        sparsity.add_arguments(parser)  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
@pytest.mark.parametrize("after", [False, True])
def test_the_exit_code_says_whether_the_file_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
    after: bool,
) -> None:
    path = tmp_path / "out"
    monkeypatch.setitem(COMMANDS, "sparsity", _Command(path, number, after))  # type: ignore[arg-type]
    assert main(["sparsity", "in.onnx"]) == (3 if after else code)
    out, err = capsys.readouterr()
    assert out == ""
    said = "upscale_onnx: interrupted\n" if number == signal.SIGINT else "upscale_onnx: terminated\n"
    assert err == ("" if after else said)
    assert [p.name for p in tmp_path.iterdir()] == (["out"] if after else [])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_fails_after_the_files_are_written_changes_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from upscale_onnx.cli.output import Output; output = Output()\n"
        "with output.publishing() as files: files.write(sys.argv[1], [b'new'])\n"
        "output.text('table'); sys.exit(output.delivered)"
    )
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = [sys.executable, "-c", program, str(tmp_path / "out")]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert run.returncode == 0
    (line,) = run.stderr.splitlines()
    assert "standard output cannot be written to" in line
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_signal_while_the_process_ends_does_not_change_the_code(tmp_path: Path) -> None:
    program = (
        "import atexit, os, signal, sys; from upscale_onnx.__main__ import main; sys.argv = ['it', '--version']\n"
        "atexit.register(lambda: [os.kill(os.getpid(), n) for n in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)])\n"
        "sys.exit(main())"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
