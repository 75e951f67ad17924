"""The fuzzer sees what it is there to see, and a short run of it finds nothing."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import upscale_onnx
from tests.channels.cases import ALL
from tests.fuzz import trial
from tests.fuzz.__main__ import State, main
from tests.fuzz.judge import judged
from tests.fuzz.mutate import mutant
from tests.fuzz.seeds import between, seeds
from tests.fuzz.trial import GOOD, Trials
from upscale_onnx.errors import InternalError

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = 200
MODEL = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1, 3] x) => (float[1, 4] y) <float[3, 4] w = {1,2,3,4,5,6,7,8,9,1,2,3}> { y = MatMul (x, w) }"""


@pytest.fixture(scope="module")
def found() -> list[bytes]:
    return seeds()


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trials]:
    # A worker may hold less than a test machine has, or a mutant would slow down everything beside it.
    monkeypatch.setenv("UPSCALE_MEMORY_GB", "3")
    monkeypatch.setenv("UPSCALE_TIME_LIMIT_S", "20")
    with Trials(tmp_path) as running:
        yield running


def test_a_short_run_finds_nothing(trials: Trials, found: list[bytes]) -> None:
    outcomes = [trials.run(number, mutant(found, number, seed=1)) for number in range(MUTANTS)]
    assert not [(number, outcome) for number, outcome in enumerate(outcomes) if outcome.kind not in GOOD]
    kinds = Counter(outcome.kind for outcome in outcomes)
    assert kinds["same"] > MUTANTS // 20, "hardly any mutant gets as far as a comparison"
    assert kinds["refused"] > MUTANTS // 5, "hardly any mutant is broken"


def test_seeds_are_sound(trials: Trials, found: list[bytes]) -> None:
    outcomes = [trials.run(number, found[number]) for number in range(0, len(found), len(found) // 12)]
    # Some forms are there to be left alone, and onnxruntime runs no graph with them.
    runs = [outcome for outcome in outcomes if "onnxruntime cannot" not in outcome.detail]
    assert {outcome.kind for outcome in runs} <= {"same", "unjudged"}
    assert len(runs) > len(outcomes) // 2


@pytest.mark.parametrize("group", [0, 2, 3])
def test_inputs_in_groups_out_of_range_are_refused(trials: Trials, group: int) -> None:
    """onnxruntime runs a MatMulNBits whose inputs lie in the groups 0 to 2, and no other."""
    number, case = next((i, case) for i, case in enumerate(ALL) if case.note == "an order of inputs")
    *operands, order = case.operands
    assert isinstance(order, np.ndarray)
    seed = between(replace(case, operands=(*operands, np.full_like(order, group))), number)
    found = trials.run(number, seed.SerializeToString())
    assert found.kind == ("refused" if group > 2 else "same")
    assert group <= 2 or "group_index" in found.detail


def test_mutants_are_the_same_in_every_run(found: list[bytes]) -> None:
    first = [mutant(found, number) for number in range(20)]
    assert first == [mutant(found, number) for number in range(20)]
    assert len(set(first)) > 15
    assert first != [mutant(found, number, seed=1) for number in range(20)]


def _planted(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(upscale_onnx, "compile", fail)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (KeyError("x"), "bug"),
        (InternalError("x"), "bug"),
        (trial.Hang(), "hang"),
        (upscale_onnx.ModelError("x"), "refused"),
    ],
)
def test_errors_are_told_apart(
    trials: Trials, monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: str
) -> None:
    _planted(monkeypatch, error)
    assert trials.run(0, b"").kind == kind


def test_files_that_are_left_are_found(trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _planted(monkeypatch, upscale_onnx.ModelError("no"))
    (tmp_path / "left.tmp").touch()
    assert trials.run(0, b"") == trial.Found("files", "left.tmp")
    assert trials.run(0, b"").kind == "refused"


def test_memory_of_this_process_is_watched(trials: Trials, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_MOST_BYTES", 2**20)
    assert trials.run(0, onnx.parser.parse_model(MODEL).SerializeToString()).kind == "memory"


def test_the_judge_sees_a_wrong_weight(tmp_path: Path) -> None:
    model = onnx.parser.parse_model(MODEL)
    right, wrong = tmp_path / "right.onnx", tmp_path / "wrong.onnx"
    onnx.save(model, right)
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[1, 2] = np.nextafter(weight[1, 2], np.float32(99)) + 0.1
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w"))
    onnx.save(model, wrong)
    assert judged(str(right), str(right)) == "same"
    assert judged(str(right), str(wrong)).startswith("differs: output 0 differs by")
    wrong.write_bytes(b"")
    assert judged(str(right), str(wrong)).startswith("differs: it does not run")
    assert judged(str(wrong), str(right)).startswith("unjudged")


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    def run(count: int) -> State:
        words = ["--count", str(count), "--seed", "1", "--folder", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["fuzz", *words])
        assert main() == 0
        return State(**json.loads((tmp_path / "api.json").read_text()))

    assert run(3).done == 3
    state = run(5)
    assert state.done == sum(state.kinds.values()) == 5


@pytest.mark.parametrize("alone", [False, True])
def test_the_command_line_is_watched_too(tmp_path: Path, alone: bool) -> None:
    sound = onnx.parser.parse_model(MODEL).SerializeToString()
    assert trial.by_command_line(tmp_path, sound, alone=alone) == trial.Found("same")
    (tmp_path / "out.onnx").unlink()
    outcome = trial.by_command_line(tmp_path, sound[:-9], alone=alone)
    assert outcome.kind == "refused"
    assert {path.name for path in tmp_path.iterdir()} - set(trial._NOT_OURS) == {"in.onnx"}
