"""The equation of an Einsum."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_letters

from upscale_onnx.channels.op import Op
from upscale_onnx.channels.refused import Refused
from upscale_onnx.channels.rules.broadcast import operand_rank
from upscale_onnx.errors import Reason
from upscale_onnx.model.operators import STANDARD_DOMAINS

PRODUCT = "_product"
"""Stands behind the name of an equation's result in that of the product of matrices that the result is made of."""
_DOTS = "..."
_OPERANDS = 2


@dataclass(frozen=True)
class Equation:
    """A letter for each axis of each operand and of the result."""

    operands: tuple[str, ...]
    result: str


def equation_of(op: Op) -> Equation:
    """The equation in explicit form, with letters in place of dots. Raises `Refused` for diagonals, for repeated axes,
    and for dots that are summed over."""
    found = read_equation(op)
    if any(len(set(letters)) != len(letters) for letters in found.operands):
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {op.attrs.get('equation')} repeats letters")
    return found


def read_equation(op: Op) -> Equation:
    """As `equation_of`, where an operand may repeat letters: for a diagonal."""
    text = str(op.attrs.get("equation", ""))
    written, result = written_equation(text)
    ranks = [operand_rank(op, index) for index in range(len(op.present))]
    hidden = _hidden(text, written, ranks)
    if hidden and _DOTS not in result:
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {text} sums over dots")
    operands = tuple(
        own.replace(_DOTS, hidden[len(hidden) - (rank - len(own) + len(_DOTS)) :])
        for own, rank in zip(written, ranks, strict=False)
    )
    result = result.replace(_DOTS, hidden)
    if [len(letters) for letters in operands] != ranks or len(written) != len(ranks):
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {text} for operands of ranks {ranks}")
    if len(set(result)) != len(result) or set(result) - set("".join(operands)):
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {text} repeats letters")
    return Equation(operands, result)


def written_equation(text: str) -> tuple[list[str], str]:
    """The operands and the result as an equation writes them, with its dots. Where it has no result, this is what ONNX
    says: the dots, then the letters that stand there once, in the order of the alphabet."""
    left, arrow, result = text.replace(" ", "").partition("->")
    if not arrow:
        named = left.replace(_DOTS, "")
        once = sorted(letter for letter in set(named) - {","} if named.count(letter) == 1)
        result = "".join((_DOTS * (_DOTS in left), *once))
    return left.split(","), result


def _hidden(text: str, written: list[str], ranks: list[int]) -> str:
    """Letters for all axes that dots stand for, the last of which each operand has."""
    counts = [rank - len(own) + len(_DOTS) for own, rank in zip(written, ranks, strict=False) if _DOTS in own]
    free = [letter for letter in ascii_letters if letter not in text]
    if min(counts, default=0) < 0 or max(counts, default=0) > len(free):
        raise Refused(Reason.UNSUPPORTED_FORM, f"equation {text} for operands of ranks {ranks}")
    return "".join(free[: max(counts, default=0)])


def has_steps(op: Op) -> bool:
    """Whether an Einsum can be written as several simpler ones: it has more than two operands, an axis that one of two
    operands sums over by itself, or a diagonal of known size."""
    if op.op_type != "Einsum" or op.domain not in STANDARD_DOMAINS:
        return False
    try:
        equation = read_equation(op)
    except Refused:
        return False
    sizes: dict[str, object] = {}
    for letters, dims in zip(equation.operands, op.in_dims, strict=True):
        sizes.update(zip(letters, dims or (), strict=False))
    twice = [letter for own in equation.operands for letter in set(own) if own.count(letter) > 1]
    if twice:
        return all(isinstance(sizes.get(letter), int) for letter in twice)
    return len(equation.operands) > _OPERANDS or (
        len(equation.operands) == _OPERANDS
        and bool((set(equation.operands[0]) ^ set(equation.operands[1])) - set(equation.result))
    )


def plain_equation(op: Op) -> Equation | None:
    """The equation of an Einsum of two operands, or of a MatMul by a vector, that can be written as a product of
    matrices; None for other nodes. Every axis is one of the result, or is summed over in both operands; of axes that
    have to be merged, the sizes are known."""
    equation = _equation(op)
    if equation is None or any(op.in_dims[index] is None for index in range(len(op.present))):
        return None
    left, right = equation.operands
    if (set(left) ^ set(right)) - set(equation.result):
        return None
    inner = [letter for letter in left if letter not in equation.result]
    sizes = {
        letter
        for letters, dims in zip(equation.operands, op.in_dims, strict=True)
        for letter, size in zip(letters, dims or (), strict=True)
        if isinstance(size, int)
    }
    # A constant is the operand whose columns are merged.
    columns = set(left) - set(right) if op.is_constant(0) else set(right) - set(left)
    merged = {*(inner if len(inner) > 1 else ()), *(columns if len(columns) > 1 else ())}
    return equation if merged <= sizes else None


def _equation(op: Op) -> Equation | None:
    if op.op_type == "Einsum" and len(op.present) == _OPERANDS:
        try:
            return equation_of(op)
        except Refused:
            return None
    if op.op_type != "MatMul" or op.domain not in STANDARD_DOMAINS:
        return None
    left, right = (op.in_rank(index) or 0 for index in range(_OPERANDS))
    letters = ascii_letters[: max(left, right)]
    if right == 1 <= left:
        return Equation((letters, letters[-1]), letters[:-1])
    if left == 1 < right:
        return Equation((letters[-2], letters), letters[:-2] + letters[-1])
    return None
