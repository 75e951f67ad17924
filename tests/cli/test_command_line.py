"""The command as users run it: exit codes, files and what is printed, most of it in processes of its own."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from upscale_onnx.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
DEAD = (1, 2, 7, 11, 15)
"""The channels between the two convolutions of `network` that the second does not read."""

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes, signals and devices")


def network(*, dead: tuple[int, ...] = DEAD, seed: int = 0, name: str = "conv") -> onnx.ModelProto:
    """x (N, 3, 8, 8) -> Conv to 16 channels, Relu, Conv to 10 channels that does not read `dead` -> y."""
    rng = np.random.default_rng(seed)
    first, bias, second = (rng.normal(size=s).astype(np.float32) for s in ((16, 3, 3, 3), (16,), (10, 16, 3, 3)))
    second[:, list(dead)] = 0
    nodes = [
        helper.make_node("Conv", ["x", "first", "bias"], ["a"], f"{name}_1", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "second"], ["y"], f"{name}_2", pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 8, 8))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 10, 8, 8))],
        [numpy_helper.from_array(w, n) for w, n in ((first, "first"), (bias, "bias"), (second, "second"))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that finds the package from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default", **more}


def hearing(number: signal.Signals, command: list[str]) -> list[str]:
    """`command`, started so that it hears the signal. Where tests run in the background, children ignore interrupts.

    A preexec_fn would do the same, but can wait forever: it runs in a fork, where the locks of other threads stay held.
    """
    start = (
        "import os, signal, sys; signal.signal(int(sys.argv[1]), signal.SIG_DFL); os.execv(sys.argv[2], sys.argv[2:])"
    )
    return [sys.executable, "-c", start, str(int(number)), *command]


def upscale(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The finished run of `python -m upscale_onnx` with `words` in the folder `cwd`."""
    command = [sys.executable, "-m", "upscale_onnx", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=300)


def within(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: for cases of a kind of which another is run as a process."""
    out, err = io.StringIO(), io.StringIO()
    before = Path.cwd()
    os.chdir(cwd)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        os.chdir(before)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with in.onnx."""
    onnx.save(network(), tmp_path / "in.onnx")
    return tmp_path


def parameters(path: Path) -> int:
    """How many elements the initializers of the model at `path` have."""
    return sum(int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer)


def largest_error(original: Path, compiled: Path, batch: int = 2) -> float:
    """Largest difference of the outputs on one random input, over the original's largest magnitude."""
    x = np.random.default_rng(3).normal(size=(batch, 3, 8, 8)).astype(np.float32)
    expected, found = (np.asarray(ReferenceEvaluator(str(p)).run(None, {"x": x})) for p in (original, compiled))
    return float(np.abs(expected - found).max() / np.abs(expected).max())


def test_compile(folder: Path) -> None:
    run = upscale("in.onnx", "out.onnx", "--json", "r.json", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert largest_error(folder / "in.onnx", folder / "out.onnx") < 1e-5
    content = json.loads((folder / "r.json").read_text())
    assert content["kind"] == "report"
    assert content["before"]["parameters"] == parameters(folder / "in.onnx")
    assert content["verification"]["equal"] is True
    assert run.stdout.splitlines()[-1] == "written  out.onnx"
    assert "\x1b" not in run.stdout
    assert {p.name for p in folder.iterdir()} == {"in.onnx", "out.onnx", "r.json"}


@pytest.mark.parametrize("export", ["upscale", "gather", "keep"])
def test_dead_channels_are_gone_in_every_export(folder: Path, export: str) -> None:
    run = within("in.onnx", "out.onnx", "--export", export, "--align", "1", "--no-race", "-q", cwd=folder)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    live = 16 - len(DEAD)
    assert parameters(folder / "out.onnx") == live * 3 * 9 + live + 10 * live * 9
    assert largest_error(folder / "in.onnx", folder / "out.onnx") < 1e-5


def test_the_same_command_writes_the_same_bytes(folder: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        assert upscale("in.onnx", name, "--no-race", "--amount", "0.3", "-q", cwd=folder).returncode == 0
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


def test_an_amount_prunes_first(folder: Path) -> None:
    onnx.save(network(dead=()), folder / "in.onnx")
    words = ("--amount", "0.5", "--criterion", "l1", "--no-race", "--align", "1", "--export", "upscale")
    run = within("in.onnx", "out.onnx", *words, cwd=folder)
    assert run.returncode == 0, run.stderr
    assert re.search(r"^compile\.masked_channels +8$", run.stdout, re.MULTILINE)
    assert parameters(folder / "out.onnx") == 8 * 3 * 9 + 8 + 10 * 8 * 9


def test_a_mask_file_prunes_first(folder: Path) -> None:
    onnx.save(network(dead=()), folder / "in.onnx")
    (folder / "m.json").write_text(json.dumps({"second": {"pruned": [0, 3]}}))
    words = ("--mask", "m.json", "--no-race", "--align", "1", "--export", "gather", "-q")
    assert within("in.onnx", "out.onnx", *words, cwd=folder).returncode == 0
    assert parameters(folder / "out.onnx") == 14 * 3 * 9 + 14 + 10 * 14 * 9


def test_own_inputs_are_used(folder: Path) -> None:
    np.savez(folder / "d.npz", x=np.ones((3, 3, 8, 8), np.float32))
    run = within("in.onnx", "out.onnx", "--inputs", "d.npz", "--no-race", "--json", "r.json", "-q", cwd=folder)
    assert run.returncode == 0, run.stderr
    shapes = json.loads((folder / "r.json").read_text())["verification"]["shapes"]
    assert {"x": [3, 3, 8, 8]} in shapes


def test_a_file_may_be_called_like_a_command(folder: Path) -> None:
    (folder / "in.onnx").rename(folder / "inspect")
    assert within("compile", "inspect", "out.onnx", "--no-race", "-q", cwd=folder).returncode == 0
    assert (folder / "out.onnx").exists()
    assert within("./inspect", "out2.onnx", "--no-race", "-q", cwd=folder).returncode == 0


def test_inspect(folder: Path) -> None:
    run = upscale("inspect", "in.onnx", cwd=folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert "consumer.conv_2" in run.stdout
    run = within("inspect", "in.onnx", "--json", "-", cwd=folder)
    (consumer,) = [c for s in json.loads(run.stdout)["segments"] for c in s["consumers"] if c["node"] == "conv_2"]
    assert (consumer["channels"], consumer["demanded"]) == (16, 16 - len(DEAD))


def test_verify_tells_equal_from_different(folder: Path) -> None:
    onnx.save(network(seed=1), folder / "other.onnx")
    equal = within("verify", "in.onnx", "in.onnx", cwd=folder)
    assert (equal.returncode, equal.stderr) == (0, "")
    assert "verify.equal" in equal.stdout
    different = upscale("verify", "in.onnx", "other.onnx", "--json", "v.json", cwd=folder)
    assert different.returncode == 3
    assert json.loads((folder / "v.json").read_text())["equal"] is False


def _spoil_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _spoil_version(path: Path) -> None:
    model = onnx.load(path)
    model.ir_version = 10_000
    path.write_bytes(model.SerializeToString())


def _spoil_graph(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[1].input[0] = "nowhere"
    path.write_bytes(model.SerializeToString())


def _spoil_external(path: Path) -> None:
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()


def _spoil_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "spoil",
    [
        Path.unlink,
        _spoil_directory,
        lambda path: path.write_bytes(b""),
        _spoil_truncate,
        lambda path: path.write_text("This is not a model, it is a sentence."),
        lambda path: path.write_bytes(TensorProto(name="t", data_type=1).SerializeToString()),
        _spoil_version,
        _spoil_graph,
        _spoil_external,
    ],
    ids=["missing", "directory", "empty", "truncated", "text", "not a model", "IR version", "graph", "external data"],
)
@pytest.mark.parametrize(
    "words",
    [("in.onnx", "out.onnx"), ("inspect", "in.onnx"), ("bench", "in.onnx")],
    ids=["compile", "inspect", "bench"],
)
def test_a_model_that_cannot_be_used(folder: Path, spoil: Callable[[Path], object], words: tuple[str, ...]) -> None:
    spoil(folder / "in.onnx")
    before = set(folder.iterdir())
    alone = spoil is _spoil_truncate and words[0] == "in.onnx"
    run = (upscale if alone else within)(*words, cwd=folder)
    assert run.returncode == 2
    assert _one_line(run).startswith("upscale_onnx: error: in.onnx: ")
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("in.onnx in.onnx", "in.onnx"),
        ("in.onnx none/out.onnx", "none"),
        ("in.onnx .", "."),
        ("in.onnx out.onnx --json none/r.json", "none"),
        ("in.onnx out.onnx --json out.onnx", "out.onnx"),
        ("in.onnx out.onnx --inputs none.npz", "none.npz"),
        ("in.onnx out.onnx --mask none.npz", "none.npz"),
        ("in.onnx out.onnx --mask in.onnx", "in.onnx"),
        ("in.onnx out.onnx --amount 2", "--amount"),
        ("in.onnx", "out.onnx"),
        ("verify in.onnx none.onnx", "none.onnx"),
    ],
)
def test_arguments_that_cannot_be_used(folder: Path, words: str, named: str) -> None:
    before = (folder / "in.onnx").read_bytes()
    run = within(*words.split(), cwd=folder)
    assert run.returncode == 2
    assert named in _one_line(run)
    assert [p.name for p in folder.iterdir()] == ["in.onnx"]
    assert (folder / "in.onnx").read_bytes() == before


@posix
def test_a_read_only_folder(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (folder / "locked").mkdir(mode=0o500)
    run = upscale("in.onnx", "locked/out.onnx", cwd=folder)
    assert run.returncode == 2
    assert "locked" in _one_line(run)


def test_a_provider_that_is_not_there(folder: Path) -> None:
    if Path("/dev/nvidiactl").exists() or os.name != "posix":
        pytest.skip("this machine may have a CUDA device")
    run = within("in.onnx", "out.onnx", "--provider", "cuda", cwd=folder)
    assert run.returncode == 4
    assert "cuda" in _one_line(run).lower()
    assert not (folder / "out.onnx").exists()


@posix
def test_interrupted_while_it_reads(folder: Path) -> None:
    pipe = folder / "slow.onnx"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "upscale_onnx", "slow.onnx", "out.onnx"]
    quiet = environment(PYTHONWARNINGS="ignore")  # the interrupt leaves the pipe to the garbage collector
    with subprocess.Popen(
        hearing(signal.SIGINT, command),
        cwd=folder,
        env=quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writer = _open_for(pipe, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        os.close(writer)
    assert process.returncode == 130
    assert (out, err) == ("", "upscale_onnx: interrupted\n")
    assert not (folder / "out.onnx").exists()


@posix
@pytest.mark.parametrize(
    ("library", "number", "said"),
    [
        *((library, signal.SIGINT, "interrupted") for library in ("argparse", "numpy", "onnx", "scipy", "rich")),
        ("numpy", signal.SIGTERM, "terminated"),
        ("numpy", signal.SIGHUP, "terminated"),
    ],
)
def test_ended_while_it_is_imported(folder: Path, library: str, number: signal.Signals, said: str) -> None:
    """A library that takes long to load, and like some turns whatever happens meanwhile into an error of its own."""
    slow = "import os, time\ntry:\n    os.write(1, b'loading')\n    time.sleep(60)\n"
    slow += "except BaseException:\n    raise ImportError\n"
    (folder / "slow").mkdir()
    (folder / "slow" / f"{library}.py").write_text(slow, encoding="utf-8")
    command = [sys.executable, "-m", "upscale_onnx", "in.onnx", "out.onnx"]
    with subprocess.Popen(
        hearing(number, command),
        cwd=folder,
        env=environment(PYTHONPATH=f"{folder / 'slow'}{os.pathsep}{ROOT}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(7) == "loading"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + number, f"upscale_onnx: {said}\n")


@posix
def test_a_reader_that_went_away_changes_nothing(folder: Path) -> None:
    command = [sys.executable, "-m", "upscale_onnx", "in.onnx", "out.onnx", "--no-race"]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert (folder / "out.onnx").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk(folder: Path) -> None:
    command = [sys.executable, "-m", "upscale_onnx", "inspect", "in.onnx"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        run = subprocess.run(
            command, cwd=folder, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "standard output" in line


def test_names_the_terminal_cannot_show(folder: Path) -> None:
    onnx.save(network(name="слой"), folder / "in.onnx")
    run = upscale("inspect", "in.onnx", cwd=folder, PYTHONIOENCODING="ascii")
    assert (run.returncode, run.stderr) == (0, "")
    assert "consumer.\\u0441\\u043b\\u043e\\u0439_2" in run.stdout


def test_what_runs_nothing_does_not_load_the_runtime(tmp_path: Path) -> None:
    program = (
        "import sys; from upscale_onnx.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    print(main(words.split()), 'onnxruntime' in sys.modules, file=sys.stderr)"
    )
    lines = ["--help", "--version", "bench --help", "a b --align 0"]
    command = [sys.executable, "-c", program, *lines]
    run = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    found = [line for line in run.stderr.splitlines() if line.endswith((" True", " False"))]
    assert found == ["0 False", "0 False", "0 False", "2 False"], run.stderr


def test_version_is_the_packages(tmp_path: Path) -> None:
    import upscale_onnx

    assert upscale("--version", cwd=tmp_path).stdout == f"upscale_onnx {upscale_onnx.__version__}\n"


def _open_for(pipe: Path, reader: subprocess.Popen[str]) -> int:
    """A descriptor for writing to `pipe`, opened once `reader` reads from it."""
    while reader.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:  # that one says that nobody reads yet
                raise
            time.sleep(0.01)
    raise AssertionError(f"ended without reading: {reader.communicate()}")


def _one_line(run: subprocess.CompletedProcess[str]) -> str:
    """The single line on standard error; nothing is on standard output."""
    assert run.stdout == ""
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    return lines[0]
