"""What the points of a figure come to: means, standard deviations, and ranks of transferred profiles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from upscale_onnx.experiments.figures import BEST, RANDOM, near
from upscale_onnx.experiments.points import Outcome, Point, Rows


@dataclass(frozen=True)
class Line:
    """One family at one aim, on one network.

    draws: how many networks. compression: their mean. accuracy, median, best: of their accuracies, 0 to 1; deviation:
    the standard deviation, of several. rank: for transferred profiles, the share (0 to 1) of random profiles of the
    same compression, within a tenth, that are better than the first of them; rank_at_aim: the same, with all of them
    moved to the compression that is aimed at.
    """

    network: int
    label: str
    aim: float
    draws: int
    compression: float
    accuracy: float
    median: float
    best: float
    deviation: float | None = None
    rank: float | None = None
    rank_at_aim: float | None = None


def label(point: Point) -> str:
    """What a point's line is called: what tells it from others of the figure."""
    way = point.criterion if point.choice == "scores" else point.choice
    return f"{point.family}, {way}" + ("" if point.init == "pretrained" else f", {point.init} weights")


def lines(rows: Rows) -> Iterator[Line]:
    """The lines, by network, label and aim, in the order of the rows."""
    grouped: dict[tuple[int, str, float], list[Point]] = {}
    for point, found in rows.items():
        if found.is_met:
            grouped.setdefault((point.network, label(point), point.compression), []).append(point)
    for (network, name, aim), points in grouped.items():
        accuracies = np.array([rows[point].accuracy for point in points])
        first = min(points, key=lambda point: point.number)
        yield Line(
            network,
            name,
            aim,
            len(points),
            float(np.mean([rows[point].compression for point in points])),
            float(accuracies.mean()),
            float(np.median(accuracies)),
            float(accuracies.max()),
            float(accuracies.std(ddof=1)) if len(points) > 1 else None,
            rank(rows, first) if first.family.startswith(BEST) else None,
            rank_at_aim(rows, first) if first.family.startswith(BEST) else None,
        )


def rank(rows: Rows, point: Point) -> float | None:
    """The share (0 to 1) of random profiles that are better than that of `point`, on the same network at the same
    compression. Of those that are equal, half count. None where there are none."""
    found = rows[point]
    others = near(rows, point.network, RANDOM, found.compression).values()
    return _share_above(found.accuracy, [one.accuracy for one in others])


def rank_at_aim(rows: Rows, point: Point) -> float | None:
    """As `rank`, of the accuracies that profiles would have at exactly the compression that is aimed at. None where
    there are random profiles of less than two compressions, which tell what a higher one costs."""
    slope = _slopes(rows, point.network).get(point.compression)
    if slope is None:
        return None

    def moved(outcome: Outcome) -> float:
        return outcome.accuracy - slope * math.log(outcome.compression / point.compression)

    others = near(rows, point.network, RANDOM, point.compression).values()
    return _share_above(moved(rows[point]), [moved(one) for one in others])


def _slopes(rows: Rows, network: int) -> dict[float, float]:
    """By compression aimed at: how the median accuracy of random profiles changes with the logarithm of it."""
    found: dict[float, list[float]] = {}
    for point, outcome in rows.items():
        if (point.network, point.family) == (network, RANDOM) and outcome.is_met:
            found.setdefault(point.compression, []).append(outcome.accuracy)
    aims = sorted(found)
    if len(aims) < 2:
        return {}
    slopes = np.gradient([np.median(found[aim]) for aim in aims], np.log(aims))
    return dict(zip(aims, map(float, slopes), strict=True))


def _share_above(value: float, others: Sequence[float]) -> float | None:
    if not others:
        return None
    return float(np.mean([(one > value) + (one == value) / 2 for one in others]))
