"""Mask files: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from upscale_onnx.errors import ArgumentError
from upscale_onnx.masks.files import ChannelMask, read_masks


def _json(folder: Path, content: object) -> Path:
    path = folder / "mask.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_json_forms(tmp_path: Path) -> None:
    content = {
        "a": [1, 0, 1],
        "b": [True, False],
        "c": {"pruned": [2, 0]},
        "d": {"pruned": [1], "side": "output"},
        "e@input": {"kept": [0, 1]},
        "f@output": [1, 1],
        "user@host": [1],
    }
    assert read_masks(_json(tmp_path, content)) == (
        ChannelMask("a", kept=(True, False, True)),
        ChannelMask("b", kept=(True, False)),
        ChannelMask("c", pruned=(2, 0)),
        ChannelMask("d", pruned=(1,), side="output"),
        ChannelMask("e", kept=(False, True), side="input"),
        ChannelMask("f", kept=(True, True), side="output"),
        ChannelMask("user@host", kept=(True,)),
    )


def test_npz_takes_bools_and_integers(tmp_path: Path) -> None:
    path = tmp_path / "mask.npz"
    arrays: dict[str, Any] = {"net/conv.weight": np.array([True, False]), "fc@output": np.array([0, 1, 1])}
    np.savez(path, **arrays)
    assert read_masks(path) == (
        ChannelMask("net/conv.weight", kept=(True, False)),
        ChannelMask("fc", kept=(False, True, True), side="output"),
    )


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_names_of_any_kind_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    kept = {"file": [1, 0, 1], "allow_pickle@output": [0], "Größe/w:0@input": [1]}
    if suffix == ".json":
        path.write_text(json.dumps(kept), encoding="utf-8")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, entries in kept.items():  # numpy.savez takes names as keywords: "file" is one of its own
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.array(entries, np.bool_))
    assert read_masks(path) == (
        ChannelMask("file", kept=(True, False, True)),
        ChannelMask("allow_pickle", kept=(False,), side="output"),
        ChannelMask("Größe/w:0", kept=(True,), side="input"),
    )


def test_resolve() -> None:
    np.testing.assert_array_equal(ChannelMask("w", kept=(True, False)).resolve(2), [True, False])
    np.testing.assert_array_equal(ChannelMask("w", pruned=(2, 0, 2)).resolve(4), [False, True, False, True])
    with pytest.raises(ArgumentError, match="'w' has 2 entries for 3 channels"):
        ChannelMask("w", kept=(True, False)).resolve(3)
    with pytest.raises(ArgumentError, match="'w' prunes channel 3 of 3"):
        ChannelMask("w", pruned=(3,)).resolve(3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([1, 0], "not a JSON object"),
        ('{"w": [1], "w": [0]}', "'w' occurs twice"),
        ({"w": "101"}, "'w' is neither a list"),
        ({"w": 1}, "'w' is neither a list"),
        ({"w": [0, 2]}, "'w' is not a list of 0 and 1"),
        ({"w": [0.5]}, "'w' is not a list of 0 and 1"),
        ({"w": [None]}, "'w' is not a list of 0 and 1"),
        ({"w": {}}, "'w' needs one of"),
        ({"w": {"kept": [1], "pruned": [0]}}, "'w' needs one of"),
        ({"w": {"prune": [0]}}, "'w' is neither a list"),
        ({"w": {"pruned": [-1]}}, "'pruned' of 'w'"),
        ({"w": {"pruned": [True]}}, "'pruned' of 'w'"),
        ({"w": {"pruned": 3}}, "'pruned' of 'w'"),
        ({"w": {"pruned": [0], "side": "left"}}, "side 'left'"),
        ({"w": {"pruned": [0], "side": ["input"]}}, "side"),
        ({"w@input": {"pruned": [0], "side": "output"}}, "side 'output'"),
    ],
)
def test_malformed_json_is_refused_in_one_line(tmp_path: Path, content: object, complaint: str) -> None:
    path = _json(tmp_path, content)
    with pytest.raises(ArgumentError) as caught:
        read_masks(path)
    message = str(caught.value)
    assert complaint in message
    assert str(path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "array",
    [np.array([0.0, 1.0]), np.array([0, 2]), np.ones((2, 2, 2), bool), np.array(True), np.array(["a"])],
    ids=["float", "two", "three axes", "scalar", "text"],
)
def test_npz_entries_that_are_no_masks_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.savez(tmp_path / "m.npz", w=array)
    with pytest.raises(ArgumentError, match=r"m\.npz: 'w' is not one bool per channel"):
        read_masks(tmp_path / "m.npz")


def test_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.array([{}, None], dtype=object))
    with pytest.raises(ArgumentError, match="plain arrays"):
        read_masks(tmp_path / "m.npz")


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut short"])
def test_files_that_are_no_npz_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(ArgumentError, match=r"cannot be read as \.npz"):
        read_masks(tmp_path / "m.npz")


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ArgumentError, match="holds one array"):
        read_masks(tmp_path / "m.npz")


def test_missing_folder_and_suffix(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="No such file"):
        read_masks(tmp_path / "none.json")
    with pytest.raises(ArgumentError, match=r"ends in \.npz or \.json"):
        read_masks(tmp_path / "mask.txt")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ArgumentError, match="cannot read"):
        read_masks(tmp_path / "folder.json")


def test_a_row_for_each_matrix(tmp_path: Path) -> None:
    rows = np.array([[True, False, True], [False, True, True]])
    np.savez(tmp_path / "m.npz", w=rows)
    (tmp_path / "m.json").write_text('{"w": [[1, 0, 1], [0, 1, 1]], "v@output": {"pruned": [[1], []]}}')
    (stored,), (written, pruned) = read_masks(tmp_path / "m.npz"), read_masks(tmp_path / "m.json")
    assert stored == written
    np.testing.assert_array_equal(stored.resolve(3, 2), rows)
    assert pruned.side == "output"
    np.testing.assert_array_equal(pruned.resolve(2, 2), [[True, False], [True, True]])
    for mask, channels, matrices in ((stored, 3, 3), (stored, 3, 1), (stored, 4, 2), (pruned, 1, 2)):
        with pytest.raises(ArgumentError, match=r"rows|entries|prunes channel"):
            mask.resolve(channels, matrices)
