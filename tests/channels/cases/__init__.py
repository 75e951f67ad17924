"""Forms of every registered operator."""

from __future__ import annotations

from tests.channels.case import Case
from tests.channels.cases import (
    along,
    contractions,
    einsum,
    elementwise,
    fused,
    movers,
    normalizations,
    quantised,
    recurrent,
    selections,
    spatial,
)

ALL: tuple[Case, ...] = (
    *along.CASES,
    *contractions.CASES,
    *einsum.CASES,
    *elementwise.CASES,
    *fused.CASES,
    *movers.CASES,
    *normalizations.CASES,
    *quantised.CASES,
    *recurrent.CASES,
    *selections.CASES,
    *spatial.CASES,
)
