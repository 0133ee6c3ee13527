"""Formulas over the scores of graders: numbers, names, `+ - * / ^` and a few functions."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

FORMULA_CHARS_MAX = 4_000
TERMS_MAX = 500
"""Names, numbers and operations; each is done once, and none takes longer than a float's."""
CONSTANT_MAX = 1e300
ALLOWED = "may have numbers, graders, + - * / ^ and functions only"

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[float], float]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: Mapping[str, tuple[Callable[..., float], int]] = {
    "min": (lambda *numbers: min(numbers), TERMS_MAX),
    "max": (lambda *numbers: max(numbers), TERMS_MAX),
    "abs": (abs, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "exp": (math.exp, 1),
    "sqrt": (math.sqrt, 1),
    "log": (math.log, 1),
}
"""Each with the most arguments that it takes."""


class FormulaError(ValueError):
    """The formula cannot be read, or has no value."""


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read."""

    tree: ast.expr

    @classmethod
    def parse(cls, text: str, names: Collection[str]) -> Formula:
        """Read a formula over `names`; raises `FormulaError`."""
        if len(text) > FORMULA_CHARS_MAX:
            raise FormulaError(f"must have at most {FORMULA_CHARS_MAX} characters")
        try:
            tree = ast.parse(text.replace("^", "**").strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise FormulaError("is not a formula") from None
        if sum(isinstance(node, ast.expr) for node in ast.walk(tree)) > TERMS_MAX:
            raise FormulaError(f"must have at most {TERMS_MAX} terms")
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if id(node) not in called:
                _check(node, names)
        return cls(tree)

    def value(self, scores: Mapping[str, float]) -> float:
        """Its value, a finite number; raises `FormulaError`."""
        try:
            value = float(_value(self.tree, scores))
        except ZeroDivisionError:
            raise FormulaError("divides by zero") from None
        except (ValueError, OverflowError) as error:
            raise FormulaError(f"has no value: {error}") from None
        if not math.isfinite(value):
            raise FormulaError("has no finite value")
        return value


def _check(node: ast.AST, names: Collection[str]) -> None:
    """Raises `FormulaError` for what a formula may not have."""
    match node:
        case ast.Name(id=name) if name not in names:
            raise FormulaError(f"uses {name[:100]}, which is no grader")
        case ast.Name() | ast.expr_context() | ast.BinOp() | ast.UnaryOp():
            pass
        case ast.Constant(value=bool()):
            raise FormulaError(ALLOWED)
        case ast.Constant(value=int() | float() as value):
            if not abs(value) <= CONSTANT_MAX:
                raise FormulaError("has a number that is too large")
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            if not 1 <= len(arguments) <= _FUNCTIONS[name][1]:
                raise FormulaError(f"gives {name} {len(arguments)} arguments")
        case ast.operator() | ast.unaryop() if type(node) in {*_BINARY, *_UNARY}:
            pass
        case _:
            raise FormulaError(ALLOWED)


def _value(node: Any, scores: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Name(id=name):
            return float(scores[name])
        case ast.UnaryOp(op=sign, operand=operand):
            return _UNARY[type(sign)](_value(operand, scores))
        case ast.BinOp(left=left, op=sign, right=right):
            return _BINARY[type(sign)](_value(left, scores), _value(right, scores))
        case _:
            function, _most = _FUNCTIONS[node.func.id]
            return function(*(_value(argument, scores) for argument in node.args))
