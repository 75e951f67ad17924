"""`python -m upscale_onnx`, and the command `upscale-onnx`."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def main() -> int:
    """Run the command line; the exit code. A signal ends it in one line, also while its modules still load."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    handlers = {n: handler for n in _ENDING if (handler := signal.getsignal(n)) in usual}
    for number in handlers:  # libraries turn an exception amid their own imports into others
        signal.signal(number, _quit)
    from upscale_onnx.cli import main

    for number, handler in handlers.items():
        signal.signal(number, handler)
    code = main()
    for number in handlers:  # the code says what is written; nothing that comes while the process ends changes it
        signal.signal(number, signal.SIG_IGN)
    return code


def _quit(number: int, frame: FrameType | None) -> None:
    """End the process at once: nothing is begun yet that would have to be cleaned up."""
    del frame
    os.write(2, b"upscale_onnx: interrupted\n" if number == signal.SIGINT else b"upscale_onnx: terminated\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
