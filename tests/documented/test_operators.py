"""The table of operators says what the rules do."""

from __future__ import annotations

import re
from pathlib import Path

from upscale_onnx.channels.registry import registered
from upscale_onnx.model.bodies import DOMAIN, ENTRY

DOCUMENT = Path(__file__).parents[2] / "docs" / "coverage.md"
ROW = re.compile(r"^\| (?:(?P<domain>[\w.]+):)?(?P<name>\w+) \| (?P<how>.+) \|$", re.MULTILINE)


def rows() -> dict[tuple[str, str], str]:
    text = DOCUMENT.read_text().split("<!-- operators -->")[1].split("<!-- end of operators -->")[0]
    found = {(row["domain"] or "", row["name"]): row["how"] for row in ROW.finditer(text)}
    found.pop(("", "operator"))
    return found


def test_operators_with_a_rule_are_those_that_are_not_left_alone() -> None:
    followed = {key for key, how in rows().items() if not how.startswith("left alone: ")}
    ruled = {("" if domain == DOMAIN else domain, name) for domain, name, _, _ in registered()}
    assert followed == {(domain, name) for domain, name in ruled if not name.endswith(ENTRY)}


def test_every_operator_of_onnx_is_there() -> None:
    from onnx import defs

    known = {schema.name for schema in defs.get_all_schemas_with_history() if schema.domain == ""}
    assert known <= {name for domain, name in rows() if not domain}
