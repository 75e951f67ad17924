"""The command that times models against each other."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from upscale_onnx.cli.arguments import add_common, add_option, add_report, add_session, positive, positive_number
from upscale_onnx.cli.origin import origin_of
from upscale_onnx.cli.output import Output, complain
from upscale_onnx.errors import ModelError
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.options import TargetOptions
from upscale_onnx.results import Bench, Race, TimeProfile

if TYPE_CHECKING:
    import onnx

    from upscale_onnx.runtime import Device

SUMMARY = "time models in interleaved runs, and compare them with the first"

_BUDGET_S = 10.0
_ROUNDS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "models", metavar="a.onnx", nargs="+", help="the models; the others are compared with the first"
    )
    parser.add_argument(
        "--batch",
        type=positives,
        metavar="N[,N…]",
        help="batch sizes to race at, also for models that fix another size (default: the batch size of the models)",
    )
    parser.add_argument(
        "--threads",
        type=positives,
        default=(TargetOptions.threads,),
        metavar="N[,N…]",
        help=f"threads of each session; one race per number (default: {TargetOptions.threads})",
    )
    spent = "most seconds to spend on one race, all models together"
    add_option(parser, "--budget", positive_number, "S", _BUDGET_S, spent)
    add_option(parser, "--rounds", positive, "N", _ROUNDS, "most rounds of one race")
    parser.add_argument(
        "--operators", dest="profile", action="store_true", help="also show where the time goes, by operator type"
    )
    add_session(parser)
    parser.add_argument("--json", metavar="FILE", help="also write everything as JSON")
    parser.add_argument("--csv", metavar="FILE", help="also write one line per model and race as CSV")
    parser.add_argument("--plot", metavar="FILE", help="also draw the races (.png, .svg or .pdf; needs matplotlib)")
    add_report(parser)
    add_common(parser)


def positives(text: str) -> tuple[int, ...]:
    """Integers of at least 1, separated by commas; duplicates are dropped."""
    return tuple(dict.fromkeys(positive(part.strip()) for part in text.split(",")))


def run(args: argparse.Namespace, output: Output) -> int:
    """Race and report. Returns the exit code: 0 if every model ran in every race."""
    if args.plot is not None:
        from upscale_onnx.report.plot import check_plot

        check_plot(args.plot)
    if args.report is not None:
        from upscale_onnx.report.page.write import check_page

        check_page(args.report)
    from upscale_onnx.model import load_model
    from upscale_onnx.report.bench_rows import bench_tables
    from upscale_onnx.runtime import describe, resolve_provider

    provider = resolve_provider(args.provider)
    models = {name: load_model(path) for name, path in zip(_names(args.models), args.models, strict=True)}
    races: list[Race] = []
    profiles: list[TimeProfile] = []
    skipped: list[str] = []
    settings = [(batch, threads) for batch in args.batch or (None,) for threads in args.threads]
    with output.progress() as progress:
        for done, (batch, threads) in enumerate(settings):

            def told(share: float, name: str = _setting(batch, threads), done: int = done) -> None:
                progress(name, (done + share) / len(settings))

            told(0.0)
            fitting = _fitting(models, batch, skipped)
            race = _race(fitting, args, provider, batch, threads, skipped, told)
            if race is None:
                continue
            races.append(race)
            if args.profile or args.report is not None:
                profiles += _profiles(fitting, race, args.seed, provider)
    for line in dict.fromkeys(skipped):
        complain(f"upscale_onnx: error: {line}")
    code = ModelError.exit_code if skipped else 0
    if races:
        machine, lines = describe(provider, args.threads[0]), tuple(dict.fromkeys(skipped))
        bench = Bench(machine, tuple(races), tuple(profiles), lines, origin_of(args))
        with output.publishing(code) as files:
            _write(bench, args, output, files)
        output.tables(bench_tables(bench))
    return code


def _fitting(
    models: Mapping[str, onnx.ModelProto], batch: int | None, skipped: list[str]
) -> dict[str, onnx.ModelProto]:
    """The models with the batch size `batch`. For each that cannot have it, a message is added to `skipped`."""
    from upscale_onnx.model.batch import rebatch

    if batch is None:
        return dict(models)
    fitting = {}
    for name, model in models.items():
        try:
            fitting[name] = rebatch(model, batch)
        except ModelError as error:
            skipped.append(f"{name}: left out at batch {batch}: {error}")
    return fitting


def _race(
    models: Mapping[str, onnx.ModelProto],
    args: argparse.Namespace,
    provider: Device,
    batch: int | None,
    threads: int,
    skipped: list[str],
    told: Callable[[float], None],
) -> Race | None:
    """The race of all `models` that can be run; None if the first cannot, since all are compared with it.

    For each model that cannot be run, a message is added to `skipped`.
    """
    from upscale_onnx.runtime import race

    where = "" if batch is None else f"left out at batch {batch}: "
    first = _names(args.models)[0]
    if first not in models:
        return None
    try:
        return race(
            models,
            provider=provider,
            threads=threads,
            rounds=args.rounds,
            budget_s=args.budget,
            seed=args.seed,
            batch=batch,
            skip=lambda name, error: skipped.append(f"{name}: {where}{_reason(name, error)}"),
            told=told,
        )
    except ModelError as error:
        skipped.append(f"{first}: {where}{_reason(first, error)}")
        return None


def _profiles(models: Mapping[str, onnx.ModelProto], race: Race, seed: int, provider: Device) -> Iterator[TimeProfile]:
    """The profile of each model in `race`, with the batch size and threads of the race."""
    from upscale_onnx.runtime import operator_totals, profile_operators

    for timing in race.timings:
        model, threads, batch = models[timing.name], race.threads, race.batch
        times = profile_operators(model, provider=provider, threads=threads, seed=seed, batch=batch)
        yield TimeProfile(timing.name, operator_totals(times), race.provider, threads, batch)


def _write(bench: Bench, args: argparse.Namespace, output: Output, files: NewFiles) -> None:
    output.write_json(bench, args.json, files)
    if args.csv is not None:
        from upscale_onnx.report.csv import write_csv

        write_csv(bench.races, args.csv, files)
    if args.plot is not None:
        from upscale_onnx.report.plot import write_plot

        write_plot(bench, args.plot, files)
    if args.report is not None:
        from upscale_onnx.report.page.write import write_page

        write_page(bench, args.report, files)


def _setting(batch: int | None, threads: int) -> str:
    return f"threads {threads}" if batch is None else f"batch {batch}, threads {threads}"


def _reason(name: str, error: ModelError) -> str:
    """The text of the error, without the name of the model in front."""
    return str(error).removeprefix(f"{name}: ")


def _names(paths: Sequence[str]) -> list[str]:
    """A unique name per path. A path may be given twice, to see the noise of the measurement."""
    return [
        path if paths.index(path) == place else f"{path}#{paths[: place + 1].count(path)}"
        for place, path in enumerate(paths)
    ]
