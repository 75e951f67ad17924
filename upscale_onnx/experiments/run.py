"""Measures the points of a figure that are not known yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from upscale_onnx.candidates.structures import check_structure
from upscale_onnx.errors import ArgumentError
from upscale_onnx.experiments.bases import Base
from upscale_onnx.experiments.figures import Figure, Setting
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
    for stage in (figure.points, lambda setting: figure.then(setting, sheet.rows)):
        wanted = list(stage(setting))
        missing = [one for one in wanted if one.point not in sheet.rows]
        for done, (one, found) in enumerate(zip(missing, outcomes(missing), strict=True), len(wanted) - len(missing)):
            sheet.add(one.point, found)
            progress(f"{bases[one.point.network].name}: {one.point.family}", (done + 1) / len(wanted))


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
