"""Notes about models of which no amount can take much."""

from __future__ import annotations

import numpy as np
import pytest

import upscale_onnx
from tests.graphs import parse, weight
from upscale_onnx.racing.notes import mostly_tables

LOOKED_UP = """(int64[N,5] x) => (float[N,5,4] y) {
    e = Gather(table, x)
    h = MatMul(e, w)
    y = MatMul(h, v)
}"""


@pytest.mark.parametrize(("rows", "said"), [(100, "71%"), (10, None)])
def test_most_parameters_are_in_tables(rows: int, said: str | None) -> None:
    # Beside the table of 16 columns there are 16 * 32 and 32 * 4 parameters.
    model = parse(LOOKED_UP, table=weight(rows, 16), w=weight(16, 32), v=weight(32, 4))
    found = mostly_tables(model)
    assert [note.split()[0] for note in found] == ([said] if said else [])
    report = upscale_onnx.compile(model, amount=0.3, race=False).report
    assert found == tuple(note for note in report.notes if "tables" in note)
    assert not any("tables" in note for note in upscale_onnx.compile(model, race=False).report.notes)


def test_a_table_in_a_constant_node_counts() -> None:
    table = f"table = Constant<value = float[2,16] {{{', '.join(['1.0'] * 32)}}}>()"
    text = LOOKED_UP.replace("e = ", f"{table} e = ")
    assert not mostly_tables(parse(text, w=weight(16, 32), v=weight(32, 4)))
    assert mostly_tables(parse(text, w=weight(16, 1), v=np.ones((1, 4), np.float32)))
