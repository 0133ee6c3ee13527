"""Conditions over the attributes of spans: comparisons with `and`, `or` and `not`."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from assay.domain.expressions import ExpressionError, read_expression

FILTER_CHARS_MAX = 2_000
TERMS_MAX = 100
ALLOWED = (
    "may have attributes, texts, numbers, lists of them, ==, !=, <, <=, >, >=, in, contains, and, "
    "or, not only"
)
_WORD = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|\bcontains\b""")
"""A text, which stays as it is, or the operator that Python does not have."""
_CONSTANTS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition that was read. An attribute that a span does not have is null."""

    tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read a condition; raises `ExpressionError`."""
        if "@" in _WORD.sub("", text):
            raise ExpressionError(ALLOWED)
        # Python has no `contains`, and `@` has its place among the operators.
        plain = _WORD.sub(lambda found: found[1] or "@", text)
        tree, *_ = read_expression(
            plain, "condition", chars_max=FILTER_CHARS_MAX, terms_max=TERMS_MAX
        )
        _value(tree, {})  # every part is looked at, whatever the attributes
        return cls(tree)

    def matches(self, attributes: Mapping[str, Any]) -> bool:
        """Whether a span with these attributes fulfils it."""
        return bool(_value(self.tree, attributes))


def _value(node: ast.expr, attributes: Mapping[str, Any]) -> Any:
    """The value of a part; raises `ExpressionError` for what a condition may not have."""
    match node:
        case ast.BoolOp(op=joint, values=parts):
            found = [bool(_value(part, attributes)) for part in parts]
            return all(found) if isinstance(joint, ast.And) else any(found)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _value(part, attributes)
        case ast.BinOp(left=left, op=ast.MatMult(), right=right):
            return _contains(_value(left, attributes), _value(right, attributes))
        case ast.Compare(left=left, ops=[sign], comparators=[right]):
            return _compared(sign, _value(left, attributes), _value(right, attributes))
        case _:
            return _operand(node, attributes)


def _operand(node: ast.expr, attributes: Mapping[str, Any]) -> Any:
    match node:
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_operand(part, attributes) for part in parts]
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Subscript(value=ast.Name(id="attributes"), slice=ast.Constant(value=str(name))):
            return attributes.get(name)
        case _:
            return attributes.get(_dotted(node))


def _dotted(node: ast.expr) -> str:
    """The name of an attribute, such as `gen_ai.request.model`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=owner, attr=name):
            return f"{_dotted(owner)}.{name}"
    raise ExpressionError(ALLOWED)


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, str):
        return isinstance(part, str) and part in whole
    return isinstance(whole, list | tuple) and part in whole


def _compared(sign: ast.cmpop, left: Any, right: Any) -> bool:
    match sign:
        case ast.Eq():
            return bool(left == right)
        case ast.NotEq():
            return bool(left != right)
        case ast.In():
            return _contains(right, left)
        case ast.NotIn():
            return not _contains(right, left)
        case ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE():
            numbers = all(isinstance(side, int | float) for side in (left, right))
            texts = isinstance(left, str) and isinstance(right, str)
            return (numbers or texts) and _ORDER[type(sign)](left, right)
    raise ExpressionError(ALLOWED)
