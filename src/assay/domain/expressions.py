"""Reads what formulas and conditions are written in: an expression of Python's, never run as such.

Who reads one says which of its parts may occur, and what they mean.
"""

from __future__ import annotations

import ast
import warnings

DEPTH_MAX = 128
"""Of terms inside terms; a sum of as many terms is as deep."""


class ExpressionError(ValueError):
    """The formula or condition cannot be read, or has no value."""


def read_expression(text: str, what: str, *, chars_max: int, terms_max: int) -> list[ast.expr]:
    """All terms of the expression, the whole one first; raises `ExpressionError`.

    `what` it should be is named where it is no expression.
    """
    if len(text) > chars_max:
        raise ExpressionError(f"must have at most {chars_max} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the text
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ExpressionError(f"is not a {what}") from None
    terms: list[ast.expr] = []
    level: list[ast.AST] = [tree]
    for _ in range(DEPTH_MAX):
        terms += (node for node in level if isinstance(node, ast.expr))
        if len(terms) > terms_max:
            raise ExpressionError(f"must have at most {terms_max} terms")
        level = [inner for node in level for inner in ast.iter_child_nodes(node)]
        if not level:
            return terms
    raise ExpressionError(f"must not be nested deeper than {DEPTH_MAX} terms")
