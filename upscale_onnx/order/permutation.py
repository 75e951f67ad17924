"""Orders of channels as index arrays: `new[i] = old[order[i]]`, like the indices of a Gather."""

from __future__ import annotations
