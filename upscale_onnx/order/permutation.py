"""Orders of channels as index arrays: `new[i] = old[order[i]]`, as Gather reads."""

from __future__ import annotations
