"""Races of models from Python: their names, who is left out, and what is told."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import upscale_onnx
from upscale_onnx.errors import ModelError

SHORT = {"rounds": 7, "budget_s": 0.05}


def relu(name: str = "x", batch: int | str = 1) -> onnx.ModelProto:
    """name (batch, 4) -> Relu."""
    x, y = (helper.make_tensor_value_info(value, TensorProto.FLOAT, (batch, 4)) for value in (name, "y"))
    graph = helper.make_graph([helper.make_node("Relu", [name], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_models_are_called_by_their_names_paths_or_places(tmp_path: Path) -> None:
    path = tmp_path / "r.onnx"
    onnx.save(relu(), path)
    bench = upscale_onnx.race([path, relu(), str(path)], provider="cpu", **SHORT)  # type: ignore[arg-type]
    (race,) = bench.races
    assert [timing.name for timing in race.timings] == [str(path), "model 2", f"{path}#2"]
    bench = upscale_onnx.race({"a": path, "b": relu()}, provider="cpu", **SHORT)  # type: ignore[arg-type]
    assert [timing.name for timing in bench.races[0].timings] == ["a", "b"]
    assert (bench.skipped, bench.profiles) == ((), ())


def test_each_setting_is_a_race() -> None:
    told: list[tuple[str, float]] = []
    bench = upscale_onnx.race(
        {"a": relu(batch="n"), "other": relu("z", "n")},
        settings=[(1, 1), (3, 2)],
        operators=True,
        progress=lambda stage, share: told.append((stage, share)),
        provider="cpu",
        **SHORT,  # type: ignore[arg-type]
    )
    assert [(race.batch, race.threads) for race in bench.races] == [(1, 1), (3, 2)]
    assert [(p.name, p.batch, p.threads) for p in bench.profiles] == [("a", 1, 1), ("a", 3, 2)]
    assert [line.partition(": left out")[0] for line in bench.skipped] == ["other", "other"]
    assert told[0] == ("batch 1, threads 1", 0.0)
    assert told[-1][0] == "batch 3, threads 2"
    assert [share for _, share in told] == sorted(share for _, share in told)


def test_options_say_batch_and_threads() -> None:
    options = upscale_onnx.Options.of(batch=2, threads=2, provider="cpu")
    (race,) = upscale_onnx.race([relu(batch="n")], options, threads=1, **SHORT).races  # type: ignore[arg-type]
    assert (race.batch, race.threads) == (2, 1)


def test_without_the_first_model_there_is_no_race() -> None:
    bad = relu(batch="n")
    bad.graph.node[0].op_type = "Softmax"
    bad.graph.node[0].attribute.append(helper.make_attribute("axis", 7))
    with pytest.raises(ModelError, match=r"^model 1: left out at batch 2: .*; model 1: left out at batch 3: "):
        upscale_onnx.race([bad, relu(batch="n")], settings=[(2, 1), (3, 1)], provider="cpu", **SHORT)  # type: ignore[arg-type]
