"""The images that accuracy.py calibrates on and judges by, and the files that it keeps its results in."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from upscale_onnx.errors import ArgumentError
from upscale_onnx.files.publish import write_whole
from upscale_onnx.measures.accuracy import Preprocessing, evaluate
from upscale_onnx.measures.labelled_images import open_images

Row = dict[str, str]


@dataclass(frozen=True)
class Data:
    """Images drawn for one network. calibration, labelled: what the network takes, without labels and with them;
    test: images and labels to judge by. All are paths of .npz files."""

    calibration: Path
    labelled: Path
    test: Path
    preprocessing: Preprocessing

    def top1(self, model: onnx.ModelProto, threads: int) -> float:
        """Top-1 accuracy of `model` in percent."""
        return 100 * evaluate(model, self.test, self.preprocessing, threads=threads).top1


def draw(
    model: onnx.ModelProto, train: Path, test: Path, folder: Path, preprocessing: Preprocessing, *,
    calibrate: int, judge: int, seed: int,
) -> Data:  # fmt: skip
    """Draw `calibrate` images of `train` and `judge` of `test`, and write them to `folder`.

    Where both are one file, half of its images calibrate and the other half judges.

    Raises: ArgumentError when a file cannot be read.
    """
    rng = np.random.default_rng(seed)
    sources = [open_images(path, preprocessing.size) for path in (train, test)]
    order = rng.permutation(sources[0].labels.size)
    if train.resolve() == test.resolve():
        orders = [order[: order.size // 2], order[order.size // 2 :]]
    else:
        orders = [order, rng.permutation(sources[1].labels.size)]
    fits, judges = orders[0][:calibrate], orders[1][:judge]
    data = Data(folder / "calibration.npz", folder / "labelled.npz", folder / "test.npz", preprocessing)
    inputs: dict[str, NDArray[Any]] = {
        model.graph.input[0].name: preprocessing.apply(np.concatenate([sources[0].read(i, i + 1) for i in fits]))
    }
    np.savez(data.calibration, **inputs)  # type: ignore[arg-type]  # its stub takes an option for an array
    np.savez(data.labelled, y=sources[0].labels[fits], **inputs)  # type: ignore[arg-type]
    images = np.concatenate([sources[1].read(i, i + 1) for i in judges])
    np.savez(data.test, x=images, y=sources[1].labels[judges])
    return data


class Results:
    """Rows of a CSV file under `columns`; the values of `key` tell rows apart. What the file holds is kept."""

    def __init__(self, path: Path, key: Sequence[str], measured: Sequence[str]) -> None:
        self._path, self._key = path, tuple(key)
        self._columns = (*key, *measured)
        self.rows = read_rows([path]) if path.exists() else []
        if self.rows and tuple(self.rows[0]) != self._columns:
            raise ArgumentError(f"{path}: has other columns than {', '.join(self._columns)}: name a new file")
        self._known = {self._of(row) for row in self.rows}

    def has(self, row: Mapping[str, object]) -> bool:
        """Whether there is a row with the key of `row`."""
        return self._of(row) in self._known

    def add(self, row: Mapping[str, object]) -> None:
        """Add `row` and write the file anew."""
        self.rows.append({name: str(row[name]) for name in self._columns})
        self._known.add(self._of(row))
        text = io.StringIO()
        writer = csv.DictWriter(text, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_whole(text.getvalue().encode(), self._path)

    def forget(self, unwanted: Callable[[Row], bool]) -> int:
        """Measure `unwanted` rows again: leave them out from now on; how many there were."""
        before = len(self.rows)
        self.rows = [row for row in self.rows if not unwanted(row)]
        self._known = {self._of(row) for row in self.rows}
        return before - len(self.rows)

    def _of(self, row: Mapping[str, object]) -> tuple[str, ...]:
        return tuple(str(row[name]) for name in self._key)


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of CSV files, one file after the other.

    Raises: ArgumentError when one cannot be read.
    """
    rows: list[Row] = []
    for path in paths:
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows += csv.DictReader(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ArgumentError(f"{path}: cannot be read: {error}") from error
    return rows
