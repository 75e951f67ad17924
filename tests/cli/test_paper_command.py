"""The paper command: a grid of trials, results that resume, and plots."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.graphs import parse
from upscale_onnx.cli.main import main
from upscale_onnx.paper import experiment

PNG = b"\x89PNG"


def classifier() -> onnx.ModelProto:
    """x (N, 3, 8, 8) to 7 scores, through a residual join."""
    rng = np.random.default_rng(0)
    shapes = {"wa": (16, 3, 3, 3), "wb": (16, 16, 3, 3), "wc": (24, 16, 1, 1), "wd": (24, 7)}
    constants = {name: (rng.normal(size=shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}
    return parse(
        """(float[N, 3, 8, 8] x) => (float[N, 7] y) {
            a = Conv(x, wa)
            r = Relu(a)
            b = Conv<pads=[1,1,1,1]>(r, wb)
            s = Add(r, b)
            c = Conv(s, wc)
            q = Relu(c)
            p = GlobalAveragePool(q)
            f = Flatten(p)
            y = MatMul(f, wd)
        }""",
        **constants,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with net.onnx and the classes it sees in 60 images, all.npz; every fifth is wrong."""
    monkeypatch.chdir(tmp_path)
    model = classifier()
    onnx.save(model, "net.onnx")
    x = np.random.default_rng(1).normal(size=(60, 3, 8, 8)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    y = session.run(None, {"x": x})[0].argmax(axis=1)
    y[::5] = (y[::5] + 1) % 7
    np.savez("all.npz", x=x.transpose(0, 2, 3, 1), y=y)
    return tmp_path


def paper(*words: str) -> int:
    """The exit code of an experiment on the CPU."""
    return main(["paper", "net.onnx", *words, "--provider", "cpu", "--out", "out"])


def table() -> list[dict[str, str]]:
    """The rows of the results."""
    with Path("out/results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measured(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """The trials that are measured from now on; after so many of them someone interrupts."""
    trials: list[str] = []
    real = experiment.measure

    def spy(*args: object) -> object:
        if stop_after is not None and len(trials) == stop_after:
            raise KeyboardInterrupt
        trials.append(str(args[1]))
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment, "measure", spy)
    return trials


def test_a_grid_with_labels_and_latency(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    words = (
        "--amount",
        "0.2,0.5",
        "--method",
        "unconstrained",
        "constrained",
        "--data",
        "all.npz",
        "--export",
        "upscale",
    )
    assert paper(*words, "--latency", "--budget", "0.05") == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = table()
    assert [(row["method"], row["amount"]) for row in rows] == [
        ("unconstrained", "0.2"),
        ("unconstrained", "0.5"),
        ("constrained", "0.2"),
        ("constrained", "0.5"),
    ]
    for row in rows:
        assert float(row["unpruned_top1"]) == pytest.approx(0.8)
        assert 0 <= float(row["top1"]) <= float(row["top5"]) <= 1
        assert row["images"] == "60"
        assert float(row["latency_ms"]) > 0
        assert all(float(row[name]) > 0 for name in ("latency_std_ms", "baseline_std_ms", "unpruned_std_ms"))
        assert float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
    assert int(rows[1]["channels"]) > int(rows[0]["channels"]) > 0
    for name in ("accuracy.png", "latency.png"):
        assert Path("out", name).read_bytes().startswith(PNG)
        assert f"written  {Path('out', name)}" in out
    assert "paper.input unconstrained l2 0.5" in out


def test_top1_is_that_of_the_masked_model(folder: Path) -> None:
    assert paper("--amount", "0.4", "--criterion", "l1", "--method", "unconstrained", "--data", "all.npz") == 0
    (row,) = table()
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in classifier().graph.initializer}
    model = classifier()
    for name, axis in (("wb", 1), ("wc", 1), ("wd", 0)):
        array = np.moveaxis(weights[name].copy(), axis, 0)
        norms = np.abs(array).reshape(len(array), -1).sum(axis=1)
        array[np.argsort(norms)[: int(0.4 * len(array))]] = 0
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.moveaxis(array, 0, axis), name))
    with np.load("all.npz") as data:
        x, y = data["x"].transpose(0, 3, 1, 2), data["y"]
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"x": x})
    assert float(row["top1"]) == (scores.argmax(axis=1) == y).mean()


def test_sizes_do_not_depend_on_whether_models_are_timed(folder: Path) -> None:
    words = ("--amount", "0.3", "--method", "unconstrained", "-q")
    assert paper(*words) == 0
    (untimed,) = table()
    Path("out/results.csv").unlink()
    assert paper(*words, "--latency", "--budget", "0.05") == 0
    (timed,) = table()
    assert float(timed["latency_ms"]) > 0
    for name in ("channels", "parameters", "macs"):
        assert timed[name] == untimed[name], name
    assert int(timed["parameters"]) < sum(
        t.size for t in map(onnx.numpy_helper.to_array, classifier().graph.initializer)
    )


def test_an_interrupted_run_goes_on_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--amount", "0.2,0.5", "--criterion", "l1,l2", "--method", "unconstrained", "-q")
    with monkeypatch.context() as patch:
        measured(patch, stop_after=2)
        assert paper(*words) == 130
    first = Path("out/results.csv").read_text(encoding="utf-8")
    assert len(table()) == 2
    trials = measured(monkeypatch)
    assert paper(*words) == 0
    assert trials == ["input unconstrained l2 0.2", "input unconstrained l2 0.5"]
    assert Path("out/results.csv").read_text(encoding="utf-8").startswith(first)
    assert paper(*words) == 0
    assert len(trials) == 2
    assert paper(*words, "--seed", "1") == 0
    assert len(trials) == 6
    assert len(table()) == 8


def test_what_is_missing_is_added_and_force_measures_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--amount", "0.3", "--method", "unconstrained", "--export", "upscale", "-q")
    assert paper(*words) == 0
    (before,) = table()
    assert before["latency_ms"] == ""
    trials = measured(monkeypatch)
    assert paper(*words, "--latency", "--budget", "0.05") == 0
    (timed,) = table()
    assert timed["distance"] == before["distance"]
    assert timed["latency_ms"] != ""
    assert paper(*words) == 0
    assert len(trials) == 1
    assert paper(*words, "--force") == 0
    assert len(trials) == 2
    assert len(table()) == 1


def test_another_model_of_the_same_name_is_another_row(folder: Path) -> None:
    words = ("--amount", "0.3", "--method", "unconstrained", "-q")
    assert paper(*words) == 0
    model = onnx.load("net.onnx")
    model.graph.initializer[0].raw_data = b"\0" * len(model.graph.initializer[0].raw_data)
    onnx.save(model, "net.onnx")
    assert paper(*words) == 0
    first, second = table()
    assert first["model"] == second["model"] == "net.onnx"
    assert first["checksum"] != second["checksum"]


def test_a_trial_that_cannot_be_run_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert paper("--amount", "0.3", "--criterion", "hrank,l2", "--method", "unconstrained") == 2
    assert "input unconstrained hrank 0.3: criterion 'hrank' needs calibration data" in capsys.readouterr().err
    assert [row["criterion"] for row in table()] == ["l2"]


def test_calibration_is_what_outputs_are_compared_on(folder: Path) -> None:
    with np.load("all.npz") as data:
        np.savez("calibration.npz", x=data["x"].transpose(0, 3, 1, 2))
    words = ("--amount", "0.3", "--method", "unconstrained", "-q")
    assert paper(*words, "--criterion", "hrank,l2", "--calibration", "calibration.npz") == 0
    assert paper(*words) == 0
    rows = table()
    assert len(rows) == 3
    assert rows[1]["distance"] != rows[2]["distance"]
    assert paper(*words, "--calibration", "calibration.npz", "--repair", "lsq") == 0
    assert float(table()[3]["distance"]) < float(rows[1]["distance"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--side", "both"), "'both' is not one of input, output"),
        (("--criterion", "l2,magic"), "no criterion called 'magic': use one of"),
        (("--amount", "1.5"), "is not a fraction"),
        (("--mean", "0.5"), "--mean has no effect without --data"),
        (("--data", "none.npz"), "none.npz"),
        (("--epochs", "2", "--data", "all.npz"), "--epochs and --train go together"),
        (("--train", "all.npz", "--data", "all.npz"), "--epochs and --train go together"),
        (("--epochs", "2", "--train", "all.npz"), "--epochs has no effect without --data"),
    ],
)
def test_what_cannot_be_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    assert paper(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_epochs_train_before_models_are_judged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    words = ("--amount", "0.6", "--method", "unconstrained", "--data", "all.npz", "-q")
    assert paper(*words) == 0
    longer = (*words, "--train", "all.npz", "--epochs", "4", "--batch", "20")
    assert paper(*longer) == 0
    plain, trained = table()
    assert (plain["epochs"], trained["epochs"]) == ("0", "4")
    assert float(trained["top1"]) > float(plain["top1"])
    assert trained["parameters"] == plain["parameters"]
    trials = measured(monkeypatch)
    assert paper(*longer) == 0
    assert not trials


def test_clean_leaves_one_row_of_a_trial(folder: Path) -> None:
    words = ("--amount", "0.3", "--method", "unconstrained", "--data", "all.npz", "-q")
    for limit in ("10", "20"):
        assert paper(*words, "--limit", limit) == 0
    assert [row["images"] for row in table()] == ["10", "20"]
    assert paper(*words, "--limit", "10", "--clean") == 0
    assert [row["images"] for row in table()] == ["10"]


def test_a_file_of_someone_else_is_left_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/results.csv").write_text("mine\n", encoding="utf-8")
    assert paper("--amount", "0.3") == 2
    assert "is not a table of this command" in capsys.readouterr().err
    assert Path("out/results.csv").read_text(encoding="utf-8") == "mine\n"
    Path("file").touch()
    assert main(["paper", "net.onnx", "--out", "file"]) == 2


def test_a_network_by_name_needs_torchvision(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert main(["paper", "resnet18"]) == 2
    err = capsys.readouterr().err
    assert "resnet18: no such file; and the networks of torchvision cannot be used" in err
    assert main(["paper", "resnet18.onnx"]) == 2
    assert "resnet18.onnx: no such file" in capsys.readouterr().err


def test_without_matplotlib_there_are_results_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert paper("--amount", "0.3") == 0
    assert "nothing is drawn: a plot needs matplotlib" in capsys.readouterr().err
    assert len(table()) == 2
    assert not Path("out/accuracy.png").exists()


def test_freedom_pays_on_a_trained_network(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("PIL")
    model = corpus / "trained" / "cifar10jpeg_resnet20_finetuned.onnx"
    data = corpus.parent / "data" / "cifar10_test_jpegbytes.npz"
    if not model.is_file() or not data.is_file():
        pytest.skip(f"needs {model.name} and {data.name}")
    monkeypatch.chdir(tmp_path)
    words = ["--amount", "0.3", "--data", str(data), "--normalise", "imagenet", "--limit", "300", "--out", "out"]
    assert main(["paper", str(model), *words, "--provider", "cpu", "-q"]) == 0
    free, bound = table()
    assert float(free["unpruned_top1"]) > 0.8
    assert float(free["top1"]) > float(bound["top1"])
