"""Both proofs on every network of a corpus: `python docs/programs/proofs.py run CORPUS --out RESULTS.jsonl`, then
`python docs/programs/proofs.py table RESULTS.jsonl`.

Networks are masked at random by 30 % (each layer for itself), exported with every selection and channels in order
("upscale"), and proven: locally by their claims, locally by the names of values alone, and globally. Times are the
processor's, in one process and on one thread, local and global in turn; the least of --repeats (of one where it
takes more than 5 s). What is there already in RESULTS.jsonl is not run again.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["UPSCALE_IN_PROCESS"] = "1"  # the processor's time is then all of this process's

import onnx
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from upscale_onnx.errors import ModelError
from upscale_onnx.export.draft import Draft
from upscale_onnx.export.export import export
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import infer_shapes, load_model
from upscale_onnx.proof.by_claims import prove
from upscale_onnx.proof.by_names import prove_by_names
from upscale_onnx.runtime.verify import verify

AMOUNT = 0.3


def script(corpus: Path, name: str) -> ModuleType:
    """A script of the corpus as a module."""
    spec = importlib.util.spec_from_file_location(name, corpus / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def masked(corpus: Path, path: Path) -> onnx.ModelProto:
    """The network at `path` with some input channels of every layer zeroed."""
    model = script(corpus, "materialize").materialize(path) if path.parent.name == "skeletons" else load_model(path)
    script(corpus, "mask").mask(model, amount=AMOUNT)
    return model  # type: ignore[no-any-return]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and the processor's seconds that it took."""
    start = time.process_time()
    found = work()
    return found, time.process_time() - start


def measured(corpus: Path, path: Path, repeats: int) -> dict[str, Any]:
    """One row of results."""
    model = masked(corpus, path)
    made = export(Making(recipes(1)["upscale"]), Draft(model, infer_shapes(model)))
    local_s, global_s = [], []
    for _ in range(repeats):
        feeds: list[Any] = []
        try:
            whole, spent = timed(lambda feeds=feeds: verify(model, made.model, feeds=feeds))
        except ModelError as error:
            return {"network": path.stem, "error": str(error)}
        global_s.append(spent)
        local, spent = timed(lambda feeds=feeds: prove(model, made.model, made.claims, feeds[0]))
        local_s.append(spent)
        if max(local_s[0], global_s[0]) > 5:  # long enough to tell
            break
    named, names_s = timed(lambda: prove_by_names(model, made.model, feeds[0]))
    return {
        "network": path.stem,
        "regions": local.regions,
        "proven": local.proven,
        "refuted": [entry.value for entry in local.refuted],
        "unrunnable": [f"{entry.value}: {entry.detail}" for entry in local.unrunnable],
        "equal": whole.equal,
        "detail": whole.detail,
        "local_s": min(local_s),
        "global_s": min(global_s),
        "by_names": [named.proven, named.regions],
        "by_names_s": names_s,
    }


def run(corpus: Path, out: Path, only: list[str], repeats: int) -> None:
    """Measure every network that is not in `out` yet."""
    done = {json.loads(line)["network"] for line in out.read_text().splitlines()} if out.exists() else set()
    paths = [*sorted(corpus.glob("trained/*.onnx")), *sorted(corpus.glob("skeletons/*.onnx"))]
    wanted = [path for path in paths if path.stem not in done and (not only or path.stem in only)]
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.fields[network]}"))
    with Progress(*columns) as progress, out.open("a") as file:
        task = progress.add_task("networks", total=len(wanted), network="")
        for path in wanted:
            progress.update(task, network=path.stem)
            file.write(json.dumps(measured(corpus, path, repeats)) + "\n")
            file.flush()
            progress.advance(task)
            gc.collect()


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one row a network, and the geometric mean of the ratios of times."""
    lines = ["| network | regions | proven | by names | global | local s | global s |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if "error" in row:
            lines.append(f"| {row['network']} | {row['error']} |")
            continue
        named = "{} of {}".format(*row["by_names"])
        lines.append(
            f"| {row['network']} | {row['regions']} | {row['proven']} | {named} | {'equal' if row['equal'] else 'no'} "
            f"| {row['local_s']:.2f} | {row['global_s']:.2f} |"
        )
    ratios = [math.log(row["local_s"] / row["global_s"]) for row in rows if "error" not in row]
    mean = math.exp(sum(ratios) / len(ratios))
    return "\n".join([*lines, "", f"Local over global, geometric mean of {len(ratios)}: {mean:.2f}"])


def main() -> None:
    """Read the arguments and do it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("corpus", type=Path)
    runner.add_argument("--out", type=Path, required=True)
    runner.add_argument("--repeats", type=int, default=3)
    runner.add_argument("--only", nargs="*", default=[])
    commands.add_parser("table").add_argument("results", type=Path)
    args = parser.parse_args()
    if args.command == "run":
        run(args.corpus, args.out, args.only, args.repeats)
    else:
        print(table([json.loads(line) for line in args.results.read_text().splitlines()]))


if __name__ == "__main__":
    main()
