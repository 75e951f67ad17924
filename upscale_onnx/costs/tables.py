"""Tables of measured operator times, with interpolation between the measured sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median
from typing import TypeVar

import numpy as np

from upscale_onnx.costs.interpolate import Interpolation
from upscale_onnx.costs.targets import Target
from upscale_onnx.model.kernels import ALONE, Kernel
from upscale_onnx.model.workloads import BLOCKED, Workload
from upscale_onnx.types import FloatArray

# The channel counts (in, out) of a contraction, and its epilogue.
Point = tuple[int, int, str]
Timed = tuple[Kernel, float]
_Where = TypeVar("_Where")


@dataclass(frozen=True)
class Tables:
    """Times in milliseconds on one target. Of repeated measurements the smallest counts.

    contractions: per workload, times by point. moves: per key of a node that is no contraction, times by bytes moved.
    node_ms: the time of a run outside its kernels, per node; negative where timing a kernel takes longer than starting
    it.
    """

    target: Target
    contractions: Mapping[Workload, Mapping[Point, float]] = field(default_factory=dict)
    moves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    node_ms: float = 0.0

    def with_times(self, timed: Iterable[Timed], node_ms: float | None = None) -> Tables:
        """These tables with more measurements. Of equal nodes among them the median counts."""
        contractions = {workload: dict(times) for workload, times in self.contractions.items()}
        moves = {key: dict(times) for key, times in self.moves.items()}
        alike: dict[tuple[Workload | str, Point | int], list[float]] = {}
        for kernel, ms in timed:
            if ms <= 0 or not math.isfinite(ms):
                continue
            if kernel.workload is None and kernel.moved <= 0:
                continue
            if kernel.workload is None:
                alike.setdefault((kernel.key, kernel.moved), []).append(ms)
            else:
                point = (*self.block_counts(kernel.workload, kernel.channels_in, kernel.channels_out), kernel.epilogue)
                alike.setdefault((kernel.workload, point), []).append(ms)
        for (what, where), times in alike.items():
            if isinstance(what, Workload) and not isinstance(where, int):
                _keep_least(contractions.setdefault(what, {}), where, median(times))
            elif isinstance(what, str) and isinstance(where, int):
                _keep_least(moves.setdefault(what, {}), where, median(times))
        return replace(
            self, contractions=contractions, moves=moves, node_ms=self.node_ms if node_ms is None else node_ms
        )

    def contraction_ms(self, workload: Workload, channels_in: int, channels_out: int, epilogue: str = "") -> float:
        """The time of one contraction; estimated from the most similar workloads where this one was not measured."""
        counts = self.block_counts(workload, channels_in, channels_out)
        at = counts[1:] if workload.per_group else counts
        curve = self._curves.get(workload)
        if curve is None:
            curve = self._curves[workload] = self._curve(workload)
        return curve(*at) * self._epilogue_factor(workload, counts, epilogue)

    def move_ms(self, key: str, moved: int) -> float:
        """The time of a node that is no contraction; where it was not measured, estimated from others of its kind."""
        if moved <= 0 or (moved == 1 and key not in self.moves):
            return 0.0
        curve = self._move_curves.get(key)
        if curve is None:
            curve = self._move_curves[key] = self._move_curve(key)
        return curve(float(moved))

    def kernel_ms(self, kernel: Kernel) -> float:
        """The time of one executed node, without the overhead of the run."""
        if kernel.workload is None:
            return self.move_ms(kernel.key, kernel.moved)
        return self.contraction_ms(kernel.workload, kernel.channels_in, kernel.channels_out, kernel.epilogue)

    def has(self, kernel: Kernel) -> bool:
        """Whether this node was measured, with its channel counts and epilogue."""
        if kernel.workload is None:
            return kernel.moved <= 1 or kernel.moved in self.moves.get(kernel.key, {})
        counts = self.block_counts(kernel.workload, kernel.channels_in, kernel.channels_out)
        return (*counts, kernel.epilogue) in self.contractions.get(kernel.workload, {})

    def near(self, kernel: Kernel) -> bool:
        """Whether this node was measured with any epilogue."""
        if kernel.workload is None:
            return self.has(kernel)
        counts = self.block_counts(kernel.workload, kernel.channels_in, kernel.channels_out)
        return any(point[:2] == counts for point in self.contractions.get(kernel.workload, {}))

    def block_counts(self, workload: Workload, channels_in: int, channels_out: int) -> tuple[int, int]:
        """The channel counts (in, out) after the kernel's padding to blocks."""
        if workload.layout != BLOCKED:
            return channels_in, channels_out
        block = self.target.block(workload.dtype)
        if workload.per_group:
            return (_round_up(channels_in, block), _round_up(channels_out, block))
        # A Conv that reads fewer channels than a block does not pad them.
        return channels_in if channels_in < block else _round_up(channels_in, block), _round_up(channels_out, block)

    def _curve(self, workload: Workload) -> Interpolation:
        points = _within_models(self.contractions.get(workload, {}))
        if points:
            sizes = [counts[1:] if workload.per_group else counts for counts in points]
            return Interpolation(sizes, list(points.values()), lambda at: self._prior(workload, at))
        size = (64.0,) if workload.per_group else (64.0, 64.0)
        here = float(self._prior(workload, np.asarray([size]))[0])
        return Interpolation([size], [here * self._likeness(workload)], lambda at: self._prior(workload, at))

    def _likeness(self, workload: Workload) -> float:
        """Measured divided by analytic time, for the workloads most similar to this one; 1 where none was measured."""
        for alike in _ALIKE:
            ratios = [
                ms / float(self._prior(other, np.asarray([counts[1:2] if other.per_group else counts[:2]]))[0])
                for other, points in self.contractions.items()
                if alike(other) == alike(workload)
                for counts, ms in points.items()
            ]
            if ratios:
                return median(ratios)
        return 1.0

    def _epilogue_factor(self, workload: Workload, counts: tuple[int, int], epilogue: str) -> float:
        """The time of contractions of this workload with the epilogue, divided by that without."""
        if not epilogue:
            return 1.0
        curve = self._curves[workload]
        times = {p[:2]: ms for p, ms in self.contractions.get(workload, {}).items() if p[2] == epilogue}
        if counts in times:
            return times[counts] / curve(*(counts[1:] if workload.per_group else counts))
        if not times:
            return self._epilogues.get(epilogue, 1.0)
        return median(
            ms / curve(*(float(n) for n in (at[1:] if workload.per_group else at))) for at, ms in times.items()
        )

    @cached_property
    def _epilogues(self) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for points in self.contractions.values():
            for (channels_in, channels_out, epilogue), ms in points.items():
                bare = points.get((channels_in, channels_out, ""), points.get((channels_in, channels_out, ALONE)))
                if epilogue not in ("", ALONE) and bare is not None:
                    found.setdefault(epilogue, []).append(ms / bare)
        return {epilogue: median(ratios) for epilogue, ratios in found.items()}

    def _prior(self, workload: Workload, at: FloatArray) -> FloatArray:
        """The preset's times, `(points,)`, at sizes `(points, axes)`."""
        preset = self.target.preset
        counts = [(row[0], row[-1]) for row in at]
        macs = np.asarray([workload.macs(*pair) for pair in counts])
        # A grouped convolution does less arithmetic per byte that it loads.
        made = workload.per_group[1] if workload.per_group else 0
        factor = preset.group_factor(made, workload.layout == BLOCKED) if made else 1.0
        return preset.launch_ms + factor * macs / preset.macs_per_ms

    def _move_curve(self, key: str) -> Interpolation:
        points = self.moves.get(key)
        if points:
            return Interpolation([(float(moved),) for moved in points], list(points.values()), self._move_prior)
        operator = key.partition("/")[0]
        alike = [at for other, at in self.moves.items() if other.partition("/")[0] == operator]
        for group in (alike, list(self.moves.values())):
            pairs = [(moved, ms) for at in group for moved, ms in at.items() if moved > 0]
            if pairs:
                ratios = [ms / float(self._move_prior(np.asarray([[float(moved)]]))[0]) for moved, ms in pairs]
                return self._scaled_move(median(ratios))
        return self._scaled_move(1.0)

    def _scaled_move(self, factor: float) -> Interpolation:
        here = float(self._move_prior(np.asarray([[1.0e5]]))[0])
        return Interpolation([(1.0e5,)], [here * factor], self._move_prior)

    def _move_prior(self, at: FloatArray) -> FloatArray:
        preset = self.target.preset
        return preset.launch_ms + at[:, 0] / 2 / preset.bytes_per_ms

    @cached_property
    def _curves(self) -> dict[Workload, Interpolation]:
        return {}

    @cached_property
    def _move_curves(self) -> dict[str, Interpolation]:
        return {}


# Warm and cold caches are taken to change a time by at most this factor.
_MOST_CONTEXT = 2.0
# Keys by which workloads are compared, the strictest first.
_ALIKE = (
    lambda w: (w.op_type, w.layout, w.dtype, bool(w.per_group), w.window, w.strides),
    lambda w: (w.op_type, w.layout, w.dtype, bool(w.per_group)),
    lambda w: (w.dtype, bool(w.per_group)),
    lambda w: (w.dtype,),
)


def _within_models(points: Mapping[Point, float]) -> dict[tuple[int, int], float]:
    """Times within a model by channel counts, without an epilogue. Those measured alone are scaled by the ratio found
    at the counts that were measured both ways."""
    inside = {point[:2]: ms for point, ms in points.items() if not point[2]}
    outside = {point[:2]: ms for point, ms in points.items() if point[2] == ALONE}
    ratios = [inside[counts] / ms for counts, ms in outside.items() if counts in inside]
    factor = min(max(median(ratios), 1 / _MOST_CONTEXT), _MOST_CONTEXT) if ratios else 1.0
    found = {counts: ms * factor for counts, ms in outside.items()} | inside
    return found or {point[:2]: ms for point, ms in points.items()}


def _round_up(count: int, block: int) -> int:
    return -(-count // block) * block


def _keep_least(times: dict[_Where, float], where: _Where, ms: float) -> None:
    times[where] = min(ms, times.get(where, math.inf))
