"""`python -m upscale_onnx`, and the command `upscale-onnx`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> int:
    """Run the command line; the exit code. An interrupt ends it in one line, also while its modules still load."""
    raises = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if raises:  # libraries turn an exception amid their own imports into others
        signal.signal(signal.SIGINT, _quit)
    from upscale_onnx.cli import main

    if raises:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return main()


def _quit(number: int, frame: FrameType | None) -> None:
    """End the process at once: nothing is begun yet that would have to be cleaned up."""
    del number, frame
    os.write(2, b"upscale_onnx: interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
