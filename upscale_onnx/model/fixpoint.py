"""Steps that are repeated until they change nothing."""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.errors import NotSettledError


def fixpoint(step: Callable[[], bool], most: int, what: str) -> None:
    """Call `step` until it returns False, that is, until it changed nothing.

    most: the largest number of calls.
    what: the name of what `step` changes, for the error.

    Raises:
        NotSettledError: the last of `most` calls still changed something.
    """
    for _ in range(most):
        if not step():
            return
    raise NotSettledError(f"{what} did not settle within {most} rounds")
