"""Products of dynamic sizes and their quotients."""

from __future__ import annotations

import pytest

from upscale_onnx.model.size_products import parts, product, quotient
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


def test_parts() -> None:
    assert parts("4·a·b") == [4, "a", "b"]
    assert parts("4") == ["4"]
    assert parts(4) == [4]
    assert parts(None) == [None]
