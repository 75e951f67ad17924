"""The architecture, read from the source: who may import whom, and how long a module may be."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest

from upscale_onnx.options import Options
from upscale_onnx.options.options import option_name
from upscale_onnx.options.overrides import Overrides

ROOT = Path(__file__).resolve().parents[1]
LONGEST = 250

# What each part of the package imports of the others: no more, and no less. Above them all stand the package itself
# and __main__.
LAYERS = {
    "errors": set(),
    "results": {"errors"},
    "files": {"errors"},
    "worker": {"errors"},
    "model": {"errors", "files", "results", "worker"},
    "channels": {"errors", "model", "results"},
    "segments": {"channels", "errors", "results"},
    "costs": {"channels", "errors", "files", "model", "results"},
    "options": {"errors"},
    "masks": {"channels", "costs", "errors", "files", "model", "options", "results", "segments"},
    "runtime": {"errors", "files", "model", "results", "worker"},
    "torch_backend": {"errors", "model"},
    "timing": {"costs", "errors", "model", "options", "results", "runtime"},
    "order": {"errors"},
    "plan": {"channels", "costs", "errors", "model", "order", "results"},
    "passes": {"channels", "errors", "model", "plan"},
    "export": {"channels", "costs", "model", "options", "passes", "plan", "results", "timing", "worker"},
    "measures": {"errors", "model", "options", "results", "runtime"},
    "repair": {"channels", "errors", "masks", "model", "runtime", "torch_backend"},
    "pruning": {
        "channels",
        "costs",
        "errors",
        "export",
        "masks",
        "measures",
        "model",
        "options",
        "plan",
        "repair",
        "runtime",
        "timing",
        "torch_backend",
    },
    "training": {
        "channels",
        "errors",
        "files",
        "masks",
        "measures",
        "model",
        "options",
        "pipeline",
        "pruning",
        "results",
        "runtime",
        "sensitivity",
        "torch_backend",
    },
    "candidates": {
        "channels",
        "errors",
        "export",
        "masks",
        "model",
        "options",
        "pruning",
        "results",
        "runtime",
        "timing",
    },
    "proof": {"errors", "files", "model", "options", "results", "runtime", "worker"},
    "racing": {
        "channels",
        "costs",
        "errors",
        "export",
        "masks",
        "model",
        "options",
        "plan",
        "proof",
        "pruning",
        "results",
        "runtime",
        "segments",
        "timing",
    },
    "pipeline": {
        "channels",
        "errors",
        "masks",
        "measures",
        "model",
        "options",
        "pruning",
        "racing",
        "results",
        "runtime",
        "segments",
        "timing",
        "worker",
    },
    "integrations": {"errors", "options", "pipeline"},
    "gate": {"errors", "model", "options", "pipeline", "results"},
    "compat": {
        "channels",
        "errors",
        "masks",
        "model",
        "options",
        "pipeline",
        "pruning",
        "results",
        "runtime",
        "segments",
    },
    "condensa": {
        "errors",
        "masks",
        "measures",
        "model",
        "options",
        "pipeline",
        "runtime",
        "torch_backend",
        "training",
        "unstructured",
    },
    "report": {"errors", "files", "results"},
    "searching": {
        "candidates",
        "costs",
        "errors",
        "files",
        "masks",
        "measures",
        "model",
        "options",
        "reinforce",
        "results",
        "runtime",
        "timing",
        "torch_backend",
        "training",
    },
    "experiments": {"candidates", "errors", "files", "masks", "measures", "options"},
    "reinforce": {
        "candidates",
        "errors",
        "files",
        "masks",
        "measures",
        "model",
        "pruning",
        "runtime",
        "torch_backend",
    },
    "unstructured": {"errors", "files", "masks", "model", "options", "results"},
    "sensitivity": {"errors", "masks", "measures", "model", "options", "pruning", "results", "runtime"},
    "paper": {
        "compat",
        "errors",
        "files",
        "measures",
        "model",
        "options",
        "pipeline",
        "pruning",
        "results",
        "runtime",
        "training",
    },
    "cli": {
        "costs",
        "errors",
        "experiments",
        "files",
        "gate",
        "masks",
        "measures",
        "model",
        "options",
        "paper",
        "pipeline",
        "proof",
        "pruning",
        "report",
        "results",
        "runtime",
        "searching",
        "sensitivity",
        "timing",
        "training",
        "unstructured",
        "worker",
    },
}
# The version, and names of types: every part may use them.
SHARED = {"", "types"}
# A result asks the report how it looks, once it is printed. Nothing else may look upward.
UPWARD = {"upscale_onnx.results.shown": {"upscale_onnx.report.summary"}}
# Libraries that only these parts of the package may import, wherever in a module.
CONFINED = {
    "onnxruntime": {"runtime"},
    "rich": {"report", "cli"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "argparse": {"cli"},
    "torch": {"compat", "reinforce", "torch_backend", "training"},
    "gymnasium": {"reinforce"},
    "stable_baselines3": {"reinforce"},
    "ray": {"reinforce", "searching"},
    "optuna": {"searching"},
    "olive": {"integrations"},
    "onnx_graphsurgeon": {"model", "passes"},
}
ARRAYS_ONLY = ("upscale_onnx.order", "upscale_onnx.masks.criteria")


@cache
def modules() -> dict[str, Path]:
    """Every module of the installed package, by name."""
    found = {}
    for folder, package in ((ROOT / "upscale_onnx", ("upscale_onnx",)), (ROOT / "passes", ("upscale_onnx", "passes"))):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((*package, *(part for part in parts if part != "__init__")))] = path
    return found


@cache
def imports(name: str, inside_functions: bool = True) -> tuple[str, ...]:
    """The full names that a module imports: modules, or names in them."""
    return tuple(_imports(name, inside_functions))


def _imports(name: str, inside_functions: bool) -> Iterator[str]:
    pending: list[ast.AST] = [ast.parse(modules()[name].read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def layer(name: str) -> str:
    """The part of the package that a module or a name in it belongs to; "" for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else ""


def own(name: str, inside_functions: bool = True) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for target in imports(name, inside_functions):
        if target.split(".")[0] == "upscale_onnx":
            found.add(target if target in modules() else target.rpartition(".")[0])
    return found - UPWARD.get(name, set())


def test_the_tree_is_read() -> None:
    assert {"upscale_onnx", "upscale_onnx.pipeline", "upscale_onnx.passes.remove_channels"} <= modules().keys()
    assert "upscale_onnx.model.edit" in own("upscale_onnx.model")


def test_every_module_is_in_a_part() -> None:
    assert {layer(name) for name in modules()} == set(LAYERS) | SHARED | {"__main__"}


@pytest.mark.parametrize("part", LAYERS)
def test_dependencies_are_those_that_are_declared(part: str) -> None:
    used = {layer(target) for name in modules() if layer(name) == part for target in own(name)}
    assert used - {part} - SHARED == LAYERS[part]


def test_what_is_said_to_look_upward_does() -> None:
    for name, targets in UPWARD.items():
        assert targets <= {target.rpartition(".")[0] for target in imports(name)} - {
            target.rpartition(".")[0] for target in imports(name, inside_functions=False)
        }


def test_layers_are_in_an_order() -> None:
    assert set(graphlib.TopologicalSorter(LAYERS).static_order()) == set(LAYERS)


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {name: own(name, inside_functions=False) - {name} for name in modules()}
    # A package is imported with each of its modules and may import them itself.
    graph = {name: {t for t in targets if not name.startswith(f"{t}.")} for name, targets in graph.items()}
    graphlib.TopologicalSorter(graph).prepare()


def test_only_the_command_line_knows_the_command_line() -> None:
    for name in modules():
        if name != "upscale_onnx.__main__" and layer(name) != "cli":
            assert not {target for target in own(name) if layer(target) == "cli"}, name


def test_reports_are_not_needed_to_compile() -> None:
    for name in modules():
        if layer(name) not in ("report", "cli"):
            assert not {target for target in own(name) if layer(target) == "report"}, name


@pytest.mark.parametrize("library", CONFINED)
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    users = {layer(name) for name in modules() if library in {target.split(".")[0] for target in imports(name)}}
    assert users <= CONFINED[library]


def test_orders_and_criteria_know_arrays_only() -> None:
    for name in modules():
        if name.startswith(ARRAYS_ONLY):
            libraries = {target.split(".")[0] for target in imports(name)} - set(sys.stdlib_module_names)
            assert libraries <= {"numpy", "scipy", "upscale_onnx"}, name
            assert {layer(target) for target in own(name)} <= {"errors", "types", layer(name)}, name


def test_no_module_is_long() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules().items()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


def test_every_option_is_an_argument_of_compile() -> None:
    hints = {}
    for group in get_type_hints(Options).values():
        known = get_type_hints(group)
        hints.update({option_name(part): known[part.name] for part in fields(group)})
    assert get_type_hints(Overrides) == hints


SLOW = {
    "onnx",
    "onnx_graphsurgeon",
    "onnxruntime",
    "scipy",
    "rich",
    "torch",
    "matplotlib",
    "jinja2",
    "openvino",
    "optuna",
}


# A compile that prunes nothing, and what it needs nothing of.
_MODEL = str(ROOT / "models" / "digits_cnet_masked.onnx")
_PLAIN_COMPILE = f"import upscale_onnx; upscale_onnx.compile({_MODEL!r}, race=False, verify=False, export='keep')"
_PRUNING = {"upscale_onnx.pruning.prune", "upscale_onnx.repair", "upscale_onnx.measures", "upscale_onnx.torch_backend"}


@pytest.mark.parametrize(
    ("script", "needless"),
    [
        ("import upscale_onnx", {*SLOW, "numpy"}),
        ("from upscale_onnx.cli import main; main(['--help'])", SLOW),
        ("import upscale_onnx.results; print(upscale_onnx.results.Accuracy(1.0, 1.0, 2))", SLOW),
        ("import upscale_onnx; upscale_onnx.compile", {"onnxruntime", "scipy.optimize", "torch"}),
        (_PLAIN_COMPILE, {"onnxruntime", "scipy.optimize", "torch", *_PRUNING}),
    ],
)
def test_what_is_slow_to_import_is_imported_when_it_is_needed(script: str, needless: set[str]) -> None:
    told = f"import sys; {script}; print(*sys.modules, file=sys.stderr)"
    run = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    loaded = set(run.stderr.split())
    assert "upscale_onnx" in loaded
    assert not needless & loaded
