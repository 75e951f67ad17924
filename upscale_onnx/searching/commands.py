"""The profiles of the best trials as files, and the commands that compile them."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import onnx

from upscale_onnx.files.arrays import archive_bytes
from upscale_onnx.files.publish import NewFiles, write_errors, write_whole
from upscale_onnx.masks.profile_files import profile_text
from upscale_onnx.model.save import save_model
from upscale_onnx.options import Options
from upscale_onnx.searching.outcome import Ending, Finalist

_OURS = re.compile(r"\d+(-\d+)?\.(json|npz)|basis(-\d+)?\.onnx")
# What the commands make is what was measured: no race decides what is made of it.
_EXPORT = ("--export", "gather", "--no-race")


def write_profiles(ending: Ending, front: Sequence[Finalist], models: Sequence[str], files: NewFiles) -> list[str]:
    """Write a file for each profile of the front to the folder of the search, and the commands that make its models to
    its `commands.txt`. Return these. models: the paths of the networks.

    Where channels are chosen at random, or a layer keeps none, masks are written as well; and where these are of
    another basis than a network's own, the network in it.
    """
    search = ending.search
    folder = search.folder / "profiles"
    with write_errors(folder):
        folder.mkdir(exist_ok=True)
    lines, written, bases = [], set(), dict[str, onnx.ModelProto]()
    spaces = [subject.space for subject in search.problem.subjects]
    for one in front:
        candidates = ending.candidates(one)
        options = spaces[0].options
        path = folder / f"{one.name}.json"
        text = profile_text(spaces[0].kept(candidates[0].masks), options.prune.side, options.prune.method)
        files.write(path, [text.encode()])
        written.add(path.name)
        for number, (model, candidate) in enumerate(zip(models, candidates, strict=True), 1):
            stem = one.name if len(models) == 1 else f"{one.name}-{number}"
            masks, source = None, model
            if not spaces[0].chooses_anew(candidate.masks, search.problem.choice):
                masks = folder / f"{stem}.npz"
                files.write(masks, [archive_bytes(dict(spaces[number - 1].named(candidate)))])
                written.add(masks.name)
                if spaces[number - 1].is_turned:
                    source = str(folder / ("basis.onnx" if len(models) == 1 else f"basis-{number}.onnx"))
                    bases[source] = spaces[number - 1].model
            made = folder / f"{stem}.onnx"
            line = command(source, made, options, path, masks)
            tune = search.problem.subjects[number - 1].tune
            if tune is not None:
                line += " && " + shlex.join(tune.words(str(made), str(folder / f"{stem}-trained.onnx")))
            lines.append(line)
    for source, basis in bases.items():
        save_model(basis, source, files=files)
        written.add(Path(source).name)
    _remove_others(folder, written)
    write_whole("".join(f"{line}\n" for line in lines).encode(), search.folder / "commands.txt", files)
    return lines


def command(model: str, output: Path, options: Options, profile: Path, masks: Path | None = None) -> str:
    """The command that compiles `model` under a profile; under masks where they are given."""
    prune = options.prune
    words = ["upscale-onnx", model, str(output)]
    if masks is None:
        words += ["--profile", str(profile), "--allocation", "flat", "--method", prune.method]
        words += ["--criterion", str(prune.criterion)]
    else:
        words += ["--mask", str(masks)]
    words += ["--side", prune.side]
    if prune.repair is not None:
        words += ["--repair", prune.repair]
    if isinstance(prune.calibration, str):
        words += ["--calibration", prune.calibration]
    return shlex.join([*words, *_EXPORT, "--seed", str(prune.seed)])


def _remove_others(folder: Path, written: set[str]) -> None:
    """Remove the profiles of earlier fronts."""
    for path in folder.iterdir():
        if _OURS.fullmatch(path.name) and path.name not in written:
            with contextlib.suppress(OSError):
                path.unlink()
