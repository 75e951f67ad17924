"""Criteria by name: functions of arrays that score channels; the lowest are pruned.

A criterion of weights sees one weight array. The others also see what the channels hold over calibration data, or how
the loss of a model changes with them. Some take settings behind colons: "taylor:norm=l2:flops=1e-3".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.masks.criteria import apoz, fpgm, hrank, l1, l2, lamp, mean_activation, minimum, random, taylor, wanda
from upscale_onnx.masks.criteria.activation import ActivationCriterion
from upscale_onnx.types import Array, FloatArray

Criterion: TypeAlias = Callable[[Array, int, np.random.Generator], FloatArray]

CRITERIA: Mapping[str, Criterion] = MappingProxyType(
    {
        "l1": l1.score,
        "l2": l2.score,
        "random": random.score,
        "lamp": lamp.score,
        "fpgm": fpgm.score,
        "minimum": minimum.score,
    }
)

ACTIVATION: Mapping[str, ActivationCriterion] = MappingProxyType(
    {
        "hrank": ActivationCriterion(hrank.measure),
        "apoz": ActivationCriterion(apoz.measure),
        "mean-activation": ActivationCriterion(mean_activation.measure),
        "wanda": ActivationCriterion(
            wanda.measure,
            lambda weight, axis, total, samples: wanda.score(weight, axis, total, np.random.default_rng(0)),
        ),
    }
)
"""Criteria of what channels hold over calibration data."""

OBS = "obs"
"""The criterion that fits layers to calibration data."""

TAYLOR = "taylor"
"""The criterion of gradients, which need PyTorch."""

TVS = "tvs"
"""The criterion of how channels differ between classes."""

CALIBRATED = (*ACTIVATION, OBS, TVS, TAYLOR)
"""Criteria that need calibration data."""

BN_SCALE = "bn-scale"
"""The criterion that reads the BatchNormalization nodes of the graph."""

NAMES = (*CRITERIA, BN_SCALE, *CALIBRATED)


def criterion(name: str | Criterion) -> Criterion:
    """The scoring function called `name`, or `name` itself where it is one.

    Raises: ArgumentError where there is none, listing the names.
    """
    if callable(name):
        return name
    if name not in CRITERIA:
        raise ArgumentError(f"no criterion called {name!r}: use one of {', '.join(NAMES)}{did_you_mean(name, NAMES)}")
    return CRITERIA[name]


def base_name(name: str) -> str:
    """The criterion's name without its settings: "taylor" of "taylor:flops=1e-3".

    Raises: ArgumentError where there is no such criterion, or its settings cannot be used.
    """
    base, colon, rest = name.partition(":")
    if base not in NAMES:
        raise ArgumentError(f"no criterion called {base!r}: use one of {', '.join(NAMES)}{did_you_mean(base, NAMES)}")
    if colon and base != TAYLOR:
        raise ArgumentError(f"criterion {base!r} takes no settings, and there is {rest!r} behind its name")
    if colon:
        taylor.settings(settings_of(name))
    return base


def settings_of(name: str) -> dict[str, str]:
    """The settings behind a criterion's name, by their names.

    Raises: ArgumentError where they are not of the form KEY=VALUE.
    """
    words = name.split(":")[1:]
    if wrong := [word for word in words if "=" not in word]:
        raise ArgumentError(f"criterion {name!r}: {wrong[0]!r} is not of the form KEY=VALUE")
    return dict(word.split("=", 1) for word in words)
