"""The units in which strategies lower and raise shares, and what profiles of whole units lose and take."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from upscale_onnx.candidates.space import Space
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.problem import Problem
from upscale_onnx.searching.trials import Shares

_MOST = 8  # of a decision


@dataclass(frozen=True, eq=False)
class Units:
    """Units of the decisions of a problem: whole blocks of channels where latency counts, and at most eight of each
    decision."""

    problem: Problem
    _sizes: dict[Shares, Measured] = field(default_factory=dict)

    def lowered(self, shares: Shares, place: int) -> Shares | None:
        """`shares` with one unit less in a place; None where nothing would be left of what cannot be done without, or
        the place is gone with a branch."""
        if place in self._gone(shares):
            return None
        kept, step = self._kept(shares, place), self._step(place)
        can_go = kept > step or (kept > 0 and place in self._space.branches)
        return self._with(shares, place, (math.ceil(kept / step) - 1) * step) if can_go else None

    def raised(self, shares: Shares, place: int) -> Shares | None:
        """`shares` with one unit more in a place; None where everything is kept, or the place is gone with a branch."""
        if place in self._gone(shares):
            return None
        kept, step, most = self._kept(shares, place), self._step(place), self._channels(place)
        return self._with(shares, place, min((kept // step + 1) * step, most)) if kept < most else None

    def loss(self, shares: Shares) -> float:
        """What is lost under `shares` by the scores of their channels, the sum over networks. Of what is gone with
        others, nothing more is lost."""
        gone = self._gone(shares)
        return sum(
            float(curve[round(share * (curve.size - 1))])
            for subject in self.problem.subjects
            for place, (share, curve) in enumerate(zip(shares, subject.space.losses, strict=True))
            if place not in gone
        )

    def sizes(self, shares: Shares) -> Measured:
        """The sizes under `shares`. What was asked before is not computed again."""
        if shares not in self._sizes:
            self._sizes[shares] = self.problem.sizes(shares)
        return self._sizes[shares]

    @property
    def branches(self) -> tuple[int, ...]:
        """The places that can keep nothing and take others with them."""
        return tuple(place for place, gone in self._space.branches.items() if len(gone) > 1)

    @property
    def _space(self) -> Space:
        return self.problem.subjects[0].space

    def _gone(self, shares: Shares) -> set[int]:
        """The places that are gone with others, which are empty."""
        empty = {place for place in self._space.branches if shares[place] == 0}
        return {other for place in empty for other in self._space.branches[place]} - empty

    def _channels(self, place: int) -> int:
        return self._space.decisions[place].channels

    def _step(self, place: int) -> int:
        unit = self._space.unit
        return math.ceil(self._channels(place) / _MOST / unit) * unit

    def _kept(self, shares: Shares, place: int) -> int:
        return round(shares[place] * self._channels(place))

    def _with(self, shares: Shares, place: int, kept: int) -> Shares:
        return (*shares[:place], kept / self._channels(place), *shares[place + 1 :])
