"""Steps that are repeated until they change nothing."""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.errors import NotSettledError


def fixpoint(step: Callable[[], bool], most: int, what: str) -> None:
    """Call `step` until it returns False, that is, until it changed nothing.

    most: the number of calls after which nothing may change any more. Steps that may stop earlier need another loop.

    Raises:
        NotSettledError: `what` goes on changing.
    """
    for _ in range(most):
        if not step():
            return
    raise NotSettledError(f"{what} did not settle within {most} rounds")
