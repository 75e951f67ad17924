"""Numbers as short text for people: three digits, units, percent."""

from __future__ import annotations

import math
from collections.abc import Callable

Text = Callable[[float], str]
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LEAST_SHORTENED = 10_000
_DIGITS = 3


def count(value: float) -> str:
    """A number of things: up to four digits as they are, more as 11.7 M."""
    if abs(value) < _LEAST_SHORTENED:
        return f"{value:,.0f}"
    return _prefixed(value)


def size(value: float) -> str:
    """A number of bytes, as 46.8 MB."""
    return f"{_prefixed(value) if value >= 1000 else f'{value:.0f} '}B"


def milliseconds(value: float) -> str:
    """A time in ms, as 14.8 ms."""
    return f"{significant(value)} ms"


def seconds(value: float) -> str:
    """A time in seconds, as 1.25 s."""
    return f"{value:.2f} s"


def significant(value: float) -> str:
    """Three significant digits, never in exponents where it can be avoided."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    value = float(f"{value:.{_DIGITS}g}")  # 9.999 becomes 10.0, not 10.00
    digits = _DIGITS - 1 - math.floor(math.log10(abs(value)))
    if not -_LEAST_SHORTENED < value < _LEAST_SHORTENED or digits > 2 * _DIGITS:
        return f"{value:.{_DIGITS}g}"
    return f"{value:.{max(digits, 0)}f}"


def percent(share: float) -> str:
    """A share of 1, as 31 %; below 10 % with a digit behind the point."""
    return f"{100 * share:.{0 if abs(share) >= 0.095 or share == 0 else 1}f} %"


def change(ratio: float) -> str:
    """How much a ratio of 1 is more or less, as -31 %."""
    text = percent(ratio - 1)
    return text if ratio < 1 or text.startswith("0") else f"+{text}"


def _prefixed(value: float) -> str:
    for factor, prefix in _PREFIXES:
        if abs(value) >= 0.9995 * factor:
            return f"{significant(value / factor)} {prefix}"
    return f"{significant(value)} "
