"""Pipelines: passes in the order in which they run, with a user's own passes among them.

    with adding(MyPass(), before=RemoveChannels):
        result = upscale_onnx.compile("model.onnx")

`MyPass` is a `Pass`: see `contract`. `str` of a pipeline lists the passes that run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from upscale_onnx.errors import InternalError
from upscale_onnx.model.fixpoint import fixpoint
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.properties import SOUND
from upscale_onnx.passes.rewrite import Rewrite

# Every round makes an edit that no later round takes back; two or three rounds are usual.
_MOST_ROUNDS = 1000
_checking: ContextVar[bool] = ContextVar("checking", default=False)
_added: ContextVar[tuple[tuple[Pass, type[Pass]], ...]] = ContextVar("added", default=())


@dataclass(frozen=True)
class Pipeline:
    """Passes and nested pipelines, in order. repeats: whether they run again until none of them edits anything."""

    passes: tuple[Pass | Pipeline, ...]
    repeats: bool = False

    def run(self, rewrite: Rewrite) -> int:
        """Run all passes. Returns the number of their edits.

        Raises:
            NotSettledError: repeated passes still make edits after the largest number of rounds.
        """
        if not self.repeats:
            return self._once(rewrite)
        before = rewrite.done.edits
        fixpoint(lambda: self._once(rewrite) > 0, _MOST_ROUNDS, "the passes")
        return rewrite.done.edits - before

    def _once(self, rewrite: Rewrite) -> int:
        return sum(item.run(rewrite) if isinstance(item, Pipeline) else apply(item, rewrite) for item in self.passes)

    def before(self, *kinds: type[Pass]) -> Pipeline:
        """The part of this pipeline in front of the first pass of one of these types; all of it where there is none."""
        stop = next((n for n, item in enumerate(self.passes) if isinstance(item, kinds)), len(self.passes))
        return replace(self, passes=self.passes[:stop])

    def inserted(self, extra: Pass, before: type[Pass]) -> Pipeline:
        """This pipeline with `extra` in front of the first pass of the type `before`; unchanged where there is none."""
        for place, item in enumerate(self.passes):
            inner = item.inserted(extra, before) if isinstance(item, Pipeline) else item
            new = (extra, item) if isinstance(item, before) else (inner,)
            if new != (item,):
                return replace(self, passes=(*self.passes[:place], *new, *self.passes[place + 1 :]))
        return self

    def __str__(self) -> str:
        """One line per pass: its name and its purpose."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.repeats:
            yield "until nothing changes:"
        for item in self.passes:
            lines = item._lines() if isinstance(item, Pipeline) else (f"{type(item).__name__}: {item.purpose}",)
            yield from (f"  {line}" if self.repeats else line for line in lines)


def apply(item: Pass, rewrite: Rewrite) -> int:
    """Run one pass. Returns the number of its edits.

    Raises:
        InternalError: in a context of `checking`, a property that the pass requires or ensures does not hold.
    """
    _check(item, "before", rewrite)
    changes = item(rewrite)
    rewrite.record(changes)
    _check(item, "after", rewrite)
    return changes.edits


def _check(item: Pass, when: str, rewrite: Rewrite) -> None:
    if not _checking.get():
        return
    for known in (*SOUND, *(item.requires if when == "before" else item.ensures)):
        problem = known.problem(rewrite)
        if problem:
            raise InternalError(f"{when} {type(item).__name__} it does not hold that {known.name}: {problem}")


@contextmanager
def checking() -> Iterator[None]:
    """A context in which the properties that passes require and ensure are checked."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


@contextmanager
def adding(extra: Pass, *, before: type[Pass]) -> Iterator[None]:
    """A context in which every export runs `extra` in front of its first pass of the type `before`."""
    token = _added.set((*_added.get(), (extra, before)))
    try:
        yield
    finally:
        _added.reset(token)


def with_added(pipeline: Pipeline) -> Pipeline:
    """`pipeline` with the passes that the current context adds."""
    for extra, before in _added.get():
        pipeline = pipeline.inserted(extra, before)
    return pipeline
