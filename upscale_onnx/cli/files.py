"""All files that the commands read and write. A command may not write a file that it also reads, or one file twice."""

from __future__ import annotations

import argparse
import mmap
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from upscale_onnx.cli.output import STANDARD_OUTPUT
from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.files.publish import resolved

_EXTERNAL_KEY = b"\x0a\x08location"  # how an entry of external data begins in a file


@dataclass(frozen=True)
class Use:
    """What a command does with the path in an argument.

    writes: whether it is written.
    is_model: whether it is a model, which may have files with external data.
    within: names of the files that are written to it, if it is a folder; "*" stands for any names.
    """

    writes: bool = False
    is_model: bool = False
    within: tuple[str, ...] = ()


READS, READS_MODEL, WRITES, WRITES_FOLDER = Use(), Use(is_model=True), Use(writes=True), Use(True, within=("*",))
_PAPER = Use(True, within=("results.csv", "accuracy.png", "latency.png"))

# By command and argument. Arguments that are not given, and names that are no paths, are left out.
TABLE: Mapping[str, Mapping[str, Use]] = {
    "compile": {
        "input": READS_MODEL,
        "output": WRITES,
        "inputs": READS,
        "calibration": READS,
        "mask": READS,
        "profile": READS,
        "target": READS,
        "write_profile": WRITES,
        "write_masked": WRITES,
        "certificate": WRITES,
        "save_reproducer": WRITES_FOLDER,
        "json": WRITES,
        "report": WRITES,
    },
    "check": {
        "models": READS_MODEL,
        "inputs": READS,
        "calibration": READS,
        "mask": READS,
        "profile": READS,
        "target": READS,
        "out": WRITES,
        "save_reproducer": WRITES_FOLDER,
        "json": WRITES,
    },
    "inspect": {"input": READS_MODEL, "json": WRITES, "report": WRITES},
    "verify": {
        "original": READS_MODEL,
        "compiled": READS_MODEL,
        "inputs": READS,
        "certificate": READS,
        "json": WRITES,
    },
    "help": {},
    "diff": {"original": READS_MODEL, "compiled": READS_MODEL, "json": WRITES},
    "bench": {"models": READS_MODEL, "json": WRITES, "csv": WRITES, "plot": WRITES, "report": WRITES},
    "calibrate": {"model": READS_MODEL, "target": READS, "json": WRITES},
    "evaluate": {"model": READS_MODEL, "data": READS, "json": WRITES},
    "experiment": {"set": READS, "train": READS, "profile": READS, "out": WRITES_FOLDER},
    "finetune": {
        "input": READS_MODEL,
        "output": WRITES,
        "data": READS,
        "val": READS,
        "distill": READS_MODEL,
        "state": WRITES,
        "json": WRITES,
        "csv": WRITES,
    },
    "paper": {"model": READS_MODEL, "calibration": READS, "data": READS, "train": READS, "out": _PAPER},
    "prune": {
        "input": READS_MODEL,
        "output": WRITES,
        "data": READS,
        "val": READS,
        "distill": READS_MODEL,
        "state": WRITES,
        "masked": WRITES,
        "json": WRITES,
        "csv": WRITES,
    },
    "search": {
        "models": READS_MODEL,
        "data": READS,
        "judge": READS,
        "train": READS,
        "calibration": READS,
        "target": READS,
        "out": WRITES_FOLDER,
    },
    "sensitivity": {
        "model": READS_MODEL,
        "calibration": READS,
        "data": READS,
        "json": WRITES,
        "csv": WRITES,
        "plot": WRITES,
        "profile": WRITES,
    },
    "sparsify": {"input": READS_MODEL, "output": WRITES, "mask": READS, "scores": READS, "json": WRITES},
    "sparsity": {"model": READS_MODEL, "json": WRITES},
}


@dataclass(frozen=True)
class _File:
    """A file or folder. shown: its name in error messages."""

    shown: str
    path: Path
    writes: bool
    is_folder: bool = False


def check_files(command: str, args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Check that `command` can write its files, and that none of them is another file that it reads or writes.

    Raises:
        ArgumentError: a file cannot be written, or is another file of the command as well.
    """
    from upscale_onnx.model import check_output

    flags = {action.dest: action.option_strings[-1] for action in parser._actions if action.option_strings}
    table = {"config": READS, **TABLE[command]}
    uses = [(use, name, path) for name, use in table.items() for path in _paths(getattr(args, name, None))]
    files = [file for use, name, path in uses for file in _files(use, flags.get(name, ""), path)]
    written = [file for file in files if file.writes]
    if any(os.path.lexists(file.path) for file in written):  # files that do not exist hold no external data
        files += [file for use, _, path in uses if use.is_model for file in _data_files(Path(path))]
    files.append(_measured_times())
    for first, second in combinations(files, 2):
        if first.writes or second.writes:
            _check_apart(*((first, second) if first.writes else (second, first)))
    for use, _, path in uses:
        if use.writes and not use.within:
            check_output(path)


def _paths(value: object) -> Iterator[str]:
    if value == STANDARD_OUTPUT:
        return
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        yield from (path for part in value for path in _paths(part))


def _files(use: Use, flag: str, path: str) -> Iterator[_File]:
    shown = f"{flag} {path}".strip()
    if not use.within:
        yield _File(shown, Path(path), use.writes, not use.writes and Path(path).is_dir())
    for name in use.within:
        whole = name == "*"
        yield _File(shown, Path(path) if whole else Path(path, name), use.writes, whole)


def _data_files(model: Path) -> Iterator[_File]:
    from upscale_onnx.model.external import external_files
    from upscale_onnx.model.load import parse_model

    try:
        if not model.is_file() or not _may_have_data(model):
            return
        found = external_files(parse_model(model), model)
    except (OSError, ModelError):  # loading the model will report the error
        return
    for file in found:
        yield _File(f"{file.name}, which holds data of {model}", file, writes=False)


def _may_have_data(model: Path) -> bool:
    """Whether the file seems to name external data. Most models do not, so that they need not be parsed here."""
    with model.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(_EXTERNAL_KEY) >= 0


def _measured_times() -> _File:
    from upscale_onnx.costs.store import cache_folder

    folder = cache_folder()
    return _File(f"the folder of measured times, {folder}", folder, writes=False, is_folder=True)


def _check_apart(written: _File, other: _File) -> None:
    if _is_same(written.path, other.path):
        raise ArgumentError(f"{written.shown}: is the same file as {other.shown}; choose another name")
    for folder, file in ((written, other), (other, written)):
        # In a folder that is read, only files in its subfolders matter.
        if folder.is_folder and _is_inside(file.path, folder.path, deep=not folder.writes):
            raise ArgumentError(f"{written.shown}: would overwrite what is in {other.shown}; choose another name")


def _is_same(a: Path, b: Path) -> bool:
    """Whether both paths are the same file, also through links, and with other case in the name."""
    first, second = resolved(a), resolved(b)
    if first == second:
        return True
    try:
        return first.samefile(second)
    except OSError:  # one of them does not exist yet
        return first.parent == second.parent and _folded(first.name) == _folded(second.name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _is_inside(file: Path, folder: Path, *, deep: bool) -> bool:
    inner, outer = resolved(file), resolved(folder)
    return outer in (inner.parents[1:] if deep else inner.parents)
