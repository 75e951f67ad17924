"""The package as users get it: what an install puts where, and that no folder of theirs can shadow it."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "upscale_onnx", "passes", "tests", "models"]
MODEL = "models/digits_inception_masked.onnx"
WAYS: dict[str, list[str] | None] = {"ordinary": [], "editable": ["--editable"], "dependencies only": None}
"""Ways to get ready, by name: the options of the install; None installs nothing."""

WHERE = """
import importlib.util, upscale_onnx, upscale_onnx.passes.remove_channels as edit
print(upscale_onnx.__file__)
print(edit.__file__)
print(importlib.util.find_spec("passes"))
print(upscale_onnx.passes.__doc__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What the command prints; a failure shows both of its streams."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def clone(tmp_path: Path, *, bytecode: bool = False) -> Path:
    """A copy of this checkout, without the bytecode that Python keeps beside its sources if not asked for."""
    source = tmp_path / "source"
    source.mkdir()
    left_out = None if bytecode else shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=left_out)
        else:
            shutil.copy(ROOT / name, source / name)
    return source


def environment(tmp_path: Path) -> Path:
    """The python of a fresh environment that sees this one's libraries, but not this package."""
    home = tmp_path / "env"
    venv.create(home, symlinks=True, with_pip=False)
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    # An entry of sys.path alone: the .pth files over there, which may hold an editable install of this very package,
    # are not read.
    (Path(site) / "host_libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def pip(python: Path, *words: str | Path, cwd: Path) -> None:
    """Run this environment's pip for the one of `python`; nothing is fetched."""
    offline = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run(sys.executable, "-m", "pip", "--python", python, words[0], *offline, *words[1:], cwd=cwd)


Prepared = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Makes a fresh environment by one of the ways, once; its python, and the copy of this checkout."""

    @functools.cache
    def prepare(way: str) -> tuple[Path, Path]:
        home = tmp_path_factory.mktemp("prepared")
        source, python, options = clone(home, bytecode=True), environment(home), WAYS[way]
        if options is not None:
            pip(python, "install", "--no-compile", "--ignore-installed", *options, source, cwd=home)
        return python, source

    return prepare


def visitor(tmp_path: Path) -> Path:
    """A working directory with a package of its own called `passes`."""
    folder = tmp_path / "elsewhere"
    (folder / "passes").mkdir(parents=True)
    (folder / "passes" / "__init__.py").write_text('"""Mine."""\n', encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ordinary", "editable"])
def test_installed_package_is_found_from_anywhere(prepared: Prepared, tmp_path: Path, way: str) -> None:
    python, source = prepared(way)
    expected = source if way == "editable" else source.parent / "env"
    neutral = tmp_path / "neutral"
    neutral.mkdir()
    for cwd, passes_visible in [(neutral, False), (visitor(tmp_path), True)]:
        package, passes, top_level, doc = run(python, "-c", WHERE, cwd=cwd).splitlines()[:4]
        assert Path(package).is_relative_to(expected)
        assert Path(passes).is_relative_to(expected)
        assert (top_level != "None") == passes_visible, "a top-level module called passes was installed"
        assert doc != "Mine."


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_root_of_a_clone(prepared: Prepared, tmp_path: Path, way: str) -> None:
    """There, Python finds the clone's own folders first, whatever is installed."""
    python, source = prepared(way)
    package, passes, *_ = run(python, "-c", WHERE, cwd=source).splitlines()
    assert Path(package) == source / "upscale_onnx" / "__init__.py"
    assert Path(passes) == source / "passes" / "remove_channels.py"
    if way == "editable":  # like nothing at all, seen from the clone
        return
    run(python, "-m", "upscale_onnx", MODEL, tmp_path / "out.onnx", "--export", "keep", "-q", cwd=source)
    assert 0 < (tmp_path / "out.onnx").stat().st_size < (source / MODEL).stat().st_size


@pytest.mark.slow
def test_the_tests_of_a_clone_test_the_clone(prepared: Prepared) -> None:
    """Also where they start processes in other folders, and whatever else is installed."""
    python, source = prepared("ordinary")
    tests = (
        "tests/cli/test_command_line.py::test_version_is_the_packages",
        "tests/passes/test_determinism.py::test_two_processes[keep]",
    )
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cwd=source)
    assert "passed" in told
    assert "failed" not in told


@pytest.mark.slow
def test_a_wheel_holds_the_modules_and_nothing_else(tmp_path: Path) -> None:
    source = clone(tmp_path)
    stale = source / "build" / "lib" / "upscale_onnx" / "deleted_since.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("", encoding="utf-8")
    pip(Path(sys.executable), "wheel", "--wheel-dir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {path.relative_to(source) for path in (source / "upscale_onnx").rglob("*.py")}
    wanted |= {path.relative_to(source) for path in (source / "upscale_onnx" / "report" / "templates").iterdir()}
    wanted |= {Path("upscale_onnx") / path.relative_to(source) for path in (source / "passes").rglob("*.py")}
    # That one stands for passes/ in a checkout alone.
    wanted = wanted - {Path("upscale_onnx/passes.py")} | {Path("upscale_onnx/py.typed")}
    assert held == {path.as_posix() for path in wanted}


@pytest.mark.slow
def test_a_module_added_after_an_editable_install_is_found(prepared: Prepared, tmp_path: Path) -> None:
    python, source = prepared("editable")
    (source / "passes" / "added_later.py").write_text("ANSWER = 42\n", encoding="utf-8")
    told = run(python, "-c", "from upscale_onnx.passes.added_later import ANSWER; print(ANSWER)", cwd=tmp_path)
    assert told == "42\n"


def test_every_folder_with_modules_is_a_package() -> None:
    """A folder without __init__.py is left out of ordinary installs without a word."""
    for tree in (ROOT / "upscale_onnx", ROOT / "passes"):
        folders = {path.parent for path in tree.rglob("*.py")}
        assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
