"""A search on a cluster, by Ray Tune with OptunaSearch. The study is in the folder of the search, on this machine.

Source: Liaw et al., "Tune: A Research Platform for Distributed Model Selection and Training", 2018.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from upscale_onnx.errors import ArgumentError, ModelError, UpscaleError
from upscale_onnx.searching.cache import Memory, key_of
from upscale_onnx.searching.callbacks import Callbacks
from upscale_onnx.searching.engine import Proposer, Search, tell
from upscale_onnx.searching.journal import optuna
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.study import NAME, Study
from upscale_onnx.searching.trials import History, Proposal, Trial
from upscale_onnx.types import Progress

try:
    import ray
    from ray import tune
    from ray.tune.search import Searcher
    from ray.tune.search.optuna import OptunaSearch
except ImportError as missing:
    raise ArgumentError("a search on a cluster needs Ray: pip install 'upscale-onnx[search,ray]'") from missing

_ANSWER = 5.0  # seconds within which a cluster has to answer
_LOST = 10  # how often a trial is begun anew whose node is lost
_LOCAL = ("local", "auto")


def work_on_cluster(search: Search, study: Study, address: str, progress: Progress | None = None) -> None:
    """Make trials on the cluster at `address`, "host:port" or "auto", until there are enough. What a lost node was
    doing is done again on the others.

    Raises: ArgumentError where nobody answers at `address`. ModelError where a profile cannot be evaluated.
    """
    with connected(address):
        trainable = tune.with_parameters(_evaluate, search=search)
        threads = search.problem.subjects[0].space.options.target.threads
        source = _StudySearch(search, study, progress)
        while not source.is_over:
            found = tune.Tuner(
                tune.with_resources(trainable, {"cpu": threads}),
                tune_config=tune.TuneConfig(search_alg=source, num_samples=source.left, reuse_actors=True),
                run_config=tune.RunConfig(
                    name=f"search-{os.getpid()}-{time.monotonic_ns()}",
                    storage_path=str((search.folder / "ray").resolve()),
                    failure_config=tune.FailureConfig(max_failures=_LOST),
                    verbose=0,
                ),
            ).fit()
            if source.problem is not None:
                raise ModelError(source.problem)
            if found.errors:
                raise ModelError(f"a trial failed {_LOST + 1} times on the cluster: {found.errors[0]}")


class _StudySearch(OptunaSearch):
    """OptunaSearch on the study of a search. What it suggests is proposed as for processes of this machine."""

    def __init__(self, search: Search, study: Study, progress: Progress | None) -> None:
        names = list(search.goals.objectives)
        modes = ["max" if word == "maximize" else "min" for word in search.goals.directions]
        single = len(names) == 1
        super().__init__(
            study.space,
            metric=names[0] if single else names,
            mode=modes[0] if single else modes,
            sampler=optuna.samplers.RandomSampler(),  # never asked: shares are there before it could be
            study_name=NAME,
            storage=study.storage,
        )
        self._search, self._shared, self._progress = search, study, progress
        self._proposer, self._cache, self._began = Proposer(search, study), search.cache(), time.monotonic()
        self._trials: dict[str, Trial] = {}
        self._callbacks = Callbacks(search.plan.callbacks)
        self.problem: str | None = None

    @property
    def left(self) -> int:
        """How many trials are to be finished yet."""
        self._shared.update()
        return max(self._search.plan.trials - len(self._shared.history.finished), 0)

    @property
    def is_over(self) -> bool:
        """Whether no trial is begun any more."""
        seconds = self._search.plan.seconds
        is_late = seconds is not None and time.monotonic() - self._began >= seconds
        return is_late or self.problem is not None or not self.left

    def suggest(self, trial_id: str) -> Any:
        """The profile of the trial called `trial_id`."""
        if self.is_over:
            return Searcher.FINISHED
        with self._shared.turn() as history:
            tell(self._progress, len(history.finished), self._search.plan)
            full = len(history.finished) + len(history.running) >= self._search.plan.trials
            proposal = None if full and not self._shared.has_abandoned else self._proposer.propose()
            if proposal is None:
                return None
            trial = self._trials[trial_id] = self._shared.begin(proposal)
            front = [one.measured.as_json() for one in history.front if one.measured is not None]
        self._ot_trials[trial_id] = optuna.trial.Trial(cast(Any, self._ot_study), self._shared.identity(trial.number))
        super().suggest(trial_id)
        asked = {"shares": list(proposal.shares), "seed": proposal.seed, "whole": proposal.whole}
        return {"asked": json.dumps({**asked, "front": front, "known": self._known(proposal)})}

    def on_trial_result(self, trial_id: str, result: Any) -> None:
        """Nothing: a trial has one result, which comes with its end."""

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Take the result of a trial."""
        if trial_id not in self._trials:
            return
        told = json.loads((result or {}).get("told", "{}"))
        if "problem" in told:
            self.problem = self.problem or told["problem"]
            super().on_trial_complete(trial_id, None, error=True)
            return
        if "measured" not in told:
            super().on_trial_complete(trial_id, None, error=True)
            return
        for key, known in told["known"].items():
            self._cache.put(key, known)
        self._shared.note(self._trials[trial_id], Measured.from_json(told["measured"]), told["seconds"])
        super().on_trial_complete(trial_id, result, error=error)
        try:
            self._callbacks.tell(self._shared, self._trials[trial_id].number)
        except ArgumentError as error:
            self.problem = self.problem or str(error)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study holds all of it. Ray Tune would save it to go on by itself."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def _known(self, proposal: Proposal) -> dict[str, Any]:
        problem = self._search.problem
        keys = [
            key_of(subject.digest, subject.space.masks(proposal.shares, problem.choice, proposal.seed))
            for subject in problem.subjects
        ]
        return {key: known for key in keys if (known := self._cache.get(key)) is not None}


def _evaluate(config: dict[str, Any], search: Search) -> None:
    """Evaluate a profile, anywhere in the cluster."""
    asked, began = json.loads(config["asked"]), time.monotonic()
    history = History(search.goals)
    proposal = Proposal(tuple(asked["shares"]), "", asked["whole"], asked["seed"])
    for number, found in enumerate(asked["front"]):
        measured = Measured.from_json(found)
        history.end(Trial(number, Proposal(measured.kept, ""), "finished", measured))
    cache = Memory(asked["known"])
    try:
        measured = search.evaluate(proposal, history, cache)
    except UpscaleError as error:
        tune.report({**dict.fromkeys(search.goals.objectives, 0.0), "told": json.dumps({"problem": str(error)})})
        return
    told = {"measured": measured.as_json(), "known": cache.new, "seconds": time.monotonic() - began}
    values = dict(zip(search.goals.objectives, search.goals.values(measured), strict=True))
    tune.report({**values, "told": json.dumps(told)})


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """A context with a connection to the cluster at `address`, or with the one that there is.

    Raises: ArgumentError where nobody answers.
    """
    if ray.is_initialized():
        yield
        return
    _check_answer(address)
    try:
        # Nodes import this package from where this process does.
        paths = os.pathsep.join((str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")))
        env = {"env_vars": {"PYTHONPATH": paths.rstrip(os.pathsep)}}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=env)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answer(address: str) -> None:
    """Check that somebody listens there: Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address in _LOCAL:
        return
    if not colon or not port.isdecimal():
        raise ArgumentError(f"address {address!r}: give host:port of a Ray cluster, or auto")
    try:
        socket.create_connection((host, int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"no Ray cluster answers at {address}: start one, or leave out the address") from error
