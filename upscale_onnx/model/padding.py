"""Padding that an operator's `auto_pad` asks for."""

from __future__ import annotations

from collections.abc import Sequence

SAME = ("SAME_UPPER", "SAME_LOWER")


def same_pads(
    auto_pad: str, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """The padding before and behind each spatial axis, for an `auto_pad` in `SAME`.

    The results have ceil(size / stride) positions along an axis. An odd padding has its larger half behind for
    SAME_UPPER, before for SAME_LOWER.

    Source: ONNX operator specification, Conv, `auto_pad`.
    """
    axes = zip(sizes, kernel, strides, dilations, strict=True)
    totals = [max((-(-size // step) - 1) * step + (k - 1) * gap + 1 - size, 0) for size, k, step, gap in axes]
    return halves(auto_pad, totals)


def halves(auto_pad: str, totals: Sequence[int]) -> list[tuple[int, int]]:
    """Each of `totals` as the part before and the part behind, for an `auto_pad` in `SAME`."""
    pairs = [(total // 2, total - total // 2) for total in totals]
    return pairs if auto_pad == "SAME_UPPER" else [(large, small) for small, large in pairs]
