"""How much is tried: samples with each change, and everything where there is time, with UPSCALE_THOROUGH=1."""

from __future__ import annotations

import os

THOROUGH = os.environ.get("UPSCALE_THOROUGH") == "1"


def examples(most: int) -> int:
    """How many random examples of a property are tried, of `most`: half of them with each change."""
    return most if THOROUGH else most // 2
