"""The mutation score: what it counts as a mutant, measures and keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from upscale_onnx.runtime.draws import Drawing

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digits_cnet_masked.onnx"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "programs"))


def test_mutants_are_judged_and_not_measured_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import mutation_score  # type: ignore[import-not-found, unused-ignore]

    words = [str(MODEL), "--out", str(tmp_path / "s.json"), "--mutants", "3"]
    assert mutation_score.main(words) == 0
    first = json.loads((tmp_path / "s.json").read_text())
    record = first[MODEL.stem]
    assert record["equal"]
    assert record["proven"][0] == record["proven"][1] > 0
    assert len(record["mutants"]) == 3
    assert all(row["global"] and row["local"] for row in record["mutants"])
    out, err = capsys.readouterr()
    assert "| all | 3 | 0 | 0 | 0 | 0 | |" in out
    assert "about 0 s left" in err
    assert mutation_score.main(words) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == first
    assert capsys.readouterr().err == ""


def test_a_missed_mutant_is_counted_by_what_natural_inputs_show() -> None:
    import mutation_score  # type: ignore[import-not-found, unused-ignore]

    def row(found: bool, local: bool, error: float) -> dict[str, Any]:
        return {"global": found, "local": local, "error": error, "tolerance": 1e-5}

    mutants = [row(False, True, 0.5), row(False, False, 1e-7), row(False, False, 0.0), row(True, True, 0.5)]
    record = {"mutants": mutants, "asleep": [1, 4]}
    assert "| net | 4 | 3 | 1 | 1 | 1 | 25 % |" in mutation_score.table({"net": record})


def test_a_mutant_loses_one_channel_and_its_bias() -> None:
    from mutants import live_channels, mutant  # type: ignore[import-not-found, unused-ignore]

    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2] x) => (float[1, 3] y)
           <float[3, 2] w = {1, 2, 0, 0, 3, 4}, float[3] b = {5, 6, 7}> { y = Gemm <transB = 1> (x, w, b) }"""
    )
    channels = live_channels(model)
    assert [channel.index for channel in channels] == [0, 2]
    weight, bias = (onnx.numpy_helper.to_array(tensor) for tensor in mutant(model, channels[1]).graph.initializer)
    np.testing.assert_array_equal(weight, [[1, 2], [0, 0], [0, 0]])
    np.testing.assert_array_equal(bias, [5, 6, 0])


def test_networks_get_what_their_inputs_look_like() -> None:
    from natural_inputs import natural_inputs  # type: ignore[import-not-found, unused-ignore]

    def inputs(dims: str, shape: tuple[int, ...]) -> list[np.ndarray[Any, Any]]:
        text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{dims}] x) => (float[{dims}] y) {{ y = Relu (x) }}'
        usual = {"x": np.zeros(shape, np.float32)}
        images = [ROOT / "models" / "digits_test.npz"] if len(shape) == 4 else []
        return [feed["x"] for feed in natural_inputs(onnx.parser.parse_model(text), usual, images, 2)]

    sounds = inputs("1, 512", (1, 512))
    assert len(sounds) == 2 + 2 * len(Drawing)
    assert {sound.shape for sound in sounds} == {(1, 512)}
