"""A training in a folder: its settings, its curve, and how far it has come. It is started again without a flag.

settings.json says what is learned on what, curve.csv has a row for each iteration. What the learner saves is its own
(`ppo`, `rllib`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from upscale_onnx.candidates.keeping import Choice
from upscale_onnx.candidates.structures import described
from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import NewFiles, write_errors, write_whole
from upscale_onnx.reinforce.networks import Network
from upscale_onnx.reinforce.rewards import Reward, first_share
from upscale_onnx.types import Progress

MEASURES = ("reward", "compression", "accuracy")
COLUMNS = (
    "iteration",
    "episodes",
    "seconds",
    *(f"{name}_{part}" for name in MEASURES for part in ("mean", "min", "max")),
)
Row = Mapping[str, float]

_SETTINGS, _CURVE = "settings.json", "curve.csv"


@dataclass(frozen=True)
class Settings:
    """How a policy is trained. What the source does not give is the default of PPO's authors and of its libraries.

    iterations: updates of the policy, in all. episodes: between two updates. choice: how channels are chosen; the
    source draws each by itself. seed: of everything random. learning_rate: three times that of PPO's libraries, since
    episodes are few. deviation: the standard deviation, at first, of actions; shares have half of it. fit: profiles
    are judged as they are when scaled to the compression that the reward aims at. The others are PPO's own.
    """

    iterations: int = 50
    episodes: int = 16
    choice: Choice = "bernoulli"
    seed: int = 0
    learning_rate: float = 1e-3
    epochs: int = 10
    minibatch: int = 64
    discount: float = 0.99
    smoothing: float = 0.95
    clip: float = 0.2
    deviation: float = 0.2
    fit: bool = False

    def __post_init__(self) -> None:
        if min(self.iterations, self.episodes, self.epochs, self.minibatch) < 1:
            raise ArgumentError("iterations, episodes, epochs and minibatch are numbers of at least 1")


@dataclass(eq=False)
class Run:
    """A training in `folder`. decisions: in words, of the networks that it learns on. rows: the curve so far."""

    folder: Path
    decisions: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str],
        networks: Sequence[Network],
        reward: Reward,
        settings: Settings,
        **more: Any,
    ) -> Run:
        """The run in `folder`, which is made where it does not exist. more: settings of the learner.

        Raises: ArgumentError where another training is in it, or it cannot be written.
        """
        path = Path(folder)
        asked = {name: value for name, value in asdict(settings).items() if name != "iterations"}
        decisions = described(networks[0].space)
        known = {
            "decisions": decisions,
            "networks": [_digest(network) for network in networks],
            "reward": _described(reward),
            "start": first_share(reward),
        }
        content = {**known, **asked, **more}
        with write_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        if not (path / _SETTINGS).exists():
            write_whole((json.dumps(content, indent=1) + "\n").encode(), path / _SETTINGS)
        # A setting that a training does not name is younger than it, and had its default then.
        before = {**asdict(Settings()), **settings_of(path)}
        del before["iterations"]
        different = sorted(name for name in content.keys() | before.keys() if content.get(name) != before.get(name))
        if different:
            raise ArgumentError(f"{path}: holds a training of another {different[0]}: choose another folder")
        return cls(path, tuple(decisions), _rows(path / _CURVE))

    def add(self, found: Sequence[Mapping[str, float]], files: NewFiles) -> None:
        """Add a row about the episodes `found`, and write the curve with `files`."""
        row: dict[str, float] = {"iteration": len(self.rows) + 1, "episodes": len(found)}
        row["seconds"] = round(self._seconds(), 3)
        for name in MEASURES:
            values = [float(one[name]) for one in found]
            row |= {f"{name}_mean": float(np.mean(values)), f"{name}_min": min(values), f"{name}_max": max(values)}
        self.rows.append(row)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        files.write(self.folder / _CURVE, [stream.getvalue().encode()])

    def begin(self, done: int) -> None:
        """Go on behind iteration `done`: rows that a killed process wrote without its policy are dropped.

        Raises: ArgumentError where the curve does not reach that far.
        """
        if len(self.rows) < done:
            raise ArgumentError(
                f"{self.folder / _CURVE}: lacks iterations that the policy has had: begin anew elsewhere"
            )
        del self.rows[done:]
        self._began = time.monotonic() - (self.rows[-1]["seconds"] if self.rows else 0.0)

    def tell(self, progress: Progress | None, iterations: int) -> None:
        """Call `progress` with the iteration that follows, the time left, and the share that is done."""
        if progress is None:
            return
        done = len(self.rows)
        left = f", {self._seconds() / done * (iterations - done):.0f} s left" if done else ""
        progress(f"ppo: iteration {min(done + 1, iterations)} of {iterations}{left}", done / iterations)

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def settings_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings of the training in `folder`, and under "decisions", in words, those of its networks.

    Raises: ArgumentError where there is no training.
    """
    path = Path(folder) / _SETTINGS
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{folder}: holds no training ({_SETTINGS} cannot be read)") from error
    if not isinstance(found, dict) or not {"decisions", "deviation", "start"} <= found.keys():
        raise ArgumentError(f"{folder}: holds no training ({_SETTINGS} is of something else)")
    return found


def _rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    try:
        with path.open(newline="") as file:
            rows = [{name: float(row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
            return [{**row, **{name: int(row[name]) for name in COLUMNS[:2]}} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArgumentError(f"{path}: is not the curve of a training: choose another folder") from error


def _described(value: object) -> str:
    """`value` in words that are the same in every process: without places in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _digest(network: Network) -> str:
    """A hash of a network's model, options and labelled images."""
    found = hashlib.sha256(network.space.model.SerializeToString(deterministic=True))
    found.update(_described(network.space.options).encode())
    for inputs, labels in network.measure.batches:
        for array in (*inputs.values(), labels):
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()[:16]
