"""Forms of every registered operator."""

from __future__ import annotations

from tests.channels.case import Case
from tests.channels.cases import contractions, elementwise, fused, movers, normalizations, selections, spatial

ALL: tuple[Case, ...] = (
    *contractions.CASES,
    *elementwise.CASES,
    *fused.CASES,
    *movers.CASES,
    *normalizations.CASES,
    *selections.CASES,
    *spatial.CASES,
)
