"""Storage of measured tables: one JSON file per device, provider, library version and thread count."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from upscale_onnx.costs.tables import Point, Tables
from upscale_onnx.costs.targets import Target
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.files.reading import read_bounded
from upscale_onnx.model.workloads import Workload, parse_workload

_FORMAT = 1
_VARIABLE = "UPSCALE_ONNX_CACHE"
_IDENTITY = ("device", "provider", "onnxruntime", "threads")
_MOST_BYTES = 2**26

Machine = Mapping[str, str | int]


def cache_folder() -> Path:
    """The user's cache folder for this package: $UPSCALE_ONNX_CACHE, or the system's place for caches."""
    chosen = os.environ.get(_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "upscale_onnx"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "upscale_onnx"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "upscale_onnx"


def tables_path(machine: Machine) -> Path:
    """The path of the tables of `machine`, named after its device, provider, onnxruntime version and threads."""
    identity = [str(machine.get(name, "")) for name in _IDENTITY]
    readable = re.sub(r"[^a-z0-9.]+", "-", "-".join(identity).lower()).strip("-")[:80]
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:8]
    return cache_folder() / "tables" / f"{readable}-{digest}.json"


def load_tables(target: Target, machine: Machine) -> Tables:
    """The tables measured on `machine` before; empty ones where there are none. A file that cannot be used is skipped
    with a warning."""
    path = tables_path(machine)
    try:
        return _decode(target, machine, json.loads(read_bounded(path, _MOST_BYTES)))
    except FileNotFoundError:
        return Tables(target)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"measured times in {path} cannot be used and are left out: {reason}", stacklevel=2)
        return Tables(target)


def save_tables(tables: Tables, machine: Machine) -> Path:
    """Write `tables` in one step, so that an interruption leaves either the old file or the new one.

    Raises:
        ArgumentError: the cache folder cannot be written to.
    """
    path = tables_path(machine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(json.dumps(_encode(tables, machine)).encode(), path)
    except (OSError, ArgumentError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"measured times cannot be kept in {path.parent}: {reason}; set {_VARIABLE}") from error
    return path


def _encode(tables: Tables, machine: Machine) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "machine": {name: machine.get(name, "") for name in _IDENTITY},
        "block": tables.target.block("float32"),
        "node_ms": tables.node_ms,
        "contractions": {
            workload.key: [[*point, ms] for point, ms in points.items()]
            for workload, points in tables.contractions.items()
        },
        "moves": {key: [[moved, ms] for moved, ms in points.items()] for key, points in tables.moves.items()},
    }


def _decode(target: Target, machine: Machine, data: Any) -> Tables:
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']!r} is not {_FORMAT}")
    if data["machine"] != {name: machine.get(name, "") for name in _IDENTITY}:
        raise ValueError("they were measured on another machine")
    if data["block"] != target.block("float32"):
        return Tables(target)  # measured for another channel block, to which counts were rounded
    contractions: dict[Workload, dict[Point, float]] = {
        parse_workload(key): {(_count(n), _count(m), str(after)): _ms(ms) for n, m, after, ms in points}
        for key, points in data["contractions"].items()
    }
    moves = {str(key): {_count(moved): _ms(ms) for moved, ms in points} for key, points in data["moves"].items()}
    node_ms = float(data["node_ms"])
    if not math.isfinite(node_ms):
        raise ValueError("node_ms is not a number")
    return Tables(target, contractions, moves, node_ms)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not a count")
    return value


def _ms(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is not a time")
    return float(value)
