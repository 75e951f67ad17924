"""What a profile is worth: on more and more images, remembered, and as a mean over networks."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.searching.conftest import subject
from upscale_onnx.costs.tables import Tables
from upscale_onnx.errors import ArgumentError
from upscale_onnx.searching.cache import Cache
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.rungs import Rungs, upper_bound
from upscale_onnx.timing.target_costs import chosen_target

SHARES = (0.6, 0.5)


def test_it_is_worth_what_its_candidate_is(problem: Problem) -> None:
    (one,) = problem.subjects
    candidate = one.space.candidate(SHARES)
    found = problem.evaluate(SHARES)
    assert found.accuracy == one.measure.value(candidate.model)
    assert (found.params, found.macs, found.kept) == (candidate.params, candidate.macs, candidate.shares)
    assert (found.images, found.is_complete) == (320, True)
    assert found.accuracy < problem.unpruned.value("accuracy") == 1.0


def test_every_rung_is_like_all_images(problem: Problem) -> None:
    rungs = Rungs.of(subject().measure)  # type: ignore[arg-type]
    assert rungs.sizes == (40, 120, 160)
    classes = [np.concatenate([labels for _, labels in part]) for part in rungs.parts]
    assert all(len(set(labels.tolist())) >= 4 for labels in classes)
    together = np.bincount(np.concatenate(classes), minlength=5)
    assert together.tolist() == np.bincount(np.concatenate([b for _, b in rungs.measure.batches]), minlength=5).tolist()
    assert problem.subjects[0].rungs is not None


def test_what_is_hopeless_is_given_up_with_a_part_of_the_images(problem: Problem) -> None:
    asked: list[tuple[int, float]] = []

    def is_hopeless(measured: Measured, most: float) -> bool:
        asked.append((measured.images, most))
        return measured.images >= 160

    found = problem.evaluate(SHARES, is_hopeless=is_hopeless)
    assert [images for images, _ in asked] == [40, 160]
    assert (found.images, found.is_complete) == (160, False)
    assert all(most > 0.5 * found.value("accuracy") for _, most in asked)
    assert abs(found.value("accuracy") - problem.evaluate(SHARES).value("accuracy")) < 0.12


def test_equal_masks_are_evaluated_once(problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache"
    partly = problem.evaluate(SHARES, cache=Cache(path), is_hopeless=lambda measured, most: True)
    assert partly.images == 40
    whole = problem.evaluate(SHARES, cache=Cache(path))
    assert whole == problem.evaluate(SHARES)
    monkeypatch.setattr(Rungs, "hits", None)
    near = (0.61, 0.5)  # as many channels
    assert problem.evaluate(near, cache=Cache(path)) == whole
    assert len(path.read_text().splitlines()) == 2


def test_a_torn_line_of_the_cache_is_dropped(problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    problem.evaluate(SHARES, cache=Cache(path))
    path.write_bytes(path.read_bytes() + b'{"key": "to')
    found = problem.evaluate((0.4, 0.4), cache=Cache(path))
    assert [len(json.loads(line)["key"]) for line in path.read_text().splitlines()] == [32, 32]
    assert problem.evaluate((0.4, 0.4), cache=Cache(path)) == found


def test_the_value_of_several_networks_is_the_mean() -> None:
    both = (subject(0), subject(3))
    found = Problem(both).evaluate(SHARES)
    single = [Problem((one,)).evaluate(SHARES) for one in both]
    assert found.accuracy == pytest.approx(np.mean([one.value("accuracy") for one in single]))
    assert found.images == 640
    assert single[0].accuracy != single[1].accuracy


def test_networks_of_other_structure_are_refused() -> None:
    with pytest.raises(ArgumentError, match="network 2 has another structure than network 1: decision 1 is of 10"):
        Problem((subject(), subject(first=10)))


def test_without_labels_outputs_are_compared(unlabelled: Problem) -> None:
    some, more = unlabelled.evaluate((0.9, 0.9)), unlabelled.evaluate((0.5, 0.5))
    assert some.accuracy is None
    assert 0 < some.value("distance") < more.value("distance")
    assert unlabelled.unpruned.distance == 0.0


@pytest.mark.parametrize("node_ms", [-1.0, 0.0])
def test_latencies_are_predicted_shares(node_ms: float) -> None:
    target = chosen_target(subject().space.options.target)
    problem = Problem((replace(subject(first=64), tables=Tables(target, node_ms=node_ms)),))
    quarter, most = (problem.sizes((share, 1.0)).value("latency") for share in (0.25, 1.0))
    assert 0.05 < quarter < 0.9
    assert most == pytest.approx(1.0) == problem.unpruned.latency
    sent = pickle.loads(pickle.dumps(problem))
    assert sent.subjects[0].digests == problem.subjects[0].digests
    assert sent.sizes((0.25, 1.0)).latency == quarter


def test_the_upper_bound_is_wilson_s() -> None:
    # 8 of 10 with z = 2.58: (0.8 + 0.33282 + 2.58 * sqrt(0.016 + 0.016641)) / 1.66564 = 0.95988
    assert upper_bound(0.8, 10) == pytest.approx(0.95996, abs=2e-4)
    assert upper_bound(0.0, 100) > 0
    assert upper_bound(1.0, 50) == 1.0
    assert replace(Measured(1.0, 1.0, 1.0, ()), accuracy=0.5).with_accuracy(0.7).accuracy == 0.7
