"""The ranges of numbers that options take, on the command line as in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Range:
    """The values that an option takes, in words and as a test. NaN is in no range of numbers."""

    wanted: str
    accepts: Callable[[Any], bool]


NATURAL = Range("an integer of at least 0", lambda value: value >= 0)
POSITIVE = Range("an integer of at least 1", lambda value: value >= 1)
FRACTION = Range("a fraction from 0 up to, not including, 1", lambda value: 0 <= value < 1)
SHARE = Range("a share above 0 and below 1", lambda value: 0 < value < 1)
PORTION = Range("a share from 0 to 1", lambda value: 0 <= value <= 1)
FACTOR = Range("a number above 1", lambda value: 1 < value < math.inf)
POSITIVE_NUMBER = Range("a number above 0", lambda value: 0 < value < math.inf)
LOSS = Range("a number of at least 0", lambda value: 0 <= value < math.inf)
SECONDS = Range("a number of seconds, at least 0", lambda value: 0 <= value < math.inf)
