"""Compile time and peak memory: `python docs/programs/compile_time.py [--large MODEL.onnx ...] [--out RESULTS.json]`.

Every compile runs in a process of its own, so that nothing is warm and the peak is its own. A time holds
loading, checking, analysis, rewriting and saving; importing the libraries is left out. Beside the time on the
clock stands the processor's, which does not depend on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from networks import chain, densenet201, efficientnet_v2_m

CHAINS = (100, 300, 1000, 3000, 10000)
TARGETS_S = {"densenet201": 1.2, "efficientnet_v2_m": 2.5}

_COMPILE = """
import json, pathlib, resource, sys, time
import upscale_onnx
from upscale_onnx import compile
from upscale_onnx.export import export as exports
from upscale_onnx.model import save_model
source, target = sys.argv[1:]

def peak_bytes():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's memory into the peak that getrusage tells
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

libraries = peak_bytes()
start, busy = time.perf_counter(), time.process_time()
result = compile(source, export="keep", race=False, verify=False)
save_model(result.model, target)
seconds, busy = time.perf_counter() - start, time.process_time() - busy
peak = peak_bytes()
report = result.report
print(json.dumps({
    "seconds": round(seconds, 3), "cpu_seconds": round(busy, 3), "libraries_bytes": libraries, "peak_bytes": peak,
    "nodes": report.before.nodes, "parameters": [report.before.parameters, report.after.parameters],
}))
"""


def measure(path: Path, repeats: int) -> dict[str, Any]:
    """Least times (others only add to them) and largest peak of `repeats` compiles of the model at `path`."""
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-c", _COMPILE, str(path), str(Path(folder) / "out.onnx")]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    model_bytes = path.stat().st_size
    peak = max(run["peak_bytes"] for run in runs)
    libraries = max(run["libraries_bytes"] for run in runs)
    return {
        "nodes": runs[0]["nodes"],
        "parameters_before": runs[0]["parameters"][0],
        "parameters_after": runs[0]["parameters"][1],
        "seconds": min(run["seconds"] for run in runs),
        "cpu_seconds": min(run["cpu_seconds"] for run in runs),
        "repeats": repeats,
        "model_mb": round(model_bytes / 1e6, 1),
        "libraries_mb": round(libraries / 1e6, 1),
        "peak_mb": round(peak / 1e6, 1),
        "peak_over_model": round((peak - libraries) / model_bytes, 2),
    }


def main() -> None:
    """Measure everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", nargs="*", type=Path, default=[], help="ONNX files for peak memory")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "benchmarks" / "compile_time.json")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    builders: dict[str, Callable[[], onnx.ModelProto]] = {
        "densenet201": densenet201,
        "efficientnet_v2_m": efficientnet_v2_m,
        **{f"chain_{layers}": lambda layers=layers: chain(layers) for layers in CHAINS},
    }
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, build in builders.items():
            path = Path(folder) / f"{name}.onnx"
            onnx.save(build(), path)
            found[name] = measure(path, given.repeats)
            if name in TARGETS_S:
                found[name]["target_seconds"] = TARGETS_S[name]
            print(name, json.dumps(found[name]), flush=True)
            path.unlink()
    for path in given.large:
        found[path.stem] = measure(path, 1)
        print(path.stem, json.dumps(found[path.stem]), flush=True)
    machine = {"processor": _processor(), "python": platform.python_version(), "onnx": onnx.__version__}
    given.out.write_text(json.dumps({"machine": machine, "models": found}, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
