"""Latency of pruned networks: `python docs/programs/latency.py --models FOLDER --out latency.json`.

Every network is pruned by each of --amounts, every consumer by the L2 norm of its own input channels, and all that
can be made of it is raced in interleaved rounds: the input, the exports of this package (upscale: ordered slices;
gather: the same channels without an order; keep: what any consumer wants; planned), what the package chooses by
itself (auto), as much pruned under constraints (constrained), and, where --reference-python and --onnxsim-python
name interpreters that have them, apple-upscale and onnxsim. Results are added to --out, and what it holds already
is not measured again; delete it to start anew.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
from bounds import bound_ratio, measure_operators, predicted_ms
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from runners import INPUT, PEERS, Peers, Wanted, line_up, openvino_engine
from tables import Row, markdown, tables

from upscale_onnx.cli.arguments import fraction, positive, positive_number
from upscale_onnx.errors import ModelError, UpscaleError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.model import load_model
from upscale_onnx.model.batch import rebatch
from upscale_onnx.model.stats import model_stats
from upscale_onnx.report.tables import rich_tables
from upscale_onnx.results import Race
from upscale_onnx.runtime import Device, describe, profile_operators, race, resolve_provider
from upscale_onnx.runtime.inputs import random_inputs

SCHEMA = 1
KEY = ("network", "amount", "batch", "threads", "engine", "precision")
_MOST_ROUNDS = 1000
_FILE_WIDTH = 200
_LIBRARIES = ("upscale-onnx", "onnx", "onnxruntime-gpu", "onnxruntime", "openvino", "numpy")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing, save after every race, and print all of it; the exit code, 2 if any was left out."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _arguments(words)
    try:
        provider: Device = "cpu" if args.provider == "openvino" else resolve_provider(args.provider)
        _check_options(args)
        paths = _model_files(args.models)
        content = _load(args.out, describe(provider, args.threads[0]))
        left_out = _measure(args, provider, paths, content, _command(words))
    except UpscaleError as error:
        print(f"latency: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("latency: interrupted; what is measured is saved", file=sys.stderr)
        return 130
    found = tables(content["results"])
    if args.markdown is not None:
        write_whole(markdown(found).encode(), args.markdown)
    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    console.print(rich_tables(found, console.width))
    return ModelError.exit_code if left_out else 0


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", required=True, metavar="PATH", help="ONNX files, or folders of them")
    parser.add_argument("--amounts", type=_list(fraction), default=(0.1, 0.3, 0.5), metavar="A[,A…]")
    parser.add_argument("--as-given", action="store_true", help="the models are pruned already; mask nothing")
    parser.add_argument("--batch", type=_list(positive), default=(1, 8), metavar="N[,N…]")
    parser.add_argument("--threads", type=_list(positive), default=(1,), metavar="N[,N…]")
    parser.add_argument("--provider", choices=("cpu", "cuda", "openvino"), default="cpu")
    parser.add_argument("--fp16", action="store_true", help="in float16 (needs onnxconverter-common)")
    parser.add_argument("--budget", type=positive_number, default=10.0, metavar="S", help="seconds per race")
    parser.add_argument(
        "--calibrate",
        type=positive_number,
        metavar="S",
        help="first time each network's operators for at most S seconds, which planning, the bound and predictions use",
    )
    parser.add_argument("--verify", action="store_true", help="leave out what is not equal to its input")
    parser.add_argument("--no-auto", action="store_true", help="leave out the package's own choice, a race by itself")
    parser.add_argument("--reference-python", metavar="PATH", help="interpreter with apple-upscale and torchvision")
    parser.add_argument("--onnxsim-python", metavar="PATH", help="interpreter with onnxsim")
    parser.add_argument("--out", default="latency.json", metavar="FILE", help="results (default: %(default)s)")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables as Markdown")
    return parser.parse_args(words)


def _list(kind: Any) -> Any:
    def items(text: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(kind(part.strip()) for part in text.split(",")))

    return items


def _check_options(args: argparse.Namespace) -> None:
    needed = {"openvino": args.provider == "openvino", "onnxconverter_common": args.fp16}
    for module, wanted in needed.items():
        if wanted and find_spec(module) is None:
            raise ModelError(f"{module.replace('_', '-')} is not installed: pip install {module.replace('_', '-')}")


def _model_files(given: list[str]) -> list[Path]:
    paths = [path for text in given for path in _files_of(Path(text))]
    if not paths:
        raise ModelError(f"no .onnx file in {', '.join(given)}")
    names = Counter(path.stem for path in paths)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ModelError(f"two models are called {twice[0]}: results go by the names of the files")
    return paths


def _files_of(path: Path) -> list[Path]:
    return sorted(path.glob("*.onnx")) if path.is_dir() else [path]


def _load(path: str, machine: dict[str, str | int]) -> dict[str, Any]:
    """The results so far. Those of another machine are not mixed with this one's."""
    machine = {name: value for name, value in machine.items() if name not in ("threads", "provider")}
    libraries = {name: found for name in _LIBRARIES if (found := _version(name))}
    versions = {"python": platform.python_version(), **libraries}
    fresh: dict[str, Any] = {"schema": SCHEMA, "machine": machine, "versions": versions, "commands": [], "results": []}
    if not Path(path).exists():
        return fresh
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        same = content["schema"] == SCHEMA and content["machine"] == machine
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is no file of results; choose another name") from error
    if not same:
        raise ModelError(f"{path}: holds results of another machine or version; choose another name")
    return {**content, "versions": versions}


def _measure(
    args: argparse.Namespace, provider: Device, paths: list[Path], content: dict[str, Any], command: str
) -> int:
    """Add the races that `content` lacks, and save it after each; the number of those that were left out."""
    done = {tuple(row[name] for name in KEY) for row in content["results"]}
    amounts = (None,) if args.as_given else args.amounts
    precision = "fp16" if args.fp16 else "fp32"
    tasks = [
        (path, (path.stem, amount, batch, threads, args.provider, precision))
        for path in paths
        for amount in amounts
        for batch in args.batch
        for threads in args.threads
    ]
    tasks = [(path, key) for path, key in tasks if key not in done]
    if not tasks:
        return 0
    left_out = 0
    if command not in content["commands"]:
        content["commands"].append(command)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        peers = Peers()
        bar = progress.add_task("", total=len(tasks))
        for path, key in tasks:
            network, amount, batch, threads = key[:4]
            progress.update(bar, description=f"{network} {amount} batch {batch} threads {threads}")
            try:
                row = _row(args, provider, path, dict(zip(KEY, key, strict=True)), peers)
            except ModelError as error:
                progress.console.print(f"{network} batch {batch}: left out: {error}", markup=False)
                left_out += 1
            else:
                content["results"].append(row)
                write_whole((json.dumps(content, indent=1) + "\n").encode(), args.out)
            progress.advance(bar)
    return left_out


def _row(args: argparse.Namespace, provider: Device, path: Path, key: dict[str, Any], peers: Peers) -> Row:
    """One race, with everything that is needed to judge it."""
    wanted = Wanted(
        provider=provider,
        threads=key["threads"],
        fp16=args.fp16,
        verify=args.verify,
        auto=not args.no_auto and args.provider != "openvino",
        reference_python=args.reference_python,
        onnxsim_python=args.onnxsim_python,
    )
    original, batch, threads = load_model(path), key["batch"], key["threads"]
    known = args.calibrate is not None and args.provider != "openvino"
    if known:
        measure_operators(rebatch(original, batch), provider, threads, batch, args.calibrate)
    taking_part = line_up(path.stem, original, key["amount"], batch, wanted, peers)
    models, skipped = taking_part.models, taking_part.skipped
    nodes = _nodes_by_provider(models[INPUT], provider, batch)

    def skip(name: str, error: ModelError) -> None:
        skipped[name] = str(error)

    result = race(
        {name: openvino_engine(model, threads) for name, model in models.items()}
        if args.provider == "openvino"
        else models,
        provider=provider,
        threads=threads,
        rounds=_MOST_ROUNDS,
        budget_s=args.budget,
        inputs=random_inputs(models[INPUT]) if args.provider == "openvino" else None,
        batch=batch,
        skip=skip,
    )
    timings = _timings(result, models)
    if known:
        for name in timings.keys() - set(PEERS):
            timings[name]["predicted_ms"] = predicted_ms(models[name], provider, threads, batch)
    input_ms = timings[INPUT]["median_ms"]
    return {
        **key,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rounds": result.rounds,
        "nodes_by_provider": nodes,
        "verified": args.verify,
        "bound": bound_ratio(models[INPUT], input_ms, provider, threads, batch) if known else None,
        "runners": timings,
        "skipped": skipped,
    }


def _timings(result: Race, models: dict[str, onnx.ModelProto]) -> dict[str, dict[str, float]]:
    found = {}
    for timing in result.timings:
        values = {name: value for name, value in vars(timing).items() if name not in ("name", "round_ms")}
        found[timing.name] = {**values, "macs": model_stats(models[timing.name]).macs}
    return found


def _nodes_by_provider(model: onnx.ModelProto, provider: Device, batch: int) -> dict[str, int]:
    """Where onnxruntime really runs the nodes of the input.

    Raises: ModelError where CUDA was asked for and gets none.
    """
    if provider == "cpu":
        return {}
    times = profile_operators(model, provider=provider, runs=1, batch=batch)
    found = Counter(time.provider for time in times)
    if not found["CUDAExecutionProvider"]:
        raise ModelError("onnxruntime runs no node of it on CUDA")
    return dict(found)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _command(words: list[str]) -> str:
    """The command line, without the folders of this machine."""
    words = [Path(word).name if "/" in word or "\\" in word else word for word in words]
    return shlex.join(["python", "docs/programs/latency.py", *words])


if __name__ == "__main__":
    sys.exit(main())
