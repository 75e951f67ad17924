"""Pipelines: what they print is what runs, passes keep to their contracts, and users add passes of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import onnx
import pytest

import upscale_onnx
from tests.graphs import check, indices, parse, weight
from tests.passes.apply import begun
from tests.passes.test_determinism import MODEL
from upscale_onnx.errors import InternalError, NotSettledError
from upscale_onnx.export.export import make
from upscale_onnx.export.pipeline import pipeline_of
from upscale_onnx.export.recipes import Making, recipes
from upscale_onnx.model import export_graph, infer_shapes
from upscale_onnx.model.fixpoint import fixpoint
from upscale_onnx.passes import pipeline as pipelines
from upscale_onnx.passes.changes import Changes
from upscale_onnx.passes.contract import Pass
from upscale_onnx.passes.fold_constants import FoldConstants
from upscale_onnx.passes.merge_selections import NO_EXCESS, MergeSelections
from upscale_onnx.passes.pipeline import Pipeline, adding, apply, checking
from upscale_onnx.passes.properties import SORTED, UNAMBIGUOUS, WHOLE
from upscale_onnx.passes.remove_channels import RemoveChannels
from upscale_onnx.passes.remove_unread import ALL_READ
from upscale_onnx.passes.rewrite import Rewrite
from upscale_onnx.passes.store_weights import STORED
from upscale_onnx.plan.plan import settled_plan

RECIPES = recipes(4)
SPLITS = replace(RECIPES["planned"], splits=True)
DIGITS = Path(__file__).resolve().parents[2] / "models" / "digits_inception_masked.onnx"


def test_a_pipeline_prints_a_line_for_each_pass() -> None:
    lines = str(pipeline_of(Making(SPLITS), frozenset({"w"}))).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "HoldWeights",
        "until nothing changes",
        "  OpenSequences",
        "  PlainEquations",
        "  PlainProducts",
        "  AbsorbShuffles",
        "  AbsorbPixelShuffles",
        "  AbsorbPads",
        "  FoldConstants",
        "  MergeSelections",
        "  OpenStacks",
        "  RemoveUnread",
        "MergeConstants",
        "RestoreOutputs",
        "NarrowProducers",
        "SplitProducers",
        "RemoveUnread",
        "SelectChannels",
        "RemoveUnread",
        "RemoveChannels",
        "CloseOpenings",
        "MergeSelections",
        "ScalarInputs",
        "RemoveUnread",
        "StoreWeights",
    ]
    assert lines[19] == f"RemoveChannels: {RemoveChannels.purpose}"
    keep = str(pipeline_of(Making(RECIPES["keep"])))
    assert "SelectChannels" not in keep
    assert "HoldWeights" not in keep


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_printed_is_what_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def noted(item: Pass, rewrite: Rewrite) -> int:
        ran.append(type(item).__name__)
        return apply(item, rewrite)

    monkeypatch.setattr(pipelines, "apply", noted)
    make(RECIPES[name], MODEL, infer_shapes(MODEL))
    lines = str(pipeline_of(Making(RECIPES[name]))).splitlines()
    listed = [line.split(":")[0] for line in lines]
    repeated = [line.strip() for line in listed if line.startswith("  ")]
    rest = [line for line in listed[1:] if not line.startswith("  ")]
    rounds = (len(ran) - len(rest)) // len(repeated)
    assert rounds > 0
    assert ran == repeated * rounds + rest


@pytest.mark.parametrize("name", RECIPES)
def test_every_pass_by_itself_leaves_an_equal_model(name: str) -> None:
    rewrite = begun(MODEL)
    for item in pipeline_of(Making(RECIPES[name])).passes:
        Pipeline((item,)).run(rewrite)
        # Exporting takes the values of the graph's constants over: later passes read them where they are then.
        check(MODEL, export_graph(rewrite.graph, MODEL, rewrite.done.shapes))


def test_a_pass_without_edits_leaves_the_model_as_it_is_and_keeps_the_analysis() -> None:
    model = parse("(float[1,3,4,4] x) => (float[1,2,4,4] y) { y = Conv(x, w) }", w=weight(2, 3, 1, 1))
    rewrite = begun(model)
    known = rewrite.analysis
    assert pipeline_of(Making(RECIPES["upscale"])).before(RemoveChannels).run(rewrite) == 0
    assert rewrite.analysis is known
    assert export_graph(rewrite.graph, model, rewrite.done.shapes) == model


SUM = parse(
    """(float[1,3,4,4] x) => (float[1,2,4,4] y) {
        a = Conv(x, w1)
        s = Slice(a, zero, two, one)
        t = Slice(a, zero, two, one)
        b = Add(s, t)
        y = Relu(b)
    }""",
    w1=weight(3, 3, 1, 1),
    zero=indices(0),
    one=indices(1),
    two=indices(2),
)


def test_properties_tell_what_speaks_against_them() -> None:
    rewrite = begun(SUM)
    nodes = {node.name: node for node in rewrite.graph.nodes}
    for known in (SORTED, UNAMBIGUOUS, WHOLE, ALL_READ, STORED):
        assert known.problem(rewrite) == "", known.name
    assert NO_EXCESS.problem(rewrite) == "selection 't' takes everything, or is equal to another"
    rewrite.graph.nodes = [nodes["b"], nodes["a"], nodes["s"], nodes["t"], nodes["y"]]
    assert SORTED.problem(rewrite) == "node 'b' reads 's', which a later node computes"
    nodes["t"].outputs[0].name = "s"
    assert UNAMBIGUOUS.problem(rewrite) == "two values are called 's'"
    nodes["y"].inputs[0] = nodes["a"].outputs[0]
    assert ALL_READ.problem(rewrite) == "no output depends on node 'b'"
    rewrite.record(Changes(1, {"a": None}))
    assert WHOLE.problem(rewrite) == "'a' has lost channels"


def test_constants_that_a_pass_made_are_not_stored_yet() -> None:
    rewrite = begun(MODEL)
    Pipeline((RemoveChannels(lambda now: settled_plan(now.analysis)),)).run(rewrite)
    assert STORED.problem(rewrite).endswith("is not stored as the model stores its weights")


@dataclass(frozen=True)
class ReluToAbs(Pass):
    """Replaces Relu by Abs, which is wrong, or is told to break something."""

    purpose: ClassVar = "what was negative becomes positive"
    behind: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit the graph."""
        found = [node for node in rewrite.graph.nodes if node.op == "Relu"]
        for node in found:
            node.op = "Abs"
            self.seen.append(node.outputs[0].name)
        if self.behind:
            rewrite.graph.nodes = rewrite.graph.nodes[::-1]
        return Changes(len(found), replaced=frozenset(node.outputs[0].name for node in found))


@pytest.mark.parametrize("before", [FoldConstants, RemoveChannels])
def test_a_pass_of_a_users_own_edits_the_compiled_model(before: type[Pass]) -> None:
    extra = ReluToAbs()
    plain = upscale_onnx.compile(DIGITS, race=False, verify=False, export="keep").model
    with adding(extra, before=before):
        assert f"ReluToAbs: {extra.purpose}" in str(pipeline_of(Making(RECIPES["keep"])))
        changed = upscale_onnx.compile(DIGITS, race=False, verify=False, export="keep").model
    assert extra.seen
    assert [node.op_type.replace("Relu", "Abs") for node in plain.graph.node] == [
        node.op_type for node in changed.graph.node
    ]
    assert not any(node.op_type == "Relu" for node in changed.graph.node)
    assert "ReluToAbs" not in str(pipeline_of(Making(RECIPES["keep"])))
    again = upscale_onnx.compile(DIGITS, race=False, verify=False, export="keep").model
    assert again == plain


def test_a_wrong_pass_of_a_users_own_is_not_shown_equal() -> None:
    with (
        adding(ReluToAbs(), before=RemoveChannels),
        pytest.raises(upscale_onnx.NotEquivalentError, match="not equal to its input"),
    ):
        upscale_onnx.compile(DIGITS, race=False, export="keep")


def test_a_pass_that_breaks_the_graph_is_named() -> None:
    with checking(), pytest.raises(InternalError, match=r"after ReluToAbs it does not hold that every node stands"):
        Pipeline((ReluToAbs(behind=True),)).run(begun(SUM))


def test_a_pass_in_the_wrong_place_is_named() -> None:
    wrong = Pipeline((RemoveChannels(lambda now: settled_plan(now.analysis)), FoldConstants()))
    with checking(), pytest.raises(InternalError, match="before FoldConstants it does not hold that every value holds"):
        wrong.run(begun(MODEL))


def test_where_passes_are_inserted() -> None:
    extra = ReluToAbs()
    inner = Pipeline((FoldConstants(), MergeSelections()), repeats=True)
    whole = Pipeline((inner, MergeSelections()))
    expected = Pipeline((FoldConstants(), extra, MergeSelections()), repeats=True)
    assert whole.inserted(extra, MergeSelections) == Pipeline((expected, MergeSelections()))
    assert whole.inserted(extra, RemoveChannels) is whole


@dataclass(frozen=True)
class Restless(Pass):
    """Always has something to do."""

    purpose: ClassVar = "none"

    def __call__(self, rewrite: Rewrite) -> Changes:
        """Edit nothing, and say otherwise."""
        return Changes(1)


def test_what_does_not_settle_is_an_error_of_ours() -> None:
    with pytest.raises(NotSettledError, match="the passes did not settle"):
        Pipeline((Restless(),), repeats=True).run(begun(SUM))
    assert issubclass(NotSettledError, InternalError)


def test_a_fixpoint_is_reached_within_its_bound() -> None:
    left = [3]

    def step() -> bool:
        left[0] -= 1
        return left[0] > 0

    fixpoint(step, 3, "it")
    assert left == [0]
    left[0] = 4
    with pytest.raises(NotSettledError, match="it did not settle within 3 rounds"):
        fixpoint(step, 3, "it")


def test_a_model_with_nodes_that_nobody_reads() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.node.append(onnx.helper.make_node("Relu", [model.graph.node[0].output[0]], ["nobody"], name="nobody"))
    for recipe in RECIPES.values():
        after = make(recipe, model, infer_shapes(model))
        check(model, after)
        assert "nobody" not in {node.name for node in after.graph.node}
