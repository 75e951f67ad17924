"""What accuracy.py prunes, and its accuracy: every criterion, side, method, repair and amount."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import onnx
from accuracy_data import Data, Results

from upscale_onnx.errors import ArgumentError, UpscaleError
from upscale_onnx.options import Options
from upscale_onnx.pruning.checks import check_masks
from upscale_onnx.pruning.prune import prune

KEY = ("network", "criterion", "side", "method", "scope", "masks", "repair", "amount", "calibrate", "judge", "seed")
MEASURED = ("top1", "seconds")
UNPRUNED = "unpruned"
NONE = "none"
LABELLED = frozenset({"taylor", "tvs"})  # criteria that are given the classes of the calibration images


@dataclass(frozen=True)
class Case:
    """One way to prune. masks: "flat" or "aware"; scope and repair: as in `Options`, or "none"."""

    criterion: str = NONE
    side: str = NONE
    method: str = UNPRUNED
    scope: str = NONE
    masks: str = NONE
    repair: str = NONE
    amount: float = 0.0

    def pruned(
        self, model: onnx.ModelProto, data: Data, threads: int, seed: int, batch: int | None = None
    ) -> onnx.ModelProto:
        """`model` pruned and repaired. batch: at which its latency counts, where the method goes by it.

        Raises: UpscaleError where this case does not exist for the network, such as a criterion that reads nodes
        which it does not have.
        """
        calibration = data.labelled if self.criterion.partition(":")[0] in LABELLED else data.calibration
        options = Options.of(
            amount=self.amount,
            criterion=self.criterion,
            side=cast(Any, self.side),
            method=cast(Any, self.method),
            scope=cast(Any, self.scope),
            masks=cast(Any, self.masks),
            repair=None if self.repair == NONE else cast(Any, self.repair),
            calibration=str(calibration),
            threads=threads,
            seed=seed,
            batch=batch,
        )
        check_masks(options)
        pruned = prune(model, options)
        return pruned.model if pruned.finished is None else pruned.finished(pruned.model)


@dataclass(frozen=True)
class Setting:
    """What is the same for all cases: the name of the network, how many images, and the seed that drew them."""

    network: str
    calibrate: int
    judge: int
    seed: int

    def row(self, case: Case) -> dict[str, object]:
        """The key of `case` among the results."""
        return {**asdict(self), **asdict(case)}


def cases(
    criteria: Sequence[str], sides: Sequence[str], methods: Sequence[str], scopes: Sequence[str], masks: str,
    repairs: Sequence[str], amounts: Sequence[float],
) -> Iterator[Case]:  # fmt: skip
    """All combinations; the amount varies fastest."""
    for criterion, side, method, scope, repair, amount in itertools.product(
        criteria, sides, methods, scopes, repairs, amounts
    ):
        yield Case(criterion, side, method, scope, masks, repair, amount)


def measure(
    model: onnx.ModelProto, wanted: Sequence[Case], data: Data, setting: Setting, results: Results, threads: int
) -> int:
    """Add to `results` the accuracy of `model` and of every case that it lacks; how many failed.

    Cases that do not exist for the network are left out and said, as are those that fail.
    """
    if not results.has(setting.row(Case())):
        results.add({**setting.row(Case()), "top1": f"{data.top1(model, threads):.2f}", "seconds": "0.0"})
    missing = [case for case in wanted if not results.has(setting.row(case))]
    left_out: dict[str, int] = {}
    failures = 0
    for place, case in enumerate(missing, start=1):
        start = time.process_time()
        try:
            pruned = case.pruned(model, data, threads, setting.seed)
        except UpscaleError as error:
            line = f"{setting.network}, {case.criterion}, {case.side}, {case.method}: {error}"
            left_out[line] = left_out.get(line, 0) + 1
            failures += not isinstance(error, ArgumentError)
            continue
        seconds = time.process_time() - start
        top1 = data.top1(pruned, threads)
        results.add({**setting.row(case), "top1": f"{top1:.2f}", "seconds": f"{seconds:.1f}"})
        print(f"{place}/{len(missing)} {' '.join(map(str, asdict(case).values()))}: {top1:.1f}", flush=True)
    for line, count in left_out.items():
        print(f"left out {count} times: {line}", file=sys.stderr)
    return failures
