"""From the arguments of the command `search` to a search: its goals, its networks and what they are measured on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import given, session_from
from upscale_onnx.cli.evaluate import preprocessing_from
from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options
from upscale_onnx.searching.goals import QUALITY, Constraint, Goals
from upscale_onnx.training.finetune import check_torch
from upscale_onnx.training.settings import Training

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.measures.measure import Distance, Top1
    from upscale_onnx.searching.engine import Search
    from upscale_onnx.searching.problem import Problem
    from upscale_onnx.training.tuning import Tuning


def search_from(args: argparse.Namespace, models: Sequence[onnx.ModelProto]) -> Search:
    """The search that `args` ask for."""
    from upscale_onnx.searching.engine import Plan, Search

    goals = _goals(args)
    problem = _problem(args, models, goals)
    unpruned = problem.unpruned.accuracy
    goals = goals if unpruned is None else replace(goals, baseline=unpruned)
    plan = Plan(**{part: getattr(args, part) for part in Plan.__dataclass_fields__})
    return Search(Path(args.out), problem, goals, plan)


def _goals(args: argparse.Namespace) -> Goals:
    """The goals that `args` name. Without labels, accuracy is the distance of outputs."""
    limits: tuple[Constraint, ...] = args.constrain
    if args.compression is not None:
        limits += (Constraint("compression", False, args.compression),)
    chosen = args.objective or (("accuracy",) if any(one.name not in QUALITY for one in limits) else _usual(limits))
    if args.data is not None:
        if "distance" in (*chosen, *(one.name for one in limits)):
            raise ArgumentError("distance is measured without labels: leave out --data, or use accuracy")
        return Goals(chosen, limits)
    if any(one.name == "accuracy" for one in limits):
        raise ArgumentError("a constraint of accuracy needs --data; without labels, use distance<=0.2")
    return Goals(tuple(dict.fromkeys("distance" if one == "accuracy" else one for one in chosen)), limits)


def _usual(limits: Sequence[Constraint]) -> tuple[str, ...]:
    return ("params",) if limits else ("accuracy", "params")


def _problem(args: argparse.Namespace, models: Sequence[onnx.ModelProto], goals: Goals) -> Problem:
    from upscale_onnx.candidates.space import Space
    from upscale_onnx.searching.problem import Problem
    from upscale_onnx.searching.subject import Subject
    from upscale_onnx.timing.calibration import measured_tables
    from upscale_onnx.timing.target_costs import chosen_target

    session = session_from(args)
    pruning = given(args, "method", "side", "criterion", "calibration", "repair", "target")
    options = Options.of(**session, **pruning)
    tables, unit, target = None, 1, chosen_target(options.target)
    if "latency" in goals.names:
        tables, unit = measured_tables(target, session["provider"], args.threads), target.block()
    subjects = []
    for model in models:
        space = Space.of(model, options, unit, drops=tables is not None)
        measure = measure_from(model, args, args.data, args.limit)
        subjects.append(Subject(space, measure, tables, args.seed, _tuning(model, args)))
    return Problem(tuple(subjects), args.choice)


def _tuning(model: onnx.ModelProto, args: argparse.Namespace) -> Tuning | None:
    """What trains the profiles that are tried. Raises: ArgumentError where PyTorch is missing."""
    if args.finetune is None:
        return None
    check_torch()
    from upscale_onnx.training.tuning import Tuning

    settings = Training(epochs=args.finetune, rate=args.rate, seed=args.seed, threads=args.threads)
    return Tuning.of(model, args.train, settings, preprocessing_from(args))


def measure_from(model: onnx.ModelProto, args: argparse.Namespace, data: str | None, limit: int) -> Top1 | Distance:
    """What models are measured on: `limit` images of `data`, or without labels the calibration data."""
    from upscale_onnx.measures.data import labelled, unlabelled
    from upscale_onnx.runtime.place import Place

    session = session_from(args)
    place = Place(session["provider"], args.threads)
    if data is None:
        return unlabelled(model, args.calibration, limit=limit, seed=args.seed, place=place)
    return labelled(model, data, preprocessing_from(args), limit=limit, seed=args.seed, place=place)
