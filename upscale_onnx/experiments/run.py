"""Measures the points of a figure that are not known yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from upscale_onnx.candidates.structures import check_structure
from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.figures import BEST, Figure, Setting, Wanted
from upscale_onnx.experiments.outcomes import Outcomes, in_turn
from upscale_onnx.experiments.points import Sheet
from upscale_onnx.files.publish import write_errors, write_whole
from upscale_onnx.types import Progress


def measure(
    figure: Figure,
    setting: Setting,
    bases: Sequence[Base],
    sheet: Sheet,
    progress: Progress,
    outcomes: Outcomes | None = None,
) -> None:
    """Measure what `sheet` lacks, by `outcomes` where they are given. Each is written as soon as it is known.

    Raises: ArgumentError where the networks do not fit the figure, or one another.
    """
    check_structure([base.space(setting.criterion) for base in bases])
    if figure.is_trained and any(base.tune is None for base in bases):
        raise ArgumentError("this figure compares trainings: give --train and --epochs")
    outcomes = in_turn(bases) if outcomes is None else outcomes
    points = list(figure.points(setting))
    _complete(points, bases, sheet, progress, outcomes)
    then = list(figure.then(setting, sheet.rows))
    sheet.forget({point for point in sheet.rows if point.family.startswith(BEST)} - {one.point for one in then})
    _complete(then, bases, sheet, progress, outcomes)


def _complete(
    wanted: Sequence[Wanted], bases: Sequence[Base], sheet: Sheet, progress: Progress, outcomes: Outcomes
) -> None:
    """Measure what is not known, and what is known of another profile: the best may be others with more of them."""
    known = sheet.rows
    missing = [one for one in wanted if one.point not in known or known[one.point].asked != one.shares]
    if not missing:
        return
    done = len(wanted) - len(missing)
    progress("measure networks", done / len(wanted))
    for one, found in zip(missing, outcomes(missing), strict=True):
        sheet.add(one.point, found)
        done += 1
        progress(f"{bases[one.point.network].name}: {one.point.family}", done / len(wanted))


def check_folder(folder: Path, settings: Mapping[str, str]) -> None:
    """Make `folder`, or check that its results are of the same `settings`, by the word for each.

    Raises: ArgumentError where they are of others, or it cannot be written to.
    """
    path = folder / "settings.json"
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_whole((json.dumps(dict(settings), indent=1) + "\n").encode(), path)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path}: cannot be read: choose another folder") from error
    different = [name for name in settings if not isinstance(before, dict) or before.get(name) != settings[name]]
    if different:
        raise ArgumentError(f"{folder}: holds an experiment with another {different[0]}: choose another folder")
