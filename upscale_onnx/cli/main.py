"""From arguments to an exit code."""

from __future__ import annotations

import argparse
import io
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from upscale_onnx.cli import (
    bench,
    calibrate,
    compile,
    diff,
    evaluate,
    experiment,
    explain,
    finetune,
    inspect,
    paper,
    prune,
    search,
    sensitivity,
    sparsify,
    sparsity,
    verify,
)
from upscale_onnx.cli.arguments import thread_warning
from upscale_onnx.cli.completion import complete
from upscale_onnx.cli.config import config_text, with_config
from upscale_onnx.cli.files import check_files
from upscale_onnx.cli.interrupts import Terminated, terminations_raise
from upscale_onnx.cli.output import Output, complain
from upscale_onnx.cli.parser import Parser
from upscale_onnx.cli.renamed import with_new_names
from upscale_onnx.errors import ArgumentError, ModelError, UpscaleError, did_you_mean
from upscale_onnx.files.temporary import check_temporary_folder, is_full
from upscale_onnx.worker import start as start_worker

BUG = 1
INTERRUPTED = 130

# Modules that every command needs in the worker. It imports them while this process imports the compiler.
_NEEDED = ("upscale_onnx.worker.checks", "upscale_onnx.runtime", "onnxruntime")

_REPORT = (
    "this is a bug of upscale_onnx: please report it with the command line, the model if you can share it, and the "
    "traceback that -v prints"
)


class Command(Protocol):
    """The contents of a command's module."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of the command."""

    def run(self, args: argparse.Namespace, output: Output) -> int:
        """Run the command. Returns the exit code."""


COMMANDS: Mapping[str, Command] = {
    "compile": compile,
    "inspect": inspect,
    "verify": verify,
    "diff": diff,
    "bench": bench,
    "calibrate": calibrate,
    "evaluate": evaluate,
    "experiment": experiment,
    "finetune": finetune,
    "paper": paper,
    "prune": prune,
    "search": search,
    "sensitivity": sensitivity,
    "sparsify": sparsify,
    "sparsity": sparsity,
    "help": explain,
}

# The options of compile that its help shows; --help-all shows the others.
_ESSENTIAL = (
    "--help", "--help-all", "--amount", "--latency", "--calibration", "--repair", "--max-loss", "--export",
    "--target", "--batch", "--threads", "--report", "--json", "--config",
)  # fmt: skip
_MORE = "more options: --help-all, or upscale_onnx help pruning | export | target | proof | reports"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`, by default the arguments of the process. Returns the exit code.

    0: done. 1: a bug of upscale_onnx. 2: unusable arguments or an unusable model. 3: the models are not equal. 4: the
    provider is not available. 5: pruning costs more than is allowed. 6: nothing changed, with --fail-if-unchanged.
    130: interrupted. 143: terminated.
    """
    with terminations_raise() as came:
        return _main(argv, came)


def _main(argv: Sequence[str] | None, came: Sequence[int]) -> int:
    """As `main`. came: the signals to end that have come."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names in a model may hold characters that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    complete(COMMANDS, make_parser)
    verbose = False
    output: Output | None = None
    try:
        name, rest = split_command(arguments)
        parser = make_parser(name)
        rest, said = with_new_names(name, rest)
        args = parser.parse_args(with_config(rest, parser.named))
        args.words = arguments
        verbose = args.verbose
        output = Output(quiet=args.quiet, verbose=verbose, progress=args.progress)
        logging.basicConfig(level=args.log_level.upper(), format="upscale_onnx: %(levelname)s: %(message)s", force=True)
        if args.print_config:
            output.text(config_text(parser.given))
            return 0
        for note in () if args.quiet else said:
            complain(f"upscale_onnx: note: {note}")
        warning = thread_warning(args)
        if warning and not args.quiet:
            complain(f"upscale_onnx: warning: {warning}")
        check_files(name, args, parser)
        check_temporary_folder()
        start_worker(_NEEDED)
        return COMMANDS[name].run(args, output)
    except SystemExit as done:  # --help and --version
        return done.code if isinstance(done.code, int) else 0
    except (KeyboardInterrupt, Terminated) as stop:
        return _ended(stop.exit_code if isinstance(stop, Terminated) else INTERRUPTED, output)
    except Exception as error:
        return _ended(128 + came[0], output) if came else _failed(error, verbose=verbose)


def _ended(code: int, output: Output | None) -> int:
    """The exit code of a command that a signal ended, said unless its files are written."""
    if output is not None and output.delivered is not None:
        return output.delivered
    complain("upscale_onnx: interrupted" if code == INTERRUPTED else "upscale_onnx: terminated")
    return code


def _failed(error: Exception, *, verbose: bool) -> int:
    """Say what went wrong. Returns the exit code."""
    if isinstance(error, MemoryError):
        complain("upscale_onnx: error: there is not enough memory for this model")
        return ModelError.exit_code
    if isinstance(error, OSError) and is_full(error):
        complain(f"upscale_onnx: error: a temporary file cannot be written: {error.strerror}")
        return ArgumentError.exit_code
    if isinstance(error, UpscaleError) and error.exit_code != BUG:
        complain(f"upscale_onnx: error: {error}")
        return error.exit_code
    return _report_bug(error, verbose=verbose)


def split_command(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """The command and its arguments. If the first word is no command, it is "compile" with all words as arguments.

    Raises: ArgumentError if the first word looks like a misspelt command and is no file.
    """
    first = arguments[0] if arguments else ""
    if first in COMMANDS:
        return first, list(arguments[1:])
    hint = did_you_mean(first, COMMANDS) if first.isalpha() else ""  # a path has a dot or a slash
    if hint and not Path(first).exists():
        raise ArgumentError(f"there is no command and no file called {first!r}{hint}")
    return "compile", list(arguments)


def make_parser(name: str) -> Parser:
    """The parser of the command called `name`."""
    command = COMMANDS[name]
    default = name == "compile"
    width = max(map(len, COMMANDS)) + 2
    others = "".join(f"  {other:<{width}}{COMMANDS[other].SUMMARY}\n" for other in COMMANDS if other != name)
    parser = Parser(
        prog="upscale_onnx" if default else f"upscale_onnx {name}",
        description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
        epilog=f"{_MORE}\n\nother commands (upscale_onnx COMMAND --help):\n{others}" if default else None,
        essential=_ESSENTIAL if default else (),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


def _report_bug(error: Exception, *, verbose: bool) -> int:
    if verbose:
        traceback.print_exception(error)
    complain(f"upscale_onnx: error: {type(error).__name__}: {error}; {_REPORT}")
    return BUG
