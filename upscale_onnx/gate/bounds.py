"""The bounds that a compile has to hold."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from upscale_onnx.errors import ArgumentError
from upscale_onnx.options import Options
from upscale_onnx.options.checking import check_group
from upscale_onnx.options.ranges import PORTION, POSITIVE_NUMBER

Ground = Literal["unchanged", "refusal", "unproven"]


@dataclass(frozen=True)
class Bounds:
    """What has to hold of a compile. A ratio is that of the result to the input; None asks nothing.

    max_latency_ratio: of the times, as the race of the compile measures them.
    max_size_ratio: of the bytes of the files, with their external data.
    max_mac_ratio: of the multiply-accumulates.
    min_param_reduction: the least share, 0 to 1, of the parameters that is removed.
    fail_on: what must not be: that nothing becomes smaller or faster ("unchanged"), that a node is left alone
        ("refusal"), or that a region of the result is not shown equal by itself ("unproven").
    """

    max_latency_ratio: Annotated[float, POSITIVE_NUMBER] | None = None
    max_size_ratio: Annotated[float, POSITIVE_NUMBER] | None = None
    max_mac_ratio: Annotated[float, POSITIVE_NUMBER] | None = None
    min_param_reduction: Annotated[float, PORTION] | None = None
    fail_on: tuple[Ground, ...] = ()

    def demand(self, options: Options) -> None:
        """Check that a compile with these options can tell whether the bounds hold.

        Raises: ArgumentError if it cannot, if nothing is asked, or if a bound has the wrong type or is out of range.
        """
        check_group(self)
        if not any(getattr(self, part.name) not in (None, ()) for part in fields(self)):
            raise ArgumentError("no bound is given: give one, such as a largest latency ratio of 0.8")
        untimed = not options.target.race or options.export.prefer == "size"
        if self.max_latency_ratio is not None and untimed:
            raise ArgumentError("a bound of the latency needs a race: time the models, and prefer speed")
        if "unproven" in self.fail_on and not (options.proof.verify and "local" in options.proof.proofs):
            raise ArgumentError("to fail on what is unproven, run the local proof")
