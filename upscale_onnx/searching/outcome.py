"""What a search has come to: its best profiles, beside those by rule and the unpruned model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from upscale_onnx.candidates.candidate import Candidate
from upscale_onnx.measures.measure import Measure
from upscale_onnx.runtime.bench import race
from upscale_onnx.searching.engine import Search
from upscale_onnx.searching.measured import Measured
from upscale_onnx.searching.study import Study
from upscale_onnx.searching.trials import History, Shares, Trial
from upscale_onnx.types import Progress

UNPRUNED = "unpruned"
_LEADERS = 5  # of a search with one objective
_MOST_RACED = 8
_RACE_SECONDS = 10.0


@dataclass(frozen=True)
class Finalist:
    """A profile in the end. judged: its accuracy, or distance, on data that the search has not seen. raced: its
    latency, as a share of the unpruned model's, measured in a race."""

    name: str
    source: str
    shares: Shares
    seed: int
    measured: Measured
    judged: float | None = None
    raced: float | None = None


@dataclass(frozen=True)
class Outcome:
    """trials: all that are finished, by number. front: the five best; with several objectives, those than which none is
    better. rules: the best among profiles by rule, or those among them than which none is better."""

    trials: tuple[Trial, ...]
    front: tuple[Finalist, ...]
    rules: tuple[Finalist, ...]
    unpruned: Finalist


@dataclass(eq=False)
class Ending:
    """The end of a search. judges: a measure for each network, on data that the search has not seen."""

    search: Search
    study: Study
    judges: Sequence[Measure] = ()
    progress: Progress | None = None
    _made: dict[str, list[Candidate]] = field(default_factory=dict)
    _final: dict[str, list[onnx.ModelProto]] = field(default_factory=dict)

    def outcome(self) -> Outcome:
        """Judge and race the best profiles."""
        self.study.update()
        history = self.study.history
        by_rule = History(history.goals)
        ruled = {source for source, _ in self.study.starts}
        for trial in history.finished:
            if trial.proposal.source in ruled:
                by_rule.end(trial)
        best = self._finalists(history.leaders(_LEADERS))
        raced = self._raced(best) if "latency" in history.goals.names else {}
        judged = [_with(one, self._judged(one), raced.get(one.name)) for one in best]
        known = {one.name: one for one in judged}
        rules = [known.get(one.name) or _with(one, self._judged(one), None) for one in self._finalists(by_rule.front)]
        problem = self.search.problem
        plain = Finalist(UNPRUNED, UNPRUNED, (1.0,) * problem.decisions, 0, problem.unpruned)
        baseline = float(np.mean([judge.baseline for judge in self.judges])) if self.judges else None
        trials = tuple(sorted(history.finished, key=lambda trial: trial.number))
        plain = _with(plain, baseline, 1.0 if raced else None)
        return Outcome(trials, tuple(judged), tuple(rules), plain)

    def candidates(self, one: Finalist) -> list[Candidate]:
        """The candidate of each network under a profile."""
        if one.name not in self._made:
            problem = self.search.problem
            self._made[one.name] = [
                subject.space.candidate(one.shares, problem.choice, one.seed) for subject in problem.subjects
            ]
        return self._made[one.name]

    def models(self, one: Finalist) -> list[onnx.ModelProto]:
        """The model of each network under a profile, trained where that is asked for."""
        if one.name not in self._final:
            pairs = zip(self.search.problem.subjects, self.candidates(one), strict=True)
            self._final[one.name] = [subject.final(candidate) for subject, candidate in pairs]
        return self._final[one.name]

    def _judged(self, one: Finalist) -> float | None:
        if not self.judges:
            return None
        self._tell(f"judge {one.name}")
        return float(np.mean([judge.value(model) for judge, model in zip(self.judges, self.models(one), strict=True)]))

    def _raced(self, finalists: Sequence[Finalist]) -> Mapping[str, float]:
        """The measured latencies of the first finalists, means over networks."""
        chosen = finalists[:_MOST_RACED]
        if not chosen:
            return {}
        self._tell("race")
        ratios: dict[str, list[float]] = {}
        for number, subject in enumerate(self.search.problem.subjects):
            target = subject.space.options.target
            models = {one.name: self.models(one)[number] for one in chosen}
            found = race(
                {UNPRUNED: subject.space.model, **models},
                provider="cuda" if target.provider == "cuda" else "cpu",
                threads=target.threads,
                batch=target.batch,
                seed=self.search.plan.seed,
                budget_s=_RACE_SECONDS,
            )
            for timing in found.timings:
                ratios.setdefault(timing.name, []).append(timing.ratio)
        return {name: float(np.mean(values)) for name, values in ratios.items()}

    def _finalists(self, trials: Sequence[Trial]) -> list[Finalist]:
        return [
            Finalist(
                f"{trial.number:03d}",
                trial.proposal.source,
                trial.proposal.shares,
                trial.proposal.seed,
                trial.measured,
            )
            for trial in trials
            if trial.measured is not None
        ]

    def _tell(self, stage: str) -> None:
        if self.progress is not None:
            self.progress(stage, 1.0)


def _with(one: Finalist, judged: float | None, raced: float | None) -> Finalist:
    return Finalist(one.name, one.source, one.shares, one.seed, one.measured, judged, raced)
