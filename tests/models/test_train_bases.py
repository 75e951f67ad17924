"""Base networks of several seeds and data sets, and that a training goes on."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

pytest.importorskip("torch", reason="needs the extra `torch`", exc_type=ImportError)
pytest.importorskip("onnxscript", reason="needs the extra `torch`", exc_type=ImportError)

from models import train_bases
from models.train_cifar import PREPROCESSING
from tests.models.test_train_cifar import write_colours
from upscale_onnx.measures.accuracy import evaluate


@pytest.mark.usefixtures("quick_exports")
def test_networks_of_all_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (str(write_colours(tmp_path / f"{n}.npz", 128, n, size=32)) for n in (1, 2))
    asked = ["cnet", "--set", "a", train, test, "--out", str(tmp_path / "out"), "--seeds", "2", "--epochs", "1"]
    whole = train_bases.finetune
    seen: list[str] = []

    def stopped(*args: object, **named: object) -> object:
        seen.append(str(named["state"]))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(train_bases, "finetune", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_bases.main(asked)
    train_bases.main(asked)
    names = ["a_cnet_0.onnx", "a_cnet_1.onnx"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert seen == [*dict.fromkeys(seen), seen[-1]]  # what was written is not trained again
    models = [onnx.load(tmp_path / "out" / name) for name in names]
    assert len({model.SerializeToString() for model in models}) == 2
    said = capsys.readouterr().out
    for model, name in zip(models, names, strict=True):
        top1 = evaluate(model, test, PREPROCESSING).top1
        assert f"{name}: test accuracy {top1:.2%}" in said
