"""Products of dynamic sizes, as names: `4·b` is four times the size `b`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable

from upscale_onnx.types import Dim

_TIMES = "·"


def product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes; None where one of them is not known, or no positive number."""
    found = _factors(dims)
    return None if found is None else _named(*found)


def quotient(dims: Iterable[Dim], others: Iterable[Dim]) -> Dim:
    """The product of `dims` divided by that of `others`; None where it is not known to come out even."""
    above, below = _factors(dims), _factors(others)
    if above is None or below is None or above[0] % below[0] or below[1] - above[1]:
        return None
    return _named(above[0] // below[0], above[1] - below[1])


def without_common_factors(left: Dim, right: Dim) -> tuple[Dim, Dim]:
    """Both sizes, divided by all that both are a product of: `4·a` and `8·b` are `a` and `2·b`."""
    first, second = _factors([left]), _factors([right])
    if first is None or second is None:
        return left, right
    number, names = math.gcd(first[0], second[0]), first[1] & second[1]
    return _named(first[0] // number, first[1] - names), _named(second[0] // number, second[1] - names)


def parts(dim: Dim) -> list[Dim]:
    """The sizes of which `dim` is the product: `4·b` is 4 and `b`."""
    if not isinstance(dim, str) or _TIMES not in dim:
        return [dim]
    return [int(part) if part.isdecimal() else part for part in dim.split(_TIMES)]


def renamed(name: str, rename: Callable[[str], str]) -> str:
    """A name, or a product of them, by other names."""
    return _TIMES.join(part if part.isdecimal() else rename(part) for part in name.split(_TIMES))


def _factors(dims: Iterable[Dim]) -> tuple[int, Counter[str]] | None:
    """The number and the names in a product; None where a size is not known, or no positive number."""
    number, names = 1, Counter[str]()
    for part in (part for dim in dims for part in parts(dim)):
        if part is None or (isinstance(part, int) and part < 1):
            return None
        if isinstance(part, int):
            number *= part
        elif part.isdecimal():  # a name that a product could not tell from a number
            return None
        else:
            names[part] += 1
    return number, names


def _named(number: int, names: Counter[str]) -> Dim:
    sorted_names = sorted(names.elements())
    if not sorted_names:
        return number
    return _TIMES.join([*([] if number == 1 else [str(number)]), *sorted_names])
