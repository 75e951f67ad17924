"""Forms of every registered operator."""

from __future__ import annotations

from tests.channels.case import Case
from tests.channels.cases import (
    contractions,
    elementwise,
    movers,
    normalizations,
    quantised,
    recurrent,
    selections,
    spatial,
)

ALL: tuple[Case, ...] = (
    *contractions.CASES,
    *elementwise.CASES,
    *movers.CASES,
    *normalizations.CASES,
    *quantised.CASES,
    *recurrent.CASES,
    *selections.CASES,
    *spatial.CASES,
)
