"""Channels as pictures of one pixel each, in PNG: which a consumer demands, in the original and in the compiled model.

Colours lie between light and dark, so that they can be told apart on both.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from upscale_onnx.types import Array, IntArray

Runs = Sequence[Sequence[int]]

COLOURS = {
    "demanded": (37, 99, 235, 255),
    "others": (96, 165, 250, 120),
    "dead": (128, 128, 136, 48),
    "padding": (217, 119, 6, 255),
}
"""By what a channel is to a consumer: demanded by it; by other consumers alone; by none and gone; by none but held."""
_BARE: Any = {"Software": None}
_KINDS = tuple(COLOURS)
_PALETTE = np.array([COLOURS[kind] for kind in _KINDS], np.uint8)


def before_and_after(reading: dict[str, Any], demand: dict[str, Any]) -> tuple[str, str | None]:
    """The channels of a reading to one of its consumers: in their original order, and as the compiled value holds them.

    Both are URLs of pictures; the second is None if the compiled model has no such value.
    """
    own, live = (_mask(reading["channels"], runs) for runs in (demand["runs"], reading["live_runs"]))
    kinds = np.where(own, 0, np.where(live, 1, 2))
    before = _picture(kinds)
    if reading["held_runs"] is None:
        return before, None
    held = _listed(reading["held_runs"])
    known = np.append(kinds, 2)[held]  # -1 stands for a channel that is none of the original
    return before, _picture(np.where(known == 2, 3, known))


def _mask(channels: int, runs: Runs) -> Array:
    chosen = np.zeros(channels, bool)
    chosen[_listed(runs)] = True
    return chosen


def _listed(runs: Runs) -> IntArray:
    parts = [np.full(size, -1) if first < 0 else np.arange(first, first + size) for first, size in runs]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _picture(kinds: IntArray) -> str:
    from matplotlib.image import imsave

    if not kinds.size:
        return ""
    file = io.BytesIO()
    imsave(file, _PALETTE[kinds][None], format="png", metadata=_BARE)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
