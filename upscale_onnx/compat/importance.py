"""Importance as objects: `LAMP()(x)` scores the rows of an array, and managers take them as criteria."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.criteria import WeightCriterion, fpgm, l1, l2, lamp, random
from upscale_onnx.types import Array, FloatArray

_FUNCTIONS: Mapping[str, WeightCriterion] = {"l1": l1.score, "l2": l2.score, "lamp": lamp.score, "fpgm": fpgm.score}


class Importance:
    """A score for channels: those with the lowest are pruned. Subclasses define `forward`, or name a criterion.

    >>> import numpy
    >>> from upscale_onnx.compat import Importance
    >>> class Largest(Importance):
    ...     def forward(self, x):
    ...         return abs(x).max(axis=1)
    >>> Largest()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([4., 1.])
    """

    def __call__(self, x: Array) -> Array:
        """`forward(x)`."""
        return self.forward(x)

    def forward(self, x: Array) -> Array:
        """One score per row of `x`, of shape (channels,).

        x: a weight as an array (channels, values).

        Raises: NotImplementedError where a subclass does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `forward`, which scores channels")

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
    """A criterion that scores weights and has a name."""

    name: ClassVar[str]

    def forward(self, x: Array) -> Array:
        """Scores of the rows of x: (channels, values)."""
        return _FUNCTIONS[self.name](np.asarray(x), 0, np.random.default_rng(0))

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": self.name}


class L1(_Named):
    """The sum of the magnitudes of a channel's weights.

    >>> import numpy
    >>> from upscale_onnx.compat import L1
    >>> L1()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([7., 1.])
    """

    name = "l1"


class L2(_Named):
    """The Euclidean norm of a channel's weights.

    >>> import numpy
    >>> from upscale_onnx.compat import L2
    >>> L2()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([5., 1.])
    """

    name = "l2"


class LAMP(_Named):
    """A channel's norm divided by the sum of all norms that are at least as large: 1/6, 1 and 2/5 for norms 1, 3 and 2.

    Scores are in the order of the channels; in the reference they are not.

    >>> import numpy
    >>> from upscale_onnx.compat import LAMP
    >>> LAMP()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([1.        , 0.16666667])
    """

    name = "lamp"


class FPGM(_Named):
    """The sum of the distances between a channel's weights and those of all other channels.

    >>> import numpy
    >>> from upscale_onnx.compat import FPGM
    >>> FPGM()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([4.47213595, 4.47213595])
    """

    name = "fpgm"


class Random(Importance):
    """Random scores, drawn anew for each layer. The same `seed` gives the same scores.

    >>> import numpy
    >>> from upscale_onnx.compat import Random
    >>> Random(seed=1)(numpy.ones((4, 2))).shape
    (4,)
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def forward(self, x: Array) -> Array:
        """Scores of the rows of x: (channels, values)."""
        return random.score(np.asarray(x), 0, np.random.default_rng(self.seed))

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": "random", "seed": self.seed}


class Magnitude(Importance):
    """The norm of order `p` of a channel's weights; "fro" is 2.

    >>> import numpy
    >>> from upscale_onnx.compat import Magnitude
    >>> Magnitude()(numpy.array([[3.0, 4.0], [1.0, 0.0]]))
    array([5., 1.])
    """

    def __init__(self, p: float | str = "fro") -> None:
        if p != "fro" and (isinstance(p, str) or p <= 0):
            raise ArgumentError(f"there is no norm of order {p!r}: give a number above 0, or 'fro'")
        self.p = 2.0 if isinstance(p, str) else float(p)

    def forward(self, x: Array) -> Array:
        """Norms of the rows of x: (channels, values)."""
        return np.asarray(np.linalg.norm(np.asarray(x, np.float64), self.p, axis=1))


class HRank(Importance):
    """The mean rank of a channel's feature maps on `calibration`, or else on the manager's own inputs.

    The ranks are measured when `mask` is called, on the side that the manager prunes. They are not kept.

    calibration: the path of an .npz, or arrays by input name, samples along the first axis.

    >>> from upscale_onnx.compat import HRank, MaskingManager
    >>> importance = HRank("models/digits_test.npz")
    >>> manager = MaskingManager("models/digits_cnet_masked.onnx").importance(importance)
    >>> manager.side, manager.method
    ('input', 'unconstrained')
    """

    def __init__(self, calibration: str | Mapping[str, Array] | None = None) -> None:
        self.calibration = calibration

    def forward(self, x: Array) -> Array:
        """Always raises an ArgumentError: ranks are those of feature maps, not of weights."""
        raise ArgumentError("hrank scores feature maps: give it to a MaskingManager, with calibration data")

    def settings(self) -> Mapping[str, Any]:
        """The fields of `Options` that stand for it."""
        return {"criterion": "hrank"}


@dataclass(frozen=True, eq=False)
class ChosenImportance:
    """What channels are scored by. settings: fields of `Options`. calibration: data for criteria that need it."""

    settings: Mapping[str, Any]
    calibration: str | Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        heuristic: Importance | str | WeightCriterion | None = None,
        calibration: str | Mapping[str, Any] | None = None,
    ) -> ChosenImportance:
        """The arguments of `importance` as a value. Without a heuristic it is the L2 norm."""
        chosen = Magnitude() if heuristic is None else heuristic
        own = chosen.calibration if isinstance(chosen, HRank) else None
        settings = chosen.settings() if isinstance(chosen, Importance) else {"criterion": chosen}
        return cls(dict(settings), own if calibration is None else calibration)
