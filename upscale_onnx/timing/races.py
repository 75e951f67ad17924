"""Races of models that are given by their paths or as they are, at several batch sizes and numbers of threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import onnx

from upscale_onnx.errors import ArgumentError, ModelError
from upscale_onnx.model import Model, load_model
from upscale_onnx.model.batch import rebatch
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Racing, options_of
from upscale_onnx.options.checking import check_value
from upscale_onnx.options.ranges import POSITIVE, POSITIVE_NUMBER
from upscale_onnx.results import Bench, Race, TimeProfile
from upscale_onnx.types import Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from upscale_onnx.runtime.providers import Device

Setting = tuple[int | None, int]
"""A batch size, None for that of the models, and a number of threads."""


def race(
    models: Sequence[Model] | Mapping[str, Model],
    options: Options | None = None,
    *,
    settings: Sequence[Setting] = (),
    rounds: int = 100,
    budget_s: float = 10.0,
    operators: bool = False,
    progress: Progress | None = None,
    **overrides: Unpack[Racing],
) -> Bench:
    """Time models in interleaved runs, and compare them with the first.

    models: in an order, or by name. Those without a name are called by their path, or by their place.
    settings: pairs of a batch size (None: that of the models) and a number of threads, one race each. Without any,
        there is one race, at the batch size and the threads of the options.
    rounds, budget_s: the most rounds of one race, and the most seconds of it.
    operators: whether each model is also profiled by operator type.
    options, overrides: provider, threads, batch and seed.

    A model other than the first that cannot be run is left out of the race, and named in `skipped` of the result.

    Raises:
        ArgumentError: an option cannot be used, or there is no model.
        ModelError: a model cannot be read, or the first cannot be run in any race.
        ProviderError: there is no such device.

    >>> import upscale_onnx
    >>> model = "models/digits_cnet_masked.onnx"
    >>> bench = upscale_onnx.race({"one": model, "same": model}, rounds=7, budget_s=0.1)
    >>> [timing.name for timing in bench.races[0].timings]
    ['one', 'same']
    """
    check_value("rounds", rounds, Annotated[int, POSITIVE])
    check_value("budget_s", budget_s, Annotated[float, POSITIVE_NUMBER])
    check_value("settings", settings, tuple[tuple[Annotated[int, POSITIVE] | None, Annotated[int, POSITIVE]], ...])
    if not models:
        raise ArgumentError("nothing to race: give at least one model")
    wanted = options_of(Racing, options, overrides).target
    from upscale_onnx.runtime.providers import describe, resolve_provider

    provider = resolve_provider(wanted.provider)
    named = {name: load_model(model) for name, model in _named(models).items()}
    races = _Races(named, provider, rounds, budget_s, wanted.seed)
    chosen = tuple(settings) or ((wanted.batch, wanted.threads),)
    profiles: list[TimeProfile] = []
    found: list[Race] = []
    for done, (batch, threads) in enumerate(chosen):
        told = _teller(progress, (batch, threads), done, len(chosen))
        told(0.0)
        fitting = races.fitting(batch)
        one = races.race(fitting, batch, threads, told)
        if one is not None:
            found.append(one)
            profiles += races.profiles(fitting, one) if operators else ()
    skipped = tuple(dict.fromkeys(races.skipped))
    if not found:
        raise ModelError("; ".join(skipped))
    return Bench(describe(provider, chosen[0][1]), tuple(found), tuple(profiles), skipped)


@dataclass(frozen=True)
class _Races:
    """Races of the same models. skipped: a message for each model that was left out of one."""

    models: Mapping[str, onnx.ModelProto]
    provider: Device
    rounds: int
    budget_s: float
    seed: int
    skipped: list[str] = field(default_factory=list)

    def fitting(self, batch: int | None) -> dict[str, onnx.ModelProto]:
        """The models with the batch size `batch`. Those that cannot have it are skipped."""
        if batch is None:
            return dict(self.models)
        fitting = {}
        for name, model in self.models.items():
            try:
                fitting[name] = rebatch(model, batch)
            except ModelError as error:
                self.skipped.append(f"{name}: left out at batch {batch}: {error}")
        return fitting

    def race(
        self,
        models: Mapping[str, onnx.ModelProto],
        batch: int | None,
        threads: int,
        told: Callable[[float], None],
    ) -> Race | None:
        """The race of all `models` that can be run; None if the first cannot, since all are compared with it."""
        from upscale_onnx.runtime.bench import race as run_race

        first = next(iter(self.models))
        if first not in models:
            return None

        def skip(name: str, error: ModelError) -> None:
            where = "" if batch is None else f"left out at batch {batch}: "
            self.skipped.append(f"{name}: {where}{str(error).removeprefix(f'{name}: ')}")

        try:
            return run_race(
                models,
                provider=self.provider,
                threads=threads,
                rounds=self.rounds,
                budget_s=self.budget_s,
                seed=self.seed,
                batch=batch,
                skip=skip,
                told=told,
            )
        except ModelError as error:
            skip(first, error)
            return None

    def profiles(self, models: Mapping[str, onnx.ModelProto], race: Race) -> Iterator[TimeProfile]:
        """The profile of each model in `race`, with the batch size and threads of the race."""
        from upscale_onnx.runtime.profile import operator_totals, profile_operators

        for timing in race.timings:
            model, threads, batch = models[timing.name], race.threads, race.batch
            times = profile_operators(model, provider=self.provider, threads=threads, seed=self.seed, batch=batch)
            yield TimeProfile(timing.name, operator_totals(times), race.provider, threads, batch)


def _named(models: Sequence[Model] | Mapping[str, Model]) -> dict[str, Model]:
    """The models by unique names. One may be given twice, to see the noise of the measurement."""
    if isinstance(models, Mapping):
        return dict(models)
    names = [
        f"model {place}" if isinstance(model, onnx.ModelProto) else os.fspath(model)
        for place, model in enumerate(models, 1)
    ]
    counts = [names[: place + 1].count(name) for place, name in enumerate(names)]
    unique = [name if count == 1 else f"{name}#{count}" for name, count in zip(names, counts, strict=True)]
    return dict(zip(unique, models, strict=True))


def _teller(progress: Progress | None, setting: Setting, done: int, count: int) -> Callable[[float], None]:
    """A function that tells the share, 0 to 1, of one of `count` races that is over; `done` races are."""
    batch, threads = setting
    words = f"threads {threads}" if batch is None else f"batch {batch}, threads {threads}"

    def told(share: float) -> None:
        if progress is not None:
            progress(words, (done + share) / count)

    return told
