"""The table of rules: which rule applies to an operator at an opset."""

from __future__ import annotations

from upscale_onnx.channels.flow import Rule

_NEWEST = 1 << 30
_RULES: dict[tuple[str, str], list[tuple[int, int, Rule]]] = {}


def register(rule: Rule, *op_types: str, domain: str = "", since: int = 1, until: int = _NEWEST) -> None:
    """Register `rule` for these operators, from opset `since` up to, but not including, `until`.

    Raises:
        ValueError: a rule is already registered for one of them in that interval.
    """
    for op_type in op_types:
        entries = _RULES.setdefault((domain, op_type), [])
        if any(since < end and start < until for start, end, _ in entries):
            raise ValueError(f"{domain or 'ai.onnx'}:{op_type} is registered twice for opset {since}")
        entries.append((since, until, rule))


def rule_for(domain: str, op_type: str, opset: int) -> Rule | None:
    """The rule for an operator at `opset`; None where there is none."""
    for since, until, rule in _RULES.get(("" if domain == "ai.onnx" else domain, op_type), ()):
        if since <= opset < until:
            return rule
    return None


def registered() -> tuple[tuple[str, str, int, int], ...]:
    """Every registration as `(domain, op_type, since, until)`, sorted."""
    return tuple(
        sorted((domain, op, since, until) for (domain, op), rows in _RULES.items() for since, until, _ in rows)
    )
