"""What a rule raises where it cannot look through a node."""

from __future__ import annotations

from upscale_onnx.errors import Reason


class Refused(Exception):
    """A rule cannot look through this node; it becomes a barrier."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
