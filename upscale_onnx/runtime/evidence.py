"""What trials show about two models: an output agrees, differs, or shows nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from upscale_onnx.results import OutputError
from upscale_onnx.runtime.compare import Slices, compare_outputs, says_something, slice_errors, worst
from upscale_onnx.runtime.tolerance import Tolerance
from upscale_onnx.types import Array

# A model may amplify rounding by itself (a sharp softmax, a quantiser, a threshold). Then the limit is this many times
# the distance of the model from itself when nothing but rounding changes, up to `Tolerance.most`.
_NOISE_FACTOR = 4.0
# A few runs may show only little of the noise of a trial. A trial is taken to be at most this many times as noisy.
_LUCK_FACTOR = 16.0
# Slices are of one kind if their scales differ by this factor at most.
_ALIKE = 100.0


@dataclass(frozen=True)
class DrawnTrial:
    """The error of one output in one trial; `speaks` is False if the original returned nothing but NaN."""

    error: OutputError
    slices: Slices
    speaks: bool


@dataclass(frozen=True)
class Verdict:
    """What all trials show about one output.

    detail: in which way it differs; empty if it is equal.
    silent: whether the trials show nothing about it.
    """

    error: OutputError
    detail: str
    silent: bool = False


def trials_of(name: str, expected: Iterable[Any], actual: Iterable[Any]) -> tuple[DrawnTrial, ...]:
    """The trials of output `name`, from its values in both models, trial by trial."""
    return tuple(
        DrawnTrial(compare_outputs(name, a, b), slice_errors(a, b), says_something(a))
        for a, b in zip(expected, actual, strict=True)
    )


def is_plain(trials: Sequence[DrawnTrial], tolerance: Tolerance) -> bool:
    """Whether rounding alone explains all differences, so that noise need not be measured."""
    small = all(trial.error.relative <= tolerance.limit for trial in trials)
    return small and _odd_slice(trials, (), tolerance, tolerance.limit) is None


def verdict(trials: Sequence[DrawnTrial], noise: Sequence[Sequence[DrawnTrial]], tolerance: Tolerance) -> Verdict:
    """What `trials` show about one output. `noise` holds trials of the original against itself, run by run.

    A trial shows nothing if its noise, times `_NOISE_FACTOR`, exceeds `tolerance.most`; it still counts if the two
    models differ by even more. Each slice of an output, such as a channel, is judged at its own scale.
    """
    name = trials[0].error.output
    speaking = [i for i, trial in enumerate(trials) if trial.speaks]
    if not speaking:
        detail = (
            "" if is_plain(trials, tolerance) else _differs(name, max(map(_relative, trials)), tolerance.limit, None)
        )
        silence = f"output '{name}' was NaN throughout, so it shows nothing"
        return _no(trials, tolerance.limit, detail or silence, silent=not detail)
    noises = [max((_relative(run[i]) for run in noise), default=0.0) for i in range(len(trials))]
    calm = [i for i in speaking if _NOISE_FACTOR * noises[i] <= tolerance.most]
    floor, loudest = max(tolerance.limit, tolerance.step), max((noises[i] for i in calm), default=0.0)
    limits = [max(floor, _NOISE_FACTOR * noises[i]) for i in range(len(trials))]
    for i in calm:
        limits[i] = max(floor, min(_NOISE_FACTOR * loudest, _LUCK_FACTOR * noises[i]))
    allowed = max((limits[i] for i in calm), default=floor)
    for trial, limit, moved in zip(trials, limits, noises, strict=True):
        if not _relative(trial) <= limit:
            return _no(trials, allowed, _differs(name, _relative(trial), limit, moved if noise else None))
    used = [i for i in speaking if i in calm or _relative(trials[i]) <= floor]
    if not used:
        least = min(noises[i] for i in speaking)
        return _no(
            trials,
            allowed,
            f"output '{name}' cannot be compared: rounding alone moves the original by {least:.3g} of its scale",
            silent=True,
        )
    odd = _odd_slice([trials[i] for i in used], [[run[i] for i in used] for run in noise], tolerance, allowed)
    if odd is not None:
        axis, index, error, scale = odd
        return _no(
            trials,
            allowed,
            f"output '{name}' differs by {error:.3g} of its scale at index {index} of axis {axis}, "
            f"where its scale is {scale:.3g} of that of the whole output",
        )
    return Verdict(replace(worst(name, [trials[i].error for i in used]), tolerance=allowed), "")


def _relative(trial: DrawnTrial) -> float:
    return trial.error.relative


def _no(trials: Sequence[DrawnTrial], allowed: float, detail: str, silent: bool = False) -> Verdict:
    error = worst(trials[0].error.output, [trial.error for trial in trials])
    return Verdict(replace(error, tolerance=allowed), detail, silent)


def _differs(name: str, error: float, allowed: float, noise: float | None) -> str:
    told = f"output '{name}' differs by {error:.3g} of its scale; {allowed:.3g} is allowed"
    return told if noise is None else f"{told}: rounding alone moves the original by {noise:.3g}"


def _odd_slice(
    trials: Sequence[DrawnTrial], noise: Sequence[Sequence[DrawnTrial]], tolerance: Tolerance, limit: float
) -> tuple[int, int, float, float] | None:
    """The axis, index, error and scale of the slice that exceeds its limit by most; None if no slice does.

    A small slice may be the difference of large values, and these round at their own scale. So its limit is the
    geometric mean of `limit` at the scale of the slice and of `limit` at the scale of the whole output. The noise of
    the slice raises it, and up to `tolerance.cancelled` that of slices like it, since one may show no noise by chance.
    The steps of a quantiser belong to the whole value, so behind a quantiser slices are not judged.
    """
    if tolerance.step or tolerance.whole:
        return None
    odd, worst_ratio = None, 1.0
    for axis in sorted({axis for trial in trials for axis in trial.slices}):
        sizes = {trial.slices[axis][0].size if axis in trial.slices else 0 for trial in trials}
        if len(sizes) > 1:  # an axis that the model leaves open holds no channels
            continue
        errors, scales = (_largest(trials, axis, which) for which in (0, 1))
        moved = np.zeros_like(errors)
        for run in noise:
            if all(axis in trial.slices and trial.slices[axis][0].size == errors.size for trial in run):
                moved = np.maximum(moved, _largest(run, axis, 0))
        cancelled = np.minimum(_NOISE_FACTOR * _of_alike(moved, scales), tolerance.cancelled)
        allowed = np.maximum.reduce([limit * np.sqrt(scales), _NOISE_FACTOR * moved, cancelled])
        ratios = np.divide(errors, allowed, out=np.where(errors > 0, math.inf, 0.0), where=allowed > 0)
        index = int(ratios.argmax())
        if ratios[index] > worst_ratio:
            odd, worst_ratio = (axis, index, float(errors[index]), float(scales[index])), float(ratios[index])
    return odd


def _of_alike(moved: Array, scales: Array) -> Array:
    """For each slice, the largest of `moved` among the slices whose scale is at most `_ALIKE` times its own."""
    order = np.argsort(scales)
    last = np.searchsorted(scales[order], _ALIKE * scales, side="right") - 1
    return np.asarray(np.maximum.accumulate(moved[order])[last])


def _largest(trials: Sequence[DrawnTrial], axis: int, which: int) -> Array:
    return np.asarray(np.maximum.reduce([trial.slices[axis][which] for trial in trials]))
