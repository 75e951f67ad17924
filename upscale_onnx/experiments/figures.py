"""The figures of the source: which points each has.

Source: Venkatesan et al., "Out-of-the-box Channel Pruned Networks", 2020: section 2.1 for figure 1, 2.2 for figure 2, 3
for figures 3 and 4, 4.3 for figure 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from upscale_onnx.candidates.families import random_shares, shares_of
from upscale_onnx.errors import ArgumentError, did_you_mean
from upscale_onnx.experiments.points import Outcome, Point, Rows
from upscale_onnx.masks.decisions import Decision
from upscale_onnx.masks.profiles import keep_ratios

RANDOM, EQUAL = "random", "equal"
BEST = "best of set"
"""How families of transferred profiles begin; the number of the set follows."""

_SLOPED = ("increasing:0.4", "decreasing:0.4")
_NEAR = 0.1  # two compressions count as the same up to this share


@dataclass(frozen=True)
class Setting:
    """What a figure is drawn for.

    groups: for each base network, the number of its data set. decisions: of the architecture. compressions: factors
    that are aimed at. draws: of whatever is random. profiles: how many random ones figure 4 has for each network
    that is searched on; reference: for each that is judged. transferred: how many of the best are transferred, for each
    compression, and their mean if they are several. choice, criterion: how channels are chosen where the figure does
    not say it. files: profiles to apply, by what they are called.
    """

    groups: tuple[int, ...]
    decisions: tuple[Decision, ...]
    compressions: tuple[float, ...] = (2.0, 3.0, 4.0, 6.0)
    draws: int = 5
    profiles: int = 1200
    reference: int = 1200
    transferred: int = 1
    choice: str = "exact"
    criterion: str = "l1"
    files: tuple[tuple[str, Mapping[str, float]], ...] = ()

    def first(self, group: int) -> int:
        """The first network of a data set."""
        return self.groups.index(group)

    def searched(self, group: int) -> tuple[int, ...]:
        """The networks of a data set that profiles are searched on: all but the last."""
        return tuple(place for place, one in enumerate(self.groups) if one == group)[:-1]

    def last(self, group: int) -> int:
        """The network of a data set that no profile was searched on."""
        return len(self.groups) - 1 - self.groups[::-1].index(group)

    @property
    def sets(self) -> tuple[int, ...]:
        """The numbers of the data sets."""
        return tuple(dict.fromkeys(self.groups))


@dataclass(frozen=True)
class Wanted:
    """A point to measure. is_scaled: whether `shares` are scaled to the compression that the point aims at."""

    point: Point
    shares: tuple[float, ...]
    is_scaled: bool = True


@dataclass(frozen=True)
class Figure:
    """A figure. points: what to measure first, in any order. then: what to measure by what came of those."""

    summary: str
    points: Callable[[Setting], Iterable[Wanted]]
    then: Callable[[Setting, Rows], Iterable[Wanted]] = lambda _setting, _rows: ()
    is_trained: bool = False


def figure(name: str) -> Figure:
    """The figure called `name`.

    Raises: ArgumentError where there is none.
    """
    if name not in FIGURES:
        raise ArgumentError(f"no figure called {name!r}: use {', '.join(FIGURES)}{did_you_mean(name, FIGURES)}")
    return FIGURES[name]


def near(rows: Rows, network: int, family: str, compression: float) -> dict[Point, Outcome]:
    """The outcomes of a family on a network whose compression is within a tenth of `compression`."""
    return {
        point: found
        for point, found in rows.items()
        if (point.network, point.family) == (network, family)
        and found.is_met
        and abs(found.compression / compression - 1.0) <= _NEAR
    }


def _initialisation(setting: Setting) -> Iterator[Wanted]:
    for network, compression, number in _draws(setting):
        for init in ("pretrained", "random"):
            point = Point(network, EQUAL, compression, number, "bernoulli", setting.criterion, init)
            yield Wanted(point, _shares(setting, EQUAL, number))


def _channels(setting: Setting) -> Iterator[Wanted]:
    for network, compression, number in _draws(setting):
        for choice, criterion in (("exact", setting.criterion), ("scores", "l1"), ("scores", "taylor")):
            point = Point(network, EQUAL, compression, number, choice, criterion)
            yield Wanted(point, _shares(setting, EQUAL, number))


def _profiles(setting: Setting) -> Iterator[Wanted]:
    for network, compression, number in _draws(setting):
        for family in (EQUAL, *_SLOPED):
            yield _wanted(setting, network, family, compression, number)


def _random_and_equal(setting: Setting) -> Iterator[Wanted]:
    if len(setting.sets) < 2 or not all(setting.searched(group) for group in setting.sets):
        raise ArgumentError("figure4 needs two sets of two networks each: one to search on, one that is judged")
    judged = {setting.last(group) for group in setting.sets}
    for number in range(max(setting.profiles, setting.reference)):
        compression = setting.compressions[number % len(setting.compressions)]
        for network in range(len(setting.groups)):
            if number < (setting.reference if network in judged else setting.profiles):
                yield _wanted(setting, network, RANDOM, compression, number)
    for network in range(len(setting.groups)):
        for compression in setting.compressions:
            for number in range(setting.draws):
                yield _wanted(setting, network, EQUAL, compression, number)


def _transferred(setting: Setting, rows: Rows) -> Iterator[Wanted]:
    for group in setting.sets:
        unseen = [setting.last(other) for other in setting.sets if other != group]
        for compression in setting.compressions:
            best, family = _best(setting, rows, group, compression), f"{BEST} {group + 1}"
            transferred = [(family, number, shares) for number, shares in enumerate(best)]
            if len(best) > 1:
                mean = np.exp(np.log(best).mean(axis=0))  # geometric, as profiles are scaled by powers
                transferred.append((f"{family}, mean of {len(best)}", 0, tuple(mean.tolist())))
            for name, number, shares in transferred:
                for network in unseen:
                    point = Point(network, name, compression, number, setting.choice, setting.criterion)
                    yield Wanted(point, shares)


def _best(setting: Setting, rows: Rows, group: int, compression: float) -> list[tuple[float, ...]]:
    """The random profiles with the highest mean accuracy on the networks of a data set that are searched on."""
    found = [near(rows, network, RANDOM, compression) for network in setting.searched(group)]
    by_number = [{point.number: outcome for point, outcome in one.items()} for one in found]
    common = set.intersection(*(set(one) for one in by_number))
    ordered = sorted(common, key=lambda number: (-sum(one[number].accuracy for one in by_number), number))
    return [by_number[0][number].shares for number in ordered[: setting.transferred]]


def _files(setting: Setting) -> Iterator[Wanted]:
    if not setting.files:
        raise ArgumentError("figure6 needs profiles to apply: give --profile")
    for group in setting.sets:
        network = setting.last(group)
        for name, ratios in setting.files:
            shares = shares_of(ratios, setting.decisions)
            for number in range(setting.draws):
                yield Wanted(Point(network, name, 0.0, number, setting.choice, setting.criterion), shares, False)
        for compression in setting.compressions:
            for number in range(setting.draws):
                for family in (EQUAL, RANDOM):
                    yield _wanted(setting, network, family, compression, number)


FIGURES = {
    "figure1": Figure("fine-tuning from the weights left, and from new ones", _initialisation, is_trained=True),
    "figure2": Figure("which channels go: any, those of the least weights, those of the least effect", _channels),
    "figure3": Figure("how much of each layer goes: equal, increasing, decreasing", _profiles),
    "figure4": Figure("random profiles, and the best of one data set on another", _random_and_equal, _transferred),
    "figure6": Figure("given profiles on networks that they were not searched on", _files),
}


def _draws(setting: Setting) -> Iterator[tuple[int, float, int]]:
    for number in range(setting.draws):
        for compression in setting.compressions:
            for group in setting.sets:
                yield setting.first(group), compression, number


def _wanted(setting: Setting, network: int, family: str, compression: float, number: int) -> Wanted:
    point = Point(network, family, compression, number, setting.choice, setting.criterion)
    return Wanted(point, _shares(setting, family, number))


def _shares(setting: Setting, family: str, number: int) -> tuple[float, ...]:
    if family == RANDOM:
        return random_shares(len(setting.decisions), np.random.default_rng(number))
    return shares_of(keep_ratios(family, setting.decisions, 0.5), setting.decisions)
