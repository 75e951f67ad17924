"""Which regions share a session: as many as fit into memory together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from upscale_onnx.proof.regions import Region

# The most bytes of values and weights in one session, unless a single region needs more.
_CHUNK_BYTES = 1 << 28


def chunks(regions: Sequence[Region], bytes_of: Callable[[Region], int]) -> Iterator[list[Region]]:
    """`regions`, in their order, in groups that each run in one session."""
    chunk: list[Region] = []
    held = 0
    for region in regions:
        size = bytes_of(region)
        if chunk and held + size > _CHUNK_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(region)
        held += size
    if chunk:
        yield chunk
