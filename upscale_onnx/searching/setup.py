"""From models, data and settings to a search: its goals, its networks, and what they are measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from upscale_onnx.candidates.space import Space
from upscale_onnx.errors import ArgumentError
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.measures.data import labelled, unlabelled
from upscale_onnx.measures.measure import Distance, Top1
from upscale_onnx.options import Options
from upscale_onnx.runtime.place import Place
from upscale_onnx.runtime.providers import resolve_provider
from upscale_onnx.searching.callbacks import Callbacks
from upscale_onnx.searching.engine import Plan, Search
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.settings import Searching
from upscale_onnx.searching.subject import Subject
from upscale_onnx.timing.calibration import measured_tables
from upscale_onnx.timing.target_costs import chosen_target
from upscale_onnx.training.requirement import check_torch
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Data

if TYPE_CHECKING:
    from upscale_onnx.training.tuning import Tuning

_ALL = 2**31


@dataclass(frozen=True, eq=False)
class Asked:
    """What is asked for. data, judge: labelled images; None where there are none. train, training: the data on which
    every profile that is tried is trained, and how."""

    models: Sequence[onnx.ModelProto]
    folder: str | os.PathLike[str]
    settings: Searching
    options: Options
    data: Data | None = None
    judge: Data | None = None
    train: Data | None = None
    training: Training | None = None
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if self.data is None and self.options.prune.calibration is None:
            raise ArgumentError("a search needs something to measure on: labelled data, or calibration data")
        if self.data is None and self.judge is not None:
            raise ArgumentError("judging needs accuracies: without labelled data there are none")
        if (self.train is None) != (self.training is None):
            raise ArgumentError("profiles that are tried are trained on data, by settings: give both, or none of them")

    def search(self) -> Search:
        """The search. Raises: ArgumentError where a callback cannot be used, before any work."""
        Callbacks(self.settings.callbacks)
        goals = self.settings.goals(labelled=self.data is not None)
        problem = self._problem("latency" in goals.names)
        unpruned = problem.unpruned.accuracy
        goals = goals if unpruned is None else replace(goals, baseline=unpruned)
        shared = {part.name for part in fields(Plan)} - {"seed"}
        plan = Plan(seed=self._seed, **{name: getattr(self.settings, name) for name in shared})
        return Search(Path(self.folder), problem, goals, plan)

    def judges(self) -> list[Top1 | Distance]:
        """A measure for each network, on data that the search has not seen; none where there is no such data."""
        return [] if self.judge is None else [self._measure(model, self.judge, _ALL) for model in self.models]

    @property
    def _seed(self) -> int:
        return self.options.prune.seed

    def _problem(self, needs_times: bool) -> Problem:
        target, tables = self.options.target, None
        if needs_times:
            tables = measured_tables(chosen_target(target), resolve_provider(target.provider), target.threads)
        subjects = []
        for model in self.models:
            unit = chosen_target(target, model).block() if needs_times else 1
            space = Space.of(model, self.options, unit, drops=needs_times)
            measure = self._measure(model, self.data, self.settings.limit)
            subjects.append(Subject(space, measure, tables, self._seed, self._tuning(model)))
        return Problem(tuple(subjects), self.settings.choice)

    def _tuning(self, model: onnx.ModelProto) -> Tuning | None:
        """What trains the profiles that are tried. Raises: ArgumentError where PyTorch is missing."""
        if self.train is None or self.training is None:
            return None
        check_torch()
        from upscale_onnx.training.tuning import Tuning

        return Tuning.of(model, self.train, self.training, self.preprocessing)

    def _measure(self, model: onnx.ModelProto, data: Data | None, limit: int) -> Top1 | Distance:
        """What models are measured on: `limit` images of `data`, or without labels the calibration data."""
        place = Place(resolve_provider(self.options.target.provider), self.options.target.threads)
        if data is None:
            return unlabelled(model, self.options.prune.calibration, limit=limit, seed=self._seed, place=place)
        return labelled(model, data, self.preprocessing, limit=limit, seed=self._seed, place=place)
