"""Steps that are repeated until they change nothing."""

from __future__ import annotations

from collections.abc import Callable

from upscale_onnx.errors import NotSettledError


def fixpoint(step: Callable[[], bool], most: int, what: str) -> None:
    """Call `step`, which says whether it changed anything, until it did not.

    most: calls after which it must have settled. What may just as well stop before it has is no case for this.

    Raises:
        NotSettledError: `what` goes on changing.
    """
    for _ in range(most):
        if not step():
            return
    raise NotSettledError(f"{what} did not settle within {most} rounds")
