"""Least squares on sampled positions of one layer, judged on positions that are not part of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy

from upscale_onnx.types import Array

RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_CHUNK = 8192
_ROUNDS = 3


@dataclass(frozen=True, eq=False)
class Tail:
    """The operations between a layer's output z and the compared value, which is z * scale + offset (see `Sample`).

    scale: (group, 1, M).
    low, high: the bounds to which an activation behind the value clips; outside of them, values make no difference.
    """

    scale: Array
    low: float = -np.inf
    high: float = np.inf

    @property
    def clips(self) -> bool:
        """Whether an activation that clips follows."""
        return bool(np.isfinite(self.low) or np.isfinite(self.high))


@dataclass(frozen=True, eq=False)
class Sample:
    """P sampled positions of a layer.

    x: (group, P, K), the inputs that the layer reads in the pruned network.
    goal: (group, P, M), the compared value in the unpruned network.
    offset: (group, P, M) or (group, 1, M), what is added to the layer's scaled output in the pruned network.
    """

    x: Array
    goal: Array
    offset: Array

    def wanted(self, tail: Tail) -> Array:
        """The output of the layer that would reach the goal exactly, (group, P, M)."""
        return (self.goal - self.offset) / tail.scale

    @cached_property
    def moments(self) -> Array:
        """The sum over positions of x x^T, (group, K, K), in float64."""
        groups, positions, width = self.x.shape
        found = np.zeros((groups, width, width))
        for start in range(0, positions, _CHUNK):
            chunk = self.x[:, start : start + _CHUNK].astype(np.float64)
            for group in range(groups):  # numpy is faster here: it knows that x^T x is symmetric
                found[group] += chunk[group].T @ chunk[group]
        return found

    def cross(self, wanted: Array) -> Array:
        """The sum over positions of x wanted^T, (group, K, M), in float64."""
        found = np.zeros((self.x.shape[0], self.x.shape[2], wanted.shape[2]))
        for start in range(0, self.x.shape[1], _CHUNK):
            rows = slice(start, start + _CHUNK)
            found += self.x[:, rows].transpose(0, 2, 1) @ wanted[:, rows]
        return found

    def made(self, matrix: Array, tail: Tail) -> Array:
        """The compared value that `matrix`, (group, K, M), gives for x: (group, P, M)."""
        made: Array = self.x @ (matrix * tail.scale).astype(self.x.dtype) + self.offset
        return made

    def error(self, matrix: Array, tail: Tail) -> Array:
        """The mean squared error of each output behind the activation, (group, M)."""
        made = np.clip(self.made(matrix, tail), tail.low, tail.high)
        made -= np.clip(self.goal, tail.low, tail.high)
        found: Array = np.einsum("gpm,gpm->gm", made, made, dtype=np.float64) / max(made.shape[1], 1)
        return found


class Solver:
    """Solves least squares with given moments, (group, K, K), for the rows `alive`, (group, K), and any ridge."""

    def __init__(self, moments: Array, alive: Array) -> None:
        self._rows = [np.flatnonzero(rows) for rows in alive]
        self._moments = [xx[np.ix_(b, b)] for xx, b in zip(moments, self._rows, strict=True)]
        self._scales = [float(np.trace(xx)) / max(len(xx), 1) or 1.0 for xx in self._moments]
        self._factors: dict[float, list[Any]] = {}

    def solve(self, cross: Array, start: Array, ridge: float) -> Array:
        """The solution, (group, K, M), for `cross`, (group, K, M), pulled towards `start` by a relative ridge."""
        if ridge not in self._factors:
            self._factors[ridge] = [
                scipy.linalg.cho_factor(xx + ridge * scale * np.eye(len(xx)))
                for xx, scale in zip(self._moments, self._scales, strict=True)
            ]
        found = np.zeros_like(start)
        for group, factor in enumerate(self._factors[ridge]):
            b = self._rows[group]
            found[group, b] = scipy.linalg.cho_solve(
                factor, cross[group, b] + ridge * self._scales[group] * start[group, b]
            )
        return found

    def best(self, cross: Array, start: Array, held: Sample, tail: Tail) -> tuple[Array, float]:
        """The solution with the least error on `held` over all RIDGES, and its ridge."""
        found = [self.solve(cross, start, ridge) for ridge in RIDGES]
        place = int(np.argmin([float(held.error(matrix, tail).sum()) for matrix in found]))
        return found[place], RIDGES[place]


def refit(fit: Sample, held: Sample, tail: Tail, start: Array, alive: Array) -> Array:
    """The matrix (group, K, M) that fits the goal best, given what the layer reads in the pruned network.

    alive: (group, K), the rows that may differ from zero. The ridge is the one with the least error on `held`.
    Outputs that are not better than with `start` on `held` keep the values of `start`.

    If an activation clips, values beyond its bounds make no difference. So each round asks there for the values of the
    last round, and for the goal elsewhere. This majorises the error behind the activation, so the error never grows.

    Source: Zhang et al., "Accelerating Very Deep Convolutional Networks for Classification and Detection", TPAMI
    2016, section 3.2, on the activation and on targets of the unpruned network for inputs of the pruned one.
    """
    solver = Solver(fit.moments, alive)
    matrix, ridge = solver.best(fit.cross(fit.wanted(tail)), start, held, tail)
    matrix = _behind_activation(fit, tail, solver, matrix, start, ridge, _ROUNDS)
    better = held.error(matrix, tail) < held.error(start, tail)
    return np.where(better[:, None, :], matrix, start)


def _behind_activation(
    sample: Sample, tail: Tail, solver: Solver, matrix: Array, start: Array, ridge: float, rounds: int
) -> Array:
    """`matrix` after `rounds` more fits in which values that the activation clips are free."""
    for _ in range(rounds if tail.clips else 0):
        made = sample.made(matrix, tail)
        asked = np.where(sample.goal <= tail.low, np.minimum(made, tail.low), sample.goal)
        asked = np.where(sample.goal >= tail.high, np.maximum(made, tail.high), asked)
        matrix = solver.solve(sample.cross((asked - sample.offset) / tail.scale), start, ridge)
    return matrix
