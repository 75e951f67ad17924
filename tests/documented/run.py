"""Run what the documentation says, in a copy of this checkout: the README with a fresh environment, then the rest.

`python -m tests.documented.run` ends with 1 at the first command that fails. What is left out is listed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

from tests.documented.commands import commands, documents
from tests.documented.material import write_material
from tests.documented.plan import Step, step

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run everything; the exit code."""
    parser = argparse.ArgumentParser(description="run every command of the documentation")
    parser.add_argument("--only", choices=("readme", "pages"), help="the README alone, or all other pages")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="of the pages, part K of N (default: all)")
    args = parser.parse_args()
    only, (part, parts) = args.only, map(int, args.part.split("/"))
    folder = ROOT / "build" / "documented" / (only or "all")
    shutil.rmtree(folder, ignore_errors=True)
    clone = folder / "clone"
    copy_checkout(clone)
    write_material(clone)
    if only != "pages":
        venv.create(folder / "env", with_pip=True)
    left_out: dict[str, Step] = {}
    # Pages repeat what the README says, which has a run of its own.
    done = {step(command).line for command in commands(clone / "README.md", clone)} if only == "pages" else set[str]()
    readme, *pages = documents(clone)
    chosen = {"readme": [readme], "pages": pages[part - 1 :: parts], None: [readme, *pages]}[only]
    for document in chosen:
        is_readme = document == readme
        python = folder / "env" / "bin" if is_readme else Path(sys.executable).parent
        for planned in map(step, commands(document, clone)):
            if planned.reason is not None:
                left_out.setdefault(planned.command.text, planned)
            elif planned.line not in done and not ran(planned, clone, python):
                return 1
            done.add(planned.line)
    for text, planned in left_out.items():
        print(f"not run  {text}  ({planned.command.where}: {planned.reason})")
    return 0


def copy_checkout(clone: Path) -> None:
    """Copy every file that git tracks, or would, to the folder `clone`."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists():  # tracked, and deleted since
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)


def ran(planned: Step, clone: Path, programs: Path) -> bool:
    """Whether the command ends with 0 in `clone`, where `programs` holds python and pip; prints how it went."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    # What no command imports need not be compiled to bytecode: PIP_NO_COMPILE=1 would say the opposite of its name.
    environment = {**inherited, "PATH": path, "PIP_COMPILE": "0"}
    words = ["python", "-c", planned.line] if planned.command.is_python else ["sh", "-c", planned.line]
    start = time.perf_counter()
    run = subprocess.run(words, cwd=clone, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    shown = "the program" if planned.command.is_python else planned.line
    print(
        f"{'ok' if run.returncode == 0 else 'FAILED':<8} {seconds:5.1f} s  {planned.command.where}  {shown}", flush=True
    )
    if run.returncode != 0:
        print(f"{planned.line}\nexit {run.returncode}\n{run.stdout}\n{run.stderr}", flush=True)
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
