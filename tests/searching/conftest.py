"""Problems of two decisions whose accuracy depends on what is pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("optuna")

from tests.reinforce.conftest import CONSTRAINED, graph
from upscale_onnx.candidates.space import Space
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.runtime.sessions import make_session, run
from upscale_onnx.searching.engine import Plan, Search
from upscale_onnx.searching.goals import Constraint, Goals
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.subject import Subject

BATCH = 40


def subject(seed: int = 0, images: int = 320, first: int = 8) -> Subject:
    """A network whose images have the labels that it predicts itself, so that its accuracy is 1. Images are in the
    order of their classes, as in many files."""
    model = graph(seed, first)
    x = np.random.default_rng(seed).normal(size=(images, 3, 6, 6)).astype(np.float32)
    labels = np.asarray(run(make_session(model), {"x": x})[0]).argmax(axis=1)
    order = np.argsort(labels, kind="stable")
    batches = [({"x": x[part]}, labels[part]) for part in np.split(order, images // BATCH)]
    return Subject(Space.of(model, CONSTRAINED), Top1.of(model, batches))


@pytest.fixture(scope="session")
def problem() -> Problem:
    return Problem((subject(),))


@pytest.fixture(scope="session")
def unlabelled() -> Problem:
    model = graph()
    x = np.random.default_rng(0).normal(size=(32, 3, 6, 6)).astype(np.float32)
    return Problem((Subject(Space.of(model, CONSTRAINED), Distance.of(model, [{"x": x}])),))


@pytest.fixture
def search(problem: Problem, tmp_path: Path) -> Callable[..., Search]:
    """Makes a search in a new folder."""

    def made(strategy: str = "random", trials: int = 30, constrain: str = "", **plan: Any) -> Search:
        limits = tuple(Constraint.parse(one) for one in constrain.split(",") if one)
        objectives = plan.pop("objectives", ("accuracy", "macs"))
        return Search(tmp_path / "out", problem, Goals(objectives, limits), Plan(strategy, trials, **plan))

    return made
