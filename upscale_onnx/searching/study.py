"""The study of a search: an optuna study in a folder, which any number of processes share.

A process takes turns with the others to begin trials. What it does between its turns, nobody waits for. A trial is
running while the process that began it lives; then it is taken up by another one.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.appending import exclusive
from upscale_onnx.files.publish import write_errors
from upscale_onnx.searching.goals import Goals
from upscale_onnx.searching.journal import open_journal, optuna
from upscale_onnx.searching.locking import Living, is_alive
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.trials import History, Proposal, Shares, Trial

NAME = "search"
_CONSTRAINTS = "constraints"  # where samplers of optuna look for violations
_STATE = optuna.trial.TrialState
Starts = Sequence[tuple[str, Shares]]


class Study:
    """The study in `folder`. history: all trials, as they were at the last turn."""

    def __init__(
        self,
        folder: Path,
        decisions: int,
        goals: Goals,
        settings: Mapping[str, str],
        starts: Callable[[], Starts] = tuple,
    ) -> None:
        """Open the study, or make it. settings: whatever decides about results, by the word for it. starts: makes
        profiles to begin with, once for each study.

        Raises: ArgumentError where the folder holds another search, or cannot be written to.
        """
        with write_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._living = Living(folder / "running")
        self.folder, self.history = folder, History(goals)
        self._seen, self._pending = 0, set[int]()
        self.space = space_of(decisions)
        try:
            self._open(settings, starts)
        except BaseException:
            self.close()
            raise

    def _open(self, settings: Mapping[str, str], starts: Callable[[], Starts]) -> None:
        with self.turn(update=False):
            self.storage = _opened(self.folder)
            if not self.storage.get_all_studies():
                words = self.history.goals.directions
                self.storage.create_new_study([optuna.study.StudyDirection[word.upper()] for word in words], NAME)
            self._id = self.storage.get_study_id_from_name(NAME)
            attrs = self.storage.get_study_user_attrs(self._id)
            if "settings" not in attrs:
                made = [[source, list(shares)] for source, shares in starts()]
                self.storage.set_study_user_attr(self._id, "starts", made)
                self.storage.set_study_user_attr(self._id, "settings", dict(settings))
                attrs = self.storage.get_study_user_attrs(self._id)
            _check(self.folder, attrs["settings"], settings)
            self.starts: Starts = [(source, tuple(shares)) for source, shares in attrs["starts"]]

    @contextlib.contextmanager
    def turn(self, update: bool = True) -> Iterator[History]:
        """A context in which no other process begins a trial. It yields the history."""
        with write_errors(self.folder), exclusive(self.folder / "turn.lock"):
            if update:
                self.update()
            yield self.history

    def update(self) -> None:
        """Bring the history up to date."""
        found = self.storage.get_all_trials(self._id, deepcopy=False)
        numbers = [*sorted(self._pending), *range(self._seen, len(found))]
        self._seen = len(found)
        for number in numbers:
            trial = _trial(found[number])
            self._pending.discard(number)
            self.history.running.pop(number, None)
            if trial.state == "running":
                self._pending.add(number)
                self.history.running[number] = trial
            elif trial.state == "finished":
                self.history.end(trial)

    def begin(self, proposal: Proposal) -> Trial:
        """Begin a trial. Only in a turn."""
        template = optuna.trial.create_trial(
            state=_STATE.RUNNING,
            params=dict(zip(self.space, proposal.shares, strict=True)),
            distributions=self.space,
            user_attrs=attributes(proposal, self.token),
            system_attrs=dict(proposal.notes),
        )
        number = self.storage.get_trial_number_from_id(self.storage.create_new_trial(self._id, template))
        self.update()
        return self.history.running[number]

    @property
    def count(self) -> int:
        """How many trials were begun so far."""
        return self._seen

    @property
    def has_abandoned(self) -> bool:
        """Whether the process of a running trial has ended."""
        return any(not self._is_alive(number) for number in self.history.running)

    def abandoned(self) -> Trial | None:
        """A trial whose process has ended, which is failed now, so that its profile can be tried again. Only in a
        turn."""
        for trial in self.history.running.values():
            if not self._is_alive(trial.number):
                self.storage.set_trial_state_values(self.identity(trial.number), _STATE.FAIL)
                self.update()
                return trial
        return None

    def finish(self, trial: Trial, measured: Measured, seconds: float) -> None:
        """Say what a trial has come to. Of another process's, that was given up too early, nothing is said."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.note(trial, measured, seconds)
            values = self.history.goals.values(measured)
            self.storage.set_trial_state_values(self.identity(trial.number), _STATE.COMPLETE, values)

    def note(self, trial: Trial, measured: Measured, seconds: float) -> None:
        """Write down what is known of a trial before it is finished."""
        identity, goals = self.identity(trial.number), self.history.goals
        result = {"seconds": round(seconds, 3), "measured": measured.as_json()}
        self.storage.set_trial_user_attr(identity, "result", result)
        if goals.constraints:
            self.storage.set_trial_system_attr(identity, _CONSTRAINTS, goals.violations(measured))

    def fail(self, trial: Trial) -> None:
        """Give a trial up."""
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_state_values(self.identity(trial.number), _STATE.FAIL)

    @property
    def token(self) -> str:
        """The name of this process in trials."""
        return self._living.token

    def close(self) -> None:
        """Give up what this process began; others may take it up."""
        self._living.close()

    def _is_alive(self, number: int) -> bool:
        token = self.storage.get_trial(self.identity(number)).user_attrs.get("process", "")
        return is_alive(self.folder / "running", token)

    def identity(self, number: int) -> int:
        """The number by which optuna's storage knows a trial."""
        return int(self.storage.get_trial_id_from_study_id_trial_number(self._id, number))


def space_of(decisions: int) -> dict[str, Any]:
    """The distribution of each share, by its name in the study."""
    return {f"share{number:03d}": optuna.distributions.FloatDistribution(0.0, 1.0) for number in range(decisions)}


def attributes(proposal: Proposal, token: str) -> dict[str, Any]:
    """What a trial of the study holds beside its shares."""
    return {"source": proposal.source, "seed": proposal.seed, "whole": proposal.whole, "process": token}


def _trial(found: Any) -> Trial:
    attrs = found.user_attrs
    shares = tuple(found.params[name] for name in sorted(found.params))
    proposal = Proposal(
        shares, attrs.get("source", ""), attrs.get("whole", False), attrs.get("seed", 0), found.system_attrs
    )
    if found.state == _STATE.COMPLETE:
        result = attrs["result"]
        return Trial(found.number, proposal, "finished", Measured.from_json(result["measured"]), result["seconds"])
    return Trial(found.number, proposal, "running" if found.state == _STATE.RUNNING else "failed")


def _opened(folder: Path) -> Any:
    path = folder / "study.journal"
    try:
        with path.open("rb") as file:
            is_ours = "op_code" in json.loads(file.readline() or b'{"op_code": 0}')
    except FileNotFoundError:
        is_ours = True
    except ValueError:
        is_ours = False
    if not is_ours:
        raise ArgumentError(f"{path}: is no journal of a search: choose another folder")
    return open_journal(path)


def _check(folder: Path, before: Mapping[str, str], settings: Mapping[str, str]) -> None:
    different = [name for name in settings if before.get(name) != settings[name]]
    if different:
        raise ArgumentError(f"{folder}: holds a search of another {different[0]}: choose another folder")
