"""An onnxruntime of its own that runs a mutant and what was made of it: `python -m tests.fuzz.judge`.

It reads pairs of paths, a line each, and answers with a line: "same", "differs: …" or "unjudged: …". It shares no code
with the compiler.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime as ort

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}
_LARGEST = 2**24
_TRIALS = 3
_TOLERANCE = 2e-3


def _session(path: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _feed(session: ort.InferenceSession, trial: int) -> dict[str, Any]:
    rng = np.random.default_rng(trial)
    feed = {}
    for value in session.get_inputs():
        shape = [dim if isinstance(dim, int) and dim >= 0 else 2 for dim in value.shape]
        if np.prod(shape, dtype=np.float64) > _LARGEST:
            raise ValueError("an input is too large")
        dtype = _TYPES[value.type]
        scale = (1.0, 4.0, 0.1)[trial]
        numbers = rng.normal(0, scale, shape) if np.dtype(dtype).kind == "f" else rng.integers(0, 3, shape)
        feed[value.name] = numbers.astype(dtype)
    return feed


def judged(before: str, after: str) -> str:
    """Whether two models compute the same, as far as the first computes anything."""
    try:
        first = _session(before)
        feeds = [_feed(first, trial) for trial in range(_TRIALS)]
        expected = [first.run(None, feed) for feed in feeds]
        again = [first.run(None, feed) for feed in feeds]
    except Exception as error:
        return f"unjudged: {error}"
    if any(_difference(a, b) for a, b in zip(expected, again, strict=True)):
        return "unjudged: it computes at random"
    try:
        second = _session(after)
        names = {value.name for value in second.get_inputs()}
        found = [second.run(None, {name: value for name, value in feed.items() if name in names}) for feed in feeds]
    except Exception as error:
        return f"differs: it does not run: {error}"
    for a, b in zip(expected, found, strict=True):
        difference = _difference(a, b)
        if difference:
            return f"differs: {difference}"
    return "same"


def _difference(expected: list[Any], found: list[Any]) -> str:
    for index, (a, b) in enumerate(zip(expected, found, strict=True)):
        if isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
            return f"output {index} is of another kind"
        if not isinstance(a, np.ndarray) or a.dtype.kind not in "fiub":
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {index} is {b.dtype}{b.shape} and not {a.dtype}{a.shape}"
        with np.errstate(all="ignore"):
            finite = a[np.isfinite(a)].astype(np.float64)
            scale = float(np.abs(finite).max()) if finite.size else 0.0
            if not np.allclose(b, a, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True):
                return f"output {index} differs by {np.nanmax(np.abs(b.astype(np.float64) - a)):.3g} of {scale:.3g}"
    return ""


def main() -> None:
    """Judge pairs until there are no more."""
    for line in sys.stdin:
        before, _, after = line.rstrip("\n").partition("\t")
        print(" ".join(judged(before, after).split())[:300], flush=True)


if __name__ == "__main__":
    main()
