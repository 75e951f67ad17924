"""Operators that contract channels, with weights or with one another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tests.channels.case import Case, Plain, Tracked

_RNG = np.random.default_rng(1)


_GRID = Tracked((2, 3, 5, 4), (1, 3))


def weight(*shape: int) -> npt.NDArray[np.float32]:
    """Integers with some slices of zeros, so that not every output reads every input."""
    values = _RNG.integers(-3, 4, shape).astype(np.float32)
    if len(shape) > 1:
        values[_RNG.random(shape[:2]) < 0.3] = 0
    return values


def image(channels: int = 6, *spatial: int) -> Tracked:
    """A batch of two with its channels on axis 1."""
    return Tracked((2, channels, *(spatial or (5, 5))))


def _convolutions() -> list[Case]:
    x, grouped = image(), image(8)
    return [
        Case("Conv", (x, weight(4, 6, 1, 1), weight(4)), note="1x1"),
        Case("Conv", (x, weight(4, 6, 1, 1)), note="no bias"),
        Case("Conv", (x, weight(4, 6, 3, 3), weight(4)), {"pads": [1, 1, 1, 1]}, note="padded"),
        Case("Conv", (x, weight(4, 6, 3, 3), weight(4)), {"strides": [2, 2]}, note="valid"),
        Case("Conv", (x, weight(4, 6, 3, 3), weight(4)), {"auto_pad": "SAME_UPPER"}, note="same"),
        Case("Conv", (x, weight(4, 6, 3, 3), weight(4)), {"dilations": [2, 2]}, opset=7, note="opset 7"),
        Case("Conv", (image(6, 7), weight(4, 6, 3), weight(4)), {"pads": [0, 1]}, note="1-D"),
        Case("Conv", (image(6, 3, 3, 3), weight(4, 6, 2, 2, 2), weight(4)), note="3-D"),
        Case("Conv", (grouped, weight(4, 4, 3, 3), weight(4)), {"group": 2}, note="2 groups", whole=True),
        Case("Conv", (grouped, weight(8, 2, 1, 1)), {"group": 4}, note="4 groups", whole=True),
        Case("Conv", (x, weight(6, 1, 3, 3), weight(6)), {"group": 6, "pads": [1, 1, 1, 1]}, note="depthwise"),
        Case("Conv", (x, weight(6, 1, 3, 3)), {"group": 6}, note="depthwise, no bias"),
        Case("Conv", (x, weight(12, 1, 3, 3), weight(12)), {"group": 6}, note="depthwise by 2"),
        Case("Conv", (Plain((1, 6, 5, 5)), weight(6, 1, 3, 3), weight(6)), {"group": 6}, note="depthwise of an input"),
        Case("Conv", (Plain((1, 6, 5, 5)), weight(4, 3, 3, 3), weight(4)), {"group": 2}, note="groups of an input"),
        Case("Conv", (Tracked((2, 1, 5, 5)), weight(4, 1, 3, 3), weight(4)), note="one channel"),
        Case("Conv", (x, Tracked((4, 6, 1, 1), (0,))), note="computed weight", refused=True),
        Case("ConvTranspose", (x, weight(6, 4, 3, 3), weight(4)), {"strides": [2, 2]}, note="2-D"),
        Case("ConvTranspose", (x, weight(6, 4, 2, 2)), {"pads": [1, 1, 1, 1]}, note="no bias"),
        Case("ConvTranspose", (image(6, 7), weight(6, 4, 3), weight(4)), note="1-D", opset=11),
        Case("ConvTranspose", (grouped, weight(8, 3, 3, 3), weight(6)), {"group": 2}, note="2 groups", whole=True),
        Case("ConvTranspose", (x, weight(6, 1, 3, 3), weight(6)), {"group": 6}, note="depthwise"),
        Case("ConvTranspose", (x, weight(6, 2, 3, 3)), {"group": 6}, note="depthwise by 2"),
    ]


def _deformable() -> list[Case]:
    x, places = image(), weight(1, 18, 3, 3) / np.float32(4)
    computed, image_of_one = Tracked((1, 18, 3, 3)), Tracked((1, 6, 5, 5))
    return [
        Case("DeformConv", (Plain((1, 6, 5, 5)), weight(4, 6, 3, 3), places), opset=22, note="of an input"),
        Case("DeformConv", (image_of_one, weight(4, 6, 3, 3), places), opset=22, note="given places", exact=False),
        Case(
            "DeformConv",
            (image_of_one, weight(4, 6, 3, 3), computed, weight(4), Tracked((1, 9, 3, 3))),
            opset=19, note="computed places", exact=False, whole=True,
        ),
        Case(
            "DeformConv", (Tracked((1, 8, 5, 5)), weight(4, 4, 3, 3), places), {"group": 2},
            opset=22, note="2 groups", exact=False, whole=True,
        ),
        Case(
            "DeformConv", (x, weight(4, 6, 3, 3), weight(2, 36, 3, 3)), {"offset_group": 2},
            opset=22, note="places for groups", refused=True,
        ),
    ]  # fmt: skip


def _gemms() -> list[Case]:
    x, half = Tracked((3, 6)), np.float32(0.5)
    return [
        Case("Gemm", (x, weight(6, 4), weight(4)), note="plain"),
        Case("Gemm", (x, weight(4, 6), weight(4)), {"transB": 1}, note="transB"),
        Case("Gemm", (x, weight(4, 6)), {"transB": 1}, note="no bias"),
        Case("Gemm", (x, weight(4, 6), weight(1, 4)), {"transB": 1}, note="row bias"),
        Case("Gemm", (x, weight(4, 6), weight(1)), {"transB": 1}, note="bias of one"),
        Case("Gemm", (x, weight(4, 6), np.asarray(2, np.float32)), {"transB": 1}, note="scalar bias"),
        Case("Gemm", (x, weight(4, 6), weight(1, 1)), {"transB": 1}, note="bias of one by one"),
        Case("Gemm", (x, weight(6, 4), weight(4)), {"alpha": 2.0, "beta": 0.5}, note="alpha, beta"),
        Case("Gemm", (x, weight(6, 4), weight(4) * half), {"beta": 0.0}, note="beta of zero"),
        Case("Gemm", (x, weight(6, 4), weight(4)), opset=7, note="opset 7"),
        Case("Gemm", (x, weight(6, 4), weight(3, 1)), note="column bias", refused=True),
        Case("Gemm", (x, weight(6, 4), weight(3, 4)), note="full bias", refused=True),
        Case("Gemm", (Tracked((6, 3), (0,)), weight(6, 4), weight(4)), {"transA": 1}, note="transA"),
    ]


def _products() -> list[Case]:
    tokens, matrix = Tracked((2, 5, 6), (2,)), Tracked((2, 6, 5), (1,))
    queries, keys = Tracked((2, 3, 5, 4), (1, 3)), Tracked((2, 3, 4, 5), (1, 2))
    return [
        Case("MatMul", (tokens, weight(6, 4)), note="right"),
        Case("MatMul", (tokens, weight(1, 6, 4)), note="right of rank 3"),
        Case("MatMul", (Tracked((5, 6)), weight(6, 4)), note="right of rank 2", opset=9),
        Case("MatMul", (weight(4, 6), matrix), note="left"),
        Case("MatMul", (weight(1, 4, 6), matrix), note="left of rank 3"),
        Case("MatMul", (tokens, weight(6)), note="vector", refused=True),
        Case("MatMul", (tokens, matrix), note="features"),
        Case("MatMul", (queries, keys), note="features of heads", whole=True),
        Case("MatMul", (Tracked((2, 3, 5, 5), (1,)), Tracked((2, 3, 5, 4), (1, 3))), note="tokens", whole=True),
        Case("MatMul", (Tracked((2, 3, 4, 5), (1, 2)), Tracked((2, 3, 5, 5), (1,))), note="tokens, left", whole=True),
        Case("MatMul", (Plain((2, 5, 5)), Tracked((2, 5, 4), (2,))), note="tokens by an input"),
        Case("MatMul", (Tracked((2, 4, 5), (1,)), Plain((2, 5, 5))), note="left of an input"),
        Case("MatMul", (tokens, Plain((6, 4))), note="features by an input", refused=True),
        Case("MatMul", (Tracked((2, 5, 4), (1,)), Tracked((2, 4, 6), (2,))), note="outer"),
    ]


def _beside() -> list[Case]:
    """Channels on other axes than the contracted one."""
    return [
        Case("MatMul", (image(6, 5, 4), weight(4, 3)), note="beside channels"),
        Case("MatMul", (weight(3, 5), image(6, 5, 4)), note="beside channels, left"),
        Case("MatMul", (_GRID, weight(4, 3)), note="one axis of a grid", whole=True),
        Case("Conv", (Tracked((2, 3, 4, 4), (1, 2, 3)), weight(4, 3, 3, 3), weight(4)), note="of a grid", whole=True),
    ]


def _batches() -> list[Case]:
    """A matrix for each index of a batch axis."""
    tokens = Tracked((2, 5, 6), (2,))
    return [
        Case("MatMul", (tokens, weight(2, 6, 4)), note="a matrix for each of a batch", whole=True),
        Case("MatMul", (Tracked((2, 5, 6), (0, 2)), weight(2, 6, 4)), note="batch of channels", whole=True),
        Case("MatMul", (Tracked((2, 5, 6), (0,)), weight(2, 6, 4)), note="channels on the batch axis", whole=True),
        Case("MatMul", (Tracked((5, 6)), weight(3, 6, 4)), note="a matrix for many", whole=True),
        Case("MatMul", (Tracked((4, 1, 5, 6), (3,)), weight(1, 3, 6, 4)), note="batch of rank 4", whole=True),
        Case("MatMul", (weight(2, 4, 6), Tracked((2, 6, 5), (0, 1))), note="batch on the left", whole=True),
        Case("MatMul", (tokens, weight(3, 2, 6, 4)), note="batches of batches", refused=True),
    ]


def _over_channels() -> list[Case]:
    """Convolutions that slide over channels."""
    band = Tracked((2, 1, 8), (2,))

    def taps(results: int, *values: int) -> npt.NDArray[np.float32]:
        return np.tile(np.array(values, np.float32), (results, 1, 1))

    return [
        Case("Conv", (band, taps(1, 2, 1, -1)), {"pads": [1, 1]}, note="over channels"),
        Case("Conv", (band, taps(1, 2, 0, 1, 3, 0), weight(1)), {"pads": [1, 3]}, note="over channels, uneven"),
        Case("Conv", (band, taps(1, 3)), note="over channels, one each"),
        Case("Conv", (band, taps(1, 2, 1, 1)), {"pads": [1, 1], "strides": [2]}, note="over some channels", whole=True),
        Case("Conv", (band, taps(1, 2, 1, 1)), note="over channels, not padded", whole=True),
        Case("Conv", (band, taps(2, 2, 1, 1)), {"pads": [1, 1]}, note="over channels, two results", whole=True),
    ]


CASES = (*_convolutions(), *_gemms(), *_products(), *_beside(), *_batches(), *_deformable(), *_over_channels())
