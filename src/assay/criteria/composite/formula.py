"""Formulas over the results of other criteria.

The plain ones, of OpenAI's graders, have numbers, names, `+ - * / ^` and a few functions. The
others are conditions, or what a composite scores. They also compare, with `and`, `or`, `not` and
`a if b else c`, and read the fields of a result: `grounded.score >= 0.7 and not toxic.passed`.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from unicodedata import normalize

from assay.domain.expressions import ExpressionError, read_expression
from assay.domain.suggestions import did_you_mean

FORMULA_CHARS_MAX = 4_000
TERMS_MAX = 500
"""Names, numbers and operations; each is done once, and none takes longer than a float's."""
CONSTANT_MAX = 1e300
ALLOWED = "may have numbers, graders, + - * / ^ and functions only"
ALLOWED_ALSO = (
    "may have numbers, texts in quotes, criteria and their fields, + - * / ^, comparisons, "
    "and, or, not, if … else and functions only"
)

Kind = Literal["number", "truth", "text"]
"""What a term is. What is true counts as 1 and what is false as 0 where a number is wanted."""
FIELDS: Mapping[str, Kind] = {
    "score": "number",
    "passed": "truth",
    "label": "text",
    "status": "text",
    "reason": "text",
}
"""The fields of a result that a formula can read. A name alone stands for its score."""

_BINARY: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,
}
_UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
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
_QUOTED_OR_POWER = re.compile(r"""("[^"]*"|'[^']*')|\^""")

Facts = Mapping[Any, Any]
"""What is known: the number of a name, and each field of its result by (name, field)."""


class Undecided(Exception):
    """The value depends on something that the criterion `name` does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read, what it gives, and the names that it uses in their order."""

    tree: ast.expr
    kind: Kind
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, names: Collection[str], *, plain: bool = True) -> Formula:
        """Read a formula over `names`; raises `ExpressionError`."""
        return _parse(text, tuple(names), plain)

    def value(self, facts: Facts) -> float:
        """Its value, a finite number; raises `ExpressionError` or `Undecided`."""
        try:
            return float(_value(self.tree, facts))
        except ZeroDivisionError:
            raise ExpressionError("divides by zero") from None
        except (ValueError, OverflowError) as error:
            if isinstance(error, ExpressionError):
                raise
            raise ExpressionError(f"has no value: {error}") from None

    def check_varies(self) -> None:
        """Raises `ExpressionError` for a text, and a value that does not depend on any result."""
        if self.kind == "text":
            raise ExpressionError("is a text, and must be a number or a comparison")
        try:
            value = self.value({})
        except Undecided:
            return
        shown = f"{value:g}" if self.kind == "number" else str(bool(value)).lower()
        raise ExpressionError(f"is always {shown}")


@lru_cache(maxsize=1_024)
def _parse(text: str, names: tuple[str, ...], plain: bool) -> Formula:
    powers = _QUOTED_OR_POWER.sub(lambda found: found[1] or "**", text)
    tree, *inner = read_expression(
        powers, "formula", chars_max=FORMULA_CHARS_MAX, terms_max=TERMS_MAX
    )
    kind = _Kinds(names, plain).of(tree)
    used = map(_named, (tree, *inner))
    return Formula(tree, kind, tuple(dict.fromkeys(name for name in used if name in names)))


def _named(node: ast.AST) -> str | None:
    """The criterion that a term names, as `name` or as `results["any name"]`."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id="results"), slice=ast.Constant(value=str() as name)):
            return name
    return None


@dataclass(frozen=True, slots=True)
class _Kinds:
    """Finds out what terms are; raises `ExpressionError` for what a formula may not have."""

    names: tuple[str, ...]
    plain: bool

    def of(self, node: ast.expr) -> Kind:
        kind = self._of_arithmetic(node)
        if kind is None and not self.plain:
            kind = self._of_logic(node)
        if kind is None:
            raise ExpressionError(ALLOWED if self.plain else ALLOWED_ALSO)
        return kind

    def _of_arithmetic(self, node: ast.expr) -> Kind | None:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not abs(value) <= CONSTANT_MAX:
                    raise ExpressionError("has a number that is too large")
                return "number"
            case ast.Name(id=name):
                return self._of_field(name, "score")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self._all("number", operand)
            case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
                return self._all("number", left, right)
            case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in _FUNCTIONS:
                if not 1 <= len(given) <= _FUNCTIONS[name][1]:
                    raise ExpressionError(f"gives {name} {len(given)} arguments")
                return self._all("number", *given)
        return None

    def _of_logic(self, node: ast.expr) -> Kind | None:
        kind: Kind | None = None
        match node:
            case ast.Constant(value=bool() | str() as value):
                kind = "truth" if isinstance(value, bool) else "text"
            case ast.Subscript() if name := _named(node):
                kind = self._of_field(name, "score")
            case ast.Attribute(value=owner, attr=field) if name := _named(owner):
                kind = self._of_field(name, field)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                kind = self._all("truth", operand)
            case ast.BoolOp(values=values):
                kind = self._all("truth", *values)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._all("truth", test)
                kind = self._alike(body, orelse)
            case ast.Compare(left=left, ops=ops, comparators=others):
                kind = self._of_comparison(ops, [left, *others])
        return kind

    def _of_field(self, name: str, field: str) -> Kind:
        if name not in self.names:
            what, hint = ("grader", "") if self.plain else ("criterion", self._hint(name))
            raise ExpressionError(f"uses {name[:100]}, which is no {what}{hint}")
        if field not in FIELDS:
            known = ", ".join(FIELDS)
            raise ExpressionError(f"uses {name[:100]}.{field[:100]}; a result has {known}")
        return FIELDS[field]

    def _hint(self, name: str) -> str:
        """Names like `my-name`, which is a subtraction, and those that are not NFKC need quotes."""
        quoted = (
            known
            for known in self.names
            if (name in known and not known.isidentifier()) or normalize("NFKC", known) == name
        )
        unusual = next(quoted, None)
        if unusual is not None:
            return f"; did you mean results[{unusual!r}]?"
        return did_you_mean(name, self.names)

    def _all(self, kind: Kind, *nodes: ast.expr) -> Kind:
        for node in nodes:
            found = self.of(node)
            if found != kind and (found, kind) != ("truth", "number"):
                wanted = {"number": "a number", "truth": "a comparison"}[kind]
                raise ExpressionError(f"has a {found} where {wanted} belongs")
        return kind

    def _alike(self, *nodes: ast.expr) -> Kind:
        kinds = {self.of(node) for node in nodes}
        if len(kinds) > 1 and "text" in kinds:
            raise ExpressionError("has a text beside a number")
        return "number" if len(kinds) > 1 else kinds.pop()

    def _of_comparison(self, ops: list[ast.cmpop], nodes: list[ast.expr]) -> Kind:
        if not all(type(sign) in _COMPARE for sign in ops):
            raise ExpressionError(ALLOWED_ALSO)
        kind = self._alike(*nodes)
        if kind == "text" and not all(isinstance(sign, ast.Eq | ast.NotEq) for sign in ops):
            raise ExpressionError("can compare texts by == and != alone")
        return "truth"


def _value(node: Any, facts: Facts) -> Any:
    """The value of a term; raises `Undecided` where it depends on what is not known."""
    return _VALUES[type(node)](node, facts)


def _constant(node: Any, _facts: Facts) -> Any:
    return node.value if isinstance(node.value, bool | str) else float(node.value)


def _named_value(node: Any, facts: Facts) -> Any:
    of_field = isinstance(node, ast.Attribute)
    name = _named(node.value if of_field else node) or ""
    try:
        return facts[(name, node.attr) if of_field else name]
    except KeyError:
        raise Undecided(name) from None


def _arithmetic(node: Any, facts: Facts) -> float:
    value = _BINARY[type(node.op)](_value(node.left, facts), _value(node.right, facts))
    if not math.isfinite(value):
        raise ExpressionError("has no finite value")
    return value


def _compared(node: Any, facts: Facts) -> bool:
    values = [_value(one, facts) for one in (node.left, *node.comparators)]
    pairs = zip(node.ops, values, values[1:], strict=False)
    return all(_COMPARE[type(sign)](one, other) for sign, one, other in pairs)


def _joined(node: Any, facts: Facts) -> bool:
    """`and` or `or`: one decisive term decides, even where another one has no value."""
    decisive = isinstance(node.op, ast.Or)
    undecided: Undecided | None = None
    for term in node.values:
        try:
            if bool(_value(term, facts)) is decisive:
                return decisive
        except Undecided as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return not decisive


_VALUES: Mapping[type[ast.expr], Callable[[Any, Facts], Any]] = {
    ast.Constant: _constant,
    **dict.fromkeys((ast.Name, ast.Subscript, ast.Attribute), _named_value),
    ast.UnaryOp: lambda node, facts: _UNARY[type(node.op)](_value(node.operand, facts)),
    ast.BinOp: _arithmetic,
    ast.BoolOp: _joined,
    ast.IfExp: lambda node, facts: _value(
        node.body if _value(node.test, facts) else node.orelse, facts
    ),
    ast.Compare: _compared,
    ast.Call: lambda node, facts: _FUNCTIONS[node.func.id][0](
        *[_value(argument, facts) for argument in node.args]
    ),
}
