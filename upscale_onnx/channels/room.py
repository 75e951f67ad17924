"""How much of a model's channels is tracked: sizes in a file cost nothing to write, maps of them do.

A rule asks before it makes a map larger than what it was given; of all maps together an analysis counts the entries.
What has no room becomes a barrier, as everything that is not understood.
"""

from __future__ import annotations

import math

from upscale_onnx.channels.flow import Flow
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason

_MOST_ENTRIES = 2**22  # of one map, which is 64 MB; a pattern of as many bits is smaller
_MOST_PATTERN = 2**26
_MOST_IN_ALL = 2**24
_ENTRY_BITS = 128


def check_room(*sizes: int) -> None:
    """Raises: Refused where a map of these sizes would have too many entries."""
    if math.prod(sizes) > _MOST_ENTRIES:
        raise Refused(Reason.TOO_LARGE, f"{' x '.join(map(str, sizes))} channels")


def check_pattern_room(targets: int, sources: int) -> None:
    """Raises: Refused where a table of which target reads which source would be too large."""
    if targets * sources > _MOST_PATTERN:
        raise Refused(Reason.TOO_LARGE, f"{targets} channels that each may read {sources}")


class Room:
    """What is left for the maps of one analysis. weights: entries of the constants that the model holds."""

    def __init__(self, weights: int) -> None:
        self._left = max(_MOST_IN_ALL, weights)

    def take(self, flow: Flow) -> None:
        """Count what `flow` holds.

        Raises: Refused where there is no room for it.
        """
        maps = sum(found.labels.size for found in flow.outputs if found is not None)
        patterns = sum(read.pattern.size for read in flow.reads if read.pattern is not None)
        wanted = maps + 8 * patterns // _ENTRY_BITS
        if wanted > self._left:
            raise Refused(Reason.TOO_LARGE, "the channels of all values together are too many")
        self._left -= wanted
