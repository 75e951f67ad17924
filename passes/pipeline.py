"""Pipelines: passes in the order in which they run, and passes of a user's own among them.

    with adding(MyPass(), before=RemoveChannels):
        result = upscale_onnx.compile("model.onnx")

`MyPass` is a `Pass`: see `contract`. What `str` says of a pipeline is what runs.
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

# Every round makes an edit that none of the next takes back; two or three are usual.
_MOST_ROUNDS = 1000
_checking: ContextVar[bool] = ContextVar("checking", default=False)
_added: ContextVar[tuple[tuple[Pass, type[Pass]], ...]] = ContextVar("added", default=())


@dataclass(frozen=True)
class Pipeline:
    """Passes, and pipelines within this one. repeats: whether they run again until none of them edits anything."""

    passes: tuple[Pass | Pipeline, ...]
    repeats: bool = False

    def run(self, rewrite: Rewrite) -> int:
        """Run all passes; returns how many edits they made.

        Raises:
            NotSettledError: there is no end to it.
        """
        if not self.repeats:
            return self._once(rewrite)
        before = rewrite.done.edits
        fixpoint(lambda: self._once(rewrite) > 0, _MOST_ROUNDS, "the passes")
        return rewrite.done.edits - before

    def _once(self, rewrite: Rewrite) -> int:
        return sum(item.run(rewrite) if isinstance(item, Pipeline) else apply(item, rewrite) for item in self.passes)

    def before(self, *kinds: type[Pass]) -> Pipeline:
        """What runs before the first pass of one of these types; all where there is none."""
        stop = next((n for n, item in enumerate(self.passes) if isinstance(item, kinds)), len(self.passes))
        return replace(self, passes=self.passes[:stop])

    def inserted(self, extra: Pass, before: type[Pass]) -> Pipeline:
        """This pipeline with `extra` in front of the first pass of the type `before`; itself where there is none."""
        for place, item in enumerate(self.passes):
            inner = item.inserted(extra, before) if isinstance(item, Pipeline) else item
            new = (extra, item) if isinstance(item, before) else (inner,)
            if new != (item,):
                return replace(self, passes=(*self.passes[:place], *new, *self.passes[place + 1 :]))
        return self

    def __str__(self) -> str:
        """A line for each pass: its name, and what it is for."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        if self.repeats:
            yield "until nothing changes:"
        for item in self.passes:
            lines = item._lines() if isinstance(item, Pipeline) else (f"{type(item).__name__}: {item.purpose}",)
            yield from (f"  {line}" if self.repeats else line for line in lines)


def apply(item: Pass, rewrite: Rewrite) -> int:
    """Run one pass; returns how many edits it made.

    Raises:
        InternalError: something is not as it should be before or after the pass, in a context of `checking`.
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
    """A context in which all passes are held to what they require and ensure."""
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
    """`pipeline` with the passes that are added in this context."""
    for extra, before in _added.get():
        pipeline = pipeline.inserted(extra, before)
    return pipeline
