"""Products of dynamic sizes and their quotients."""

from __future__ import annotations

import pytest

from upscale_onnx.model.size_products import parts, product, quotient, without_common_factors
from upscale_onnx.types import Dim


@pytest.mark.parametrize(
    ("dims", "expected"),
    [((2, 3), 6), (("b",), "b"), (("b", 1), "b"), (("b", 4), "4·b"), (("4·b", "a", 2), "8·a·b"), ((), 1)],
)
def test_products(dims: tuple[Dim, ...], expected: Dim) -> None:
    assert product(dims) == expected


@pytest.mark.parametrize("dims", [(None, 2), (0, "b"), (-1, "b"), ("4", 2)])
def test_products_that_are_not_known(dims: tuple[Dim, ...]) -> None:
    assert product(dims) is None


@pytest.mark.parametrize(
    ("dims", "others", "expected"),
    [
        (("b", 4, "s", 16), ("4·b", 16), "s"),
        (("b", 4, "s", 16), ("s", 16), "4·b"),
        (("b", "s", 64), ("b", "s", 4), 16),
        (("4·b",), (4,), "b"),
        (("b", "b"), ("b",), "b"),
        (("b", 6), (4,), None),
        (("b", 4), ("s",), None),
        (("b",), ("b", "b"), None),
        (("b", None), (1,), None),
    ],
)
def test_quotients(dims: tuple[Dim, ...], others: tuple[Dim, ...], expected: Dim) -> None:
    assert quotient(dims, others) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("4·a", "4·b", ("a", "b")),
        ("4·a", "8·b·b", ("a", "2·b·b")),
        ("6·a", 64, ("3·a", 32)),
        ("a·b", "b", ("a", 1)),
        ("a", "a", (1, 1)),
        (None, "a", (None, "a")),
        (0, 4, (0, 4)),
    ],
)
def test_common_factors(left: Dim, right: Dim, expected: tuple[Dim, Dim]) -> None:
    assert without_common_factors(left, right) == expected


def test_parts() -> None:
    assert parts("4·a·b") == [4, "a", "b"]
    assert parts("4") == ["4"]
    assert parts(4) == [4]
    assert parts(None) == [None]
