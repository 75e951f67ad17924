"""Importance as objects: `LAMP()(x)` scores the rows of an array, and managers take them as criteria."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import WeightCriterion, fpgm, l1, l2, lamp, random
from upscale_onnx.types import Array, FloatArray

_FUNCTIONS: Mapping[str, WeightCriterion] = {"l1": l1.score, "l2": l2.score, "lamp": lamp.score, "fpgm": fpgm.score}


class Importance:
    """A score for channels; the lowest are pruned. Subclasses define `forward`, or name a criterion."""

    def __call__(self, x: Array) -> Array:
        """`forward(x)`."""
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """One score per row. x: (channels, values), a weight with its channels first; returns (channels,).

        Raises: NotImplementedError where a subclass does not say how.
        """
        raise NotImplementedError(f"{type(self).__name__} says in no `forward` how channels are scored")

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": self._score}

    def _score(self, weight: Array, axis: int, rng: np.random.Generator) -> FloatArray:
        del rng
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        scores = np.asarray(self.forward(rows), np.float64)
        if scores.shape != rows.shape[:1]:
            raise ArgumentError(
                f"{type(self).__name__} returned scores of shape {scores.shape} for {rows.shape[0]} channels"
            )
        return scores


class _Named(Importance):
    """A criterion of weights that has a name."""

    name: ClassVar[str]

    def forward(self, x: Array) -> Array:
        """Scores of the rows of x: (channels, values)."""
        return _FUNCTIONS[self.name](np.asarray(x), 0, np.random.default_rng(0))

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": self.name}


class L1(_Named):
    """Sum of magnitudes."""

    name = "l1"


class L2(_Named):
    """Euclidean norm."""

    name = "l2"


class LAMP(_Named):
    """A channel's norm over the norms of all that are at least as large: 1/6, 1 and 2/5 for norms 1, 3 and 2.

    Scores stand where their channels do; the reference puts them into another order.
    """

    name = "lamp"


class FPGM(_Named):
    """Sum of the distances to all other channels."""

    name = "fpgm"


class Random(Importance):
    """Scores drawn anew for each layer, always the same for the same `seed`."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def forward(self, x: Array) -> Array:
        """Scores of the rows of x: (channels, values)."""
        return random.score(np.asarray(x), 0, np.random.default_rng(self.seed))

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": "random", "seed": self.seed}


class Magnitude(Importance):
    """The norm of order `p` of a channel; "fro" is 2."""

    def __init__(self, p: float | str = "fro") -> None:
        if p != "fro" and (isinstance(p, str) or p <= 0):
            raise ArgumentError(f"there is no norm of order {p!r}: give a number above 0, or 'fro'")
        self.p = 2.0 if isinstance(p, str) else float(p)

    def forward(self, x: Array) -> Array:
        """Norms of the rows of x: (channels, values)."""
        return np.asarray(np.linalg.norm(np.asarray(x, np.float64), self.p, axis=1))


class HRank(Importance):
    """Mean rank of a channel's feature maps over `calibration`, or else over the manager's own inputs.

    calibration: the path of an .npz, or arrays by input name, samples along the first axis. The side is the
    manager's. Ranks are of the model as it is when `mask` is called, and are kept nowhere.
    """

    def __init__(self, calibration: str | Mapping[str, Array] | None = None) -> None:
        self.calibration = calibration

    def forward(self, x: Array) -> Array:
        """Raises: ArgumentError, always: ranks are of feature maps, not of weights."""
        raise ArgumentError("hrank scores feature maps: give it to a MaskingManager, with calibration data")

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": "hrank"}
