"""How much faster quantised networks get: `python docs/programs/quantised_speed.py in.onnx --out quantised_speed.json`.

Each network is quantised to eight bits (QDQ; random inputs choose the scales), 30 % of the channels that each layer
reads are pruned, and the result is compiled as `--export planned`. The quantised and the compiled network run in turns
on one thread, at batch size 1. Times are those of the processor, so that other work counts little. Results are added to
--out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

import onnx
import onnxruntime as ort
from quantise import quantised

import upscale_onnx
from upscale_onnx.cli.arguments import fraction, positive
from upscale_onnx.errors import UpscaleError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.model import load_model
from upscale_onnx.model.batch import rebatch
from upscale_onnx.runtime import describe
from upscale_onnx.runtime.inputs import random_inputs
from upscale_onnx.runtime.statistics import median_ratio

_SAMPLES = 4
_WARM_UP = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and save; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, nargs="+", metavar="in.onnx")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--amount", type=fraction, default=0.3, metavar="A", help="default: 0.3")
    parser.add_argument("--turns", type=positive, default=100, metavar="N", help="default: 100")
    args = parser.parse_args(argv)
    try:
        content = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
        for path in args.networks:
            content[path.stem] = found = _measured(rebatch(load_model(path), 1), args.amount, args.turns)
            print(
                f"{path.stem}: {found['ratio']:.3f} of the time, {found['parameters']:.3f} of the parameters",
                flush=True,
            )
            write_whole((json.dumps(content, indent=1) + "\n").encode(), args.out)
    except UpscaleError as error:
        print(f"quantised_speed.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _measured(model: onnx.ModelProto, amount: float, turns: int) -> dict[str, Any]:
    before = quantised(model, (random_inputs(model, seed=seed) for seed in range(_SAMPLES)))
    result = upscale_onnx.compile(before, amount=amount, masks="flat", export="planned", race=False)
    report = result.report
    first, second = _seconds([before, result.model], turns)
    ratio = median_ratio(second, first)
    return {
        "amount": amount,
        "parameters": report.after.parameters / report.before.parameters,
        "ms": [round(1000 * median(times), 3) for times in (first, second)],
        "ratio": round(ratio.value, 4),
        "ratio_interval": [round(ratio.low, 4), round(ratio.high, 4)],
        "turns": turns,
        "export": report.export,
        "equal": report.verification is not None and report.verification.equal,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": describe("cpu", 1),
        "versions": {library.__name__: library.__version__ for library in (upscale_onnx, onnx, ort)},
    }


def _seconds(models: Sequence[onnx.ModelProto], turns: int) -> list[list[float]]:
    """The processor time of each inference, of all models in turns."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [
        ort.InferenceSession(m.SerializeToString(), options, providers=["CPUExecutionProvider"]) for m in models
    ]
    inputs, found = random_inputs(models[0]), [list[float]() for _ in models]
    for turn in range(_WARM_UP + turns):
        for place, session in enumerate(sessions):
            start = time.process_time()
            session.run(None, inputs)
            if turn >= _WARM_UP:
                found[place].append(time.process_time() - start)
    return found


if __name__ == "__main__":
    sys.exit(main())
