"""Equations of Einsum."""

from __future__ import annotations

from typing import Any

from tests.channels.case import Case, Operand, Plain, Tracked
from tests.channels.cases.contractions import weight

_X, _TOKENS = Tracked((2, 6, 5, 4)), Tracked((2, 5, 6), (2,))
_GRID = Tracked((2, 3, 5, 4), (1, 3))


def _case(equation: str, *operands: Operand, **more: Any) -> Case:
    return Case("Einsum", operands, {"equation": equation}, note=equation, **more)


CASES = (
    _case("bchw,oc->bohw", _X, weight(3, 6)),
    _case("bchw,co->bohw", _X, weight(6, 3), opset=12),
    _case("oc, bchw -> bhwo", weight(3, 6), _X),
    _case("bti,ij", _TOKENS, weight(6, 3)),
    _case("bchw,wk->bckh", _X, weight(4, 3)),
    _case("bchw,kw->bkch", _X, weight(3, 4)),
    _case("bchw,c->bhw", _X, weight(6), refused=True),
    _case("bchw,oc->bo", _X, weight(3, 6), refused=True),
    _case("bchw->bhwc", _X),
    _case("bchw->bc", _X),
    _case("bchw->bhw", _X),
    _case("btii->bt", Tracked((2, 5, 3, 3), (1,)), refused=True),
    _case("bhqd,bhkd->bhqk", _GRID, Tracked((2, 3, 7, 4), (1, 3)), whole=True),
    _case("bqhd,bkhd->bhqk", Tracked((2, 5, 3, 4), (2, 3)), Tracked((2, 7, 3, 4), (2, 3)), whole=True),
    _case("bhqk,bhkd->bqhd", Tracked((2, 3, 5, 7), (1,)), Tracked((2, 3, 7, 4), (1, 3)), whole=True),
    _case("bqd,bkd->bqk", _TOKENS, Tracked((2, 7, 6), (2,))),
    _case("bqk,bkd->bqd", Plain((2, 5, 5)), _TOKENS),
    _case("bi,bj->bij", Tracked((2, 6), (1,)), Tracked((2, 4), (1,)), refused=True),
)
