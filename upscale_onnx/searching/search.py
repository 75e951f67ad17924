"""The entry to searches: from models and data to the best profiles."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import onnx

from upscale_onnx.files.appending import exclusive
from upscale_onnx.files.publish import NewFiles
from upscale_onnx.measures.accuracy import Preprocessing
from upscale_onnx.model import Model, load_model
from upscale_onnx.options import Options
from upscale_onnx.options.calls import Sharing, options_of
from upscale_onnx.results import Front
from upscale_onnx.searching.commands import write_profiles
from upscale_onnx.searching.front import front_of
from upscale_onnx.searching.outcome import Ending, Outcome
from upscale_onnx.searching.settings import Searching
from upscale_onnx.searching.setup import Asked
from upscale_onnx.searching.workers import work_together
from upscale_onnx.training.settings import Training
from upscale_onnx.types import Data, Progress

if TYPE_CHECKING:
    from typing_extensions import Unpack


def search(
    models: Model | Sequence[Model],
    folder: str | os.PathLike[str],
    data: Data | None = None,
    settings: Searching | None = None,
    preprocessing: Preprocessing | None = None,
    options: Options | None = None,
    *,
    judge: Data | None = None,
    train: Data | None = None,
    training: Training | None = None,
    progress: Progress | None = None,
    **overrides: Unpack[Sharing],
) -> Front:
    """Search for profiles: the shares of their channels that layers keep.

    models: the unpruned model; of several networks of one architecture, means count.
    folder: keeps the trials, from which the same search goes on, and gets the profiles of the front as files.
    data: labelled images, as for `evaluate`, to measure accuracy on. None compares outputs on the calibration data.
    settings: what is searched for, and how.
    judge: labelled images that the search has not seen, to judge the front on.
    train, training: data, and how every profile that is tried is trained on them; both or none.
    options, overrides: how channels are chosen under a profile, what latencies are predicted for, and where models run.

    Raises:
        ArgumentError: an argument cannot be used, optuna is missing, or the folder holds another search.
        ModelError: a model cannot be read or run.
        ProviderError: there is no such device.

    >>> import tempfile, upscale_onnx
    >>> model, data = "models/digits_cnet_masked.onnx", "models/digits_test.npz"
    >>> settings = upscale_onnx.Searching(constraints=("params<=0.3",), strategy="random", trials=1, limit=16)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     front = upscale_onnx.search(model, folder, data, settings)
    >>> front.trials
    1
    """
    given = [models] if isinstance(models, str | os.PathLike | onnx.ModelProto) else list(models)
    asked = Asked(
        [load_model(model) for model in given],
        folder,
        settings or Searching(),
        options_of(Sharing, options, overrides),
        data,
        judge,
        train,
        training,
        preprocessing,
    )
    with ended(asked, progress or (lambda stage, share: None)) as (ending, found):
        files = NewFiles()
        try:
            commands = write_profiles(ending, found.front, names_of(given), files)
            files.publish()
        finally:
            files.discard()
        return front_of(ending, found, commands)


@contextlib.contextmanager
def ended(asked: Asked, progress: Progress) -> Iterator[tuple[Ending, Outcome]]:
    """A context in which the search is over, and no other process writes its results."""
    progress("baseline", 0.0)
    search, judges, settings = asked.search(), asked.judges(), asked.settings
    study = search.open()
    try:
        if settings.address is None:
            work_together(search, study, settings.workers, progress)
        else:
            from upscale_onnx.searching.cluster import work_on_cluster

            work_on_cluster(search, study, settings.address, progress)
        with exclusive(search.folder / "results.lock"):
            ending = Ending(search, study, judges, progress)
            yield ending, ending.outcome()
    finally:
        study.close()


def names_of(models: Sequence[Model]) -> list[str]:
    """What commands call the models: their paths. Those without one are called in.onnx, or in1.onnx and so on."""
    several = len(models) > 1
    return [
        f"in{place if several else ''}.onnx" if isinstance(model, onnx.ModelProto) else os.fspath(model)
        for place, model in enumerate(models, 1)
    ]
