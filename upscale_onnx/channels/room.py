"""Limits of the memory for channel maps: a small file may state huge sizes, whose maps would be huge.

A rule calls a check before it makes a map larger than its inputs. An analysis counts the entries of all maps together.
A node whose maps are too large becomes a barrier.
"""

from __future__ import annotations

import math

from upscale_onnx.channels.flow import Flow
from upscale_onnx.channels.refused import Refused
from upscale_onnx.errors import Reason

_MOST_ENTRIES = 2**22  # of one map, which takes 64 MB; a pattern of that many bits is smaller
_MOST_PATTERN = 2**26
_MOST_IN_ALL = 2**24
_ENTRY_BITS = 128


def check_room(*sizes: int) -> None:
    """Check that a map of these sizes is not too large.

    Raises: Refused where it would have too many entries.
    """
    if math.prod(sizes) > _MOST_ENTRIES:
        raise Refused(Reason.TOO_LARGE, f"{' x '.join(map(str, sizes))} channels")


def check_pattern_room(targets: int, sources: int) -> None:
    """Check that a pattern `(targets, sources)` of a read is not too large.

    Raises: Refused where it would have too many entries.
    """
    if targets * sources > _MOST_PATTERN:
        raise Refused(Reason.TOO_LARGE, f"{targets} channels that each may read {sources}")


class Room:
    """The room left for the maps of one analysis, in entries. weights: the bytes of the model's weights; so many
    entries are allowed at least."""

    def __init__(self, weights: int) -> None:
        self._left = max(_MOST_IN_ALL, weights)

    def take(self, flow: Flow) -> None:
        """Take the room that the maps and patterns of `flow` need.

        Raises: Refused where there is not enough room left.
        """
        maps = sum(found.labels.size for found in flow.outputs if found is not None)
        patterns = sum(read.known.size for read in flow.reads if read.known is not None)
        wanted = maps + 8 * patterns // _ENTRY_BITS
        if wanted > self._left:
            raise Refused(Reason.TOO_LARGE, "the channels of all values together are too many")
        self._left -= wanted
