"""Pages of weights that onnxruntime maps from a file: they go back to the system while a session runs.

Mapped weights cost no memory that others could not have. But they count as memory of the process, and a run of a large
model touches all of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from upscale_onnx.model.stored import PREFIX

# So many bytes of files may be in memory before pages go back.
MOST_BYTES = 2**28
_SECONDS = 0.01
_SMAPS, _STATM = Path("/proc/self/smaps"), Path("/proc/self/statm")
_SHARED = 2  # the place in statm of the pages that are backed by files
_MAP = re.compile(rf"^([0-9a-f]+)-([0-9a-f]+) .*/{PREFIX}[^/\n]*/[^/\n]*$")

Places = list[tuple[int, int]]


@contextlib.contextmanager
def few_pages() -> Iterator[None]:
    """A context in which at most about `MOST_BYTES` of mapped weights stay in memory; elsewhere than on Linux, all do.

    Nothing may be mapped or unmapped in it, as in a run of a session.
    """
    places = _places()
    if sum(end - start for start, end in places) <= MOST_BYTES:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_give_back, args=(places, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _give_back(places: Places, over: threading.Event) -> None:
    advise = ctypes.CDLL(None).madvise
    while not over.wait(_SECONDS):
        if _held() > MOST_BYTES:
            for start, end in places:
                advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


def _held() -> int:
    """The bytes of files that are in the memory of this process."""
    return int(_STATM.read_bytes().split()[_SHARED]) * os.sysconf("SC_PAGE_SIZE")


def _places() -> Places:
    """The addresses, first and behind the last, where files of our own are mapped and nothing was written."""
    try:
        lines = _SMAPS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found: Places = []
    place: tuple[int, int] | None = None
    for line in lines:
        if "-" in line.partition(" ")[0]:
            ends = _MAP.match(line)
            place = None if ends is None else (int(ends[1], 16), int(ends[2], 16))
        elif place is not None and line.split() == ["Anonymous:", "0", "kB"]:
            found.append(place)
    return found
