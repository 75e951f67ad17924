"""What a calibration has measured, and the latency that it predicts."""

from __future__ import annotations

from dataclasses import dataclass

from upscale_onnx.results.shown import Shown


@dataclass(frozen=True)
class Prediction:
    """A latency in milliseconds. contraction_ms: the part of it in contractions. measured: the share of it (0 to 1) in
    nodes that were measured themselves. by_operator: milliseconds by operator, the longest first."""

    ms: float
    contraction_ms: float
    measured: float
    by_operator: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Calibration(Shown):
    """The result of a calibration.

    target, device, provider, threads: what was measured.
    timed: how many operator shapes have been timed so far.
    wanted: how many operator shapes there are for the model.
    seconds: how long this calibration took.
    input_ms: the measured latency of the model; predicted: the one that the tables predict.
    path: the file of the tables.

    >>> from upscale_onnx import Calibration
    >>> from upscale_onnx.results import Prediction
    >>> predicted = Prediction(0.4, 0.3, 1.0, (("Conv", 0.3), ("MaxPool", 0.1)))
    >>> print(Calibration("cpu", "a CPU", "cpu", 1, 62, 99, 1.5, 0.41, predicted, "times.json"))
    62 of 99 operator shapes timed for cpu; the model takes 0.410 ms, predicted 0.400 ms
    operator  predicted ms
    Conv               0.3
    MaxPool            0.1
    """

    target: str
    device: str
    provider: str
    threads: int
    timed: int
    wanted: int
    seconds: float
    input_ms: float
    predicted: Prediction
    path: str
