"""What is wrong with a text as SQL of a dialect whose own grammar no library has.

sqlglot parses it. It is made to translate SQL, and so it forgives what every database refuses, and
knows some commands only by their first word; this module refuses both.
"""

# ruff: noqa: PLC0415 - sqlglot takes 35 MB, and is imported on first use

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from assay.criteria.deterministic.sql_grammars import (
    NO_STATEMENT,
    postgres_fault,
    sqlite_fault,
    too_deep,
)
from assay.domain.errors import NotApplicable

if TYPE_CHECKING:
    from sqlglot.expressions import Expr
    from sqlglot.tokenizer_core import Token

COMMA_AFTER_ANY_LIST: Final = frozenset({"clickhouse", "duckdb"})
COMMA_BEFORE_FROM: Final = frozenset({"bigquery", "clickhouse", "duckdb", "snowflake"})
FROM_FIRST: Final = frozenset({"bigquery", "clickhouse", "databricks", "duckdb", "hive", "spark"})
EMPTY_LIST: Final = {"IN": {"clickhouse"}, "VALUES": {"mysql", "doris", "starrocks"}}
"""Which dialects allow an empty list after the word."""
NO_BRACKETS: Final = frozenset({"mysql", "oracle"})

NEEDS_OPERAND: Final = frozenset({",", "GROUP BY", "ORDER BY", "ON", "SET", "SELECT", "FROM"})
ENDS: Final = frozenset({")", "]", "}", ";", "", "FROM", "WHERE", "GROUP BY", "ORDER BY", "HAVING"})

WORDS = re.compile(r"[^\W\d]\w*(?:\s+\w+)*")
WORDY_COMMAND = re.compile(
    r"(?:BEGIN|COMMIT|ROLLBACK)(?: WORK| TRAN(?:SACTION)?(?: \w+)?)?|START TRANSACTION.*"
    r"|BEGIN TRY .*|SAVEPOINT \w+|ROLLBACK TO(?: SAVEPOINT)? \w+|SET NAMES \w+|GO"
    r"|DECLARE \w+ \w+ DEFAULT .*|USE(?: WAREHOUSE| ROLE| SCHEMA| DATABASE| CATALOG)? \w+"
    r"|(?:(?:UN)?CACHE|REFRESH|OPTIMIZE|TRUNCATE|UNDROP|MSCK REPAIR|CHECK|ANALYZE) TABLE \w+.*"
    r"|(?:UN)?LOCK TABLES?\b.*|LOCKING .*|SYSTEM [A-Z]+ .*|EXEC \w+|PRAGMA \w+_\w+|KILL \d+"
    r"|(?:VACUUM|SUMMARIZE|ANALYZE)(?: \w+)?|DESC(?:RIBE)?(?: TABLE| EXTENDED| FORMATTED)* \w+"
    r"|(?:GRANT|REVOKE) (?:ROLE .+|.+ ON .+) (?:TO|FROM) .+"
    r"|SHOW (?:FULL |GLOBAL )?(?:TABLES|DATABASES|SCHEMAS|CATALOGS|COLUMNS|FUNCTIONS|VIEWS|ROLES"
    r"|PARTITIONS|GRANTS|WAREHOUSES|INDEX(?:ES)?|USERS|STATUS|VARIABLES|PROCESSLIST|SESSION|STATS)"
    r"\b.*",
    re.IGNORECASE,
)
"""Commands that consist of words alone, as prose does."""
DUCKDB_COMMAND = re.compile(r"(?:INSTALL|LOAD|DETACH) \w+", re.IGNORECASE)
EXPLAIN_OPTIONS = re.compile(
    r"\s*(?:\([^()]*\)\s*|(?:ANALYZE|VERBOSE|EXTENDED|FORMATTED|FORMAT\s*=?\s*\w+|PLAN(?:\s+FOR)?"
    r"|PIPELINE|AST|SYNTAX|QUERY\s+TREE|USING\s+\w+)\s+)*",
    re.IGNORECASE,
)
SQL_MARKS = re.compile(r"[=@`(]|'[^']*'")
"""What a command has, and prose hardly ever."""


def dialect_fault(text: str, dialect: str | None) -> str | None:
    """What is wrong with the text; None where it is one or more statements of the dialect.

    Raises `NotApplicable` where the parser gives up, and for commands that it does not know.
    """
    import sqlglot

    try:
        tokens = sqlglot.tokenize(text, dialect=dialect)
        parsed = [found for found in sqlglot.parse(text, dialect=dialect) if found is not None]
    except sqlglot.errors.SqlglotError as error:
        return str(error)
    except RecursionError:
        raise too_deep() from None
    if not parsed:
        return NO_STATEMENT
    sources = list(_sources(text, tokens))
    if len(sources) != len(parsed):  # statements within a block
        sources = [text] * len(parsed)
    statements = zip(parsed, sources, strict=True)
    faults = [_forgiven_fault(tokens, dialect)]
    faults += [_statement_fault(found, source, dialect) for found, source in statements]
    return next(filter(None, faults), None)


def _sources(text: str, tokens: Sequence[Token]) -> Iterator[str]:
    """The statements as they were written, without comments around them."""
    first: Token | None = None
    last: Token | None = None
    for token in tokens:
        if token.text != ";":
            first, last = first or token, token
        elif first and last:
            yield text[first.start : last.end + 1]
            first = None
    if first and last:
        yield text[first.start : last.end + 1]


def _forgiven_fault(tokens: Sequence[Token], dialect: str | None) -> str | None:
    """A missing operand or a trailing comma; None where there is neither."""
    words = ["'" if _is_quoted(token) else token.text.upper() for token in tokens]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word == "," and dialect in COMMA_AFTER_ANY_LIST | (
            COMMA_BEFORE_FROM if after == "FROM" else frozenset()
        ):
            continue
        is_set_quantifier = before == "SELECT" and word in ("ALL", "DISTINCT")
        if (word in NEEDS_OPERAND or is_set_quantifier) and after in ENDS:
            return f"nothing stands between {word} and {after or 'the end'}"
        if (word, after) == ("(", ")") and dialect not in EMPTY_LIST.get(before, {dialect}):
            return f"the list of {before} is empty"
        if word == "[" and dialect in NO_BRACKETS:
            return f"{dialect} has no brackets"
    return None


def _is_quoted(token: Token) -> bool:
    """Whether the token is a literal or a quoted name, and so no keyword."""
    from sqlglot.tokenizer_core import TokenType

    return token.token_type in (TokenType.STRING, TokenType.IDENTIFIER)


def _statement_fault(found: Expr, source: str, dialect: str | None) -> str | None:
    from sqlglot import exp

    words = " ".join(source.split())
    if WORDY_COMMAND.fullmatch(words) or (dialect == "duckdb" and DUCKDB_COMMAND.fullmatch(words)):
        return None
    if source[:4].upper() == "FROM" and dialect not in FROM_FIRST:
        return "a statement does not begin with FROM"
    if fault := next(_missing_parts(found), None):
        return fault
    changes = exp.DML | exp.DDL | exp.MultitableInserts | exp.Drop | exp.Alter | exp.Show
    is_known = isinstance(found, exp.Query | changes | exp.Execute) and type(found) is not exp.Copy
    # TRUNCATE without TABLE is no standard SQL.
    is_known = is_known or (isinstance(found, exp.TruncateTable) and dialect is not None)
    return None if is_known else _command_fault(found, source, dialect)


def _missing_parts(found: Expr) -> Iterator[str]:
    """What the statement lacks, though it was parsed."""
    from sqlglot import exp

    # The parser reads a single word as a column, but prose is not a query.
    if isinstance(found, exp.Condition | exp.Alias) and not isinstance(found, exp.Query):
        yield "an expression is not a statement"
    for select in found.find_all(exp.Select):
        if not select.expressions or any(_is_named_star(item) for item in select.expressions):
            yield "a SELECT has no list of columns"
    for join in found.find_all(exp.Join):
        is_conditional = join.side and not join.method and join.kind != "ARRAY"
        is_conditional = is_conditional and not isinstance(join.this, exp.Unnest | exp.Lateral)
        if is_conditional and not join.args.keys() & {"on", "using"}:
            yield f"a {join.side} JOIN has no condition"
    if isinstance(found, exp.Update) and not found.expressions:
        yield "an UPDATE sets nothing"
    if isinstance(found, exp.Insert) and not found.expression and not found.args.get("default"):
        yield "an INSERT has no rows"
    if isinstance(found, exp.Delete) and not (found.this or found.args.get("where")):
        yield "a DELETE has neither FROM nor WHERE"


def _is_named_star(item: Expr) -> bool:
    from sqlglot import exp

    return isinstance(item, exp.Alias) and isinstance(item.this, exp.Star)


def _command_fault(found: Expr, source: str, dialect: str | None) -> str | None:
    """What is wrong with a statement that is no query, and no change of data or schema."""
    from sqlglot import exp

    name = source.partition(" ")[0].upper()
    if name == "EXPLAIN":
        return dialect_fault(EXPLAIN_OPTIONS.sub("", source[len(name) :], count=1), dialect)
    is_prose = WORDS.fullmatch(source) is not None
    is_parsed = not isinstance(found, exp.Command) or None in (
        postgres_fault(source),
        sqlite_fault(source),
    )
    if is_parsed and not is_prose:
        return None
    if SQL_MARKS.search(source) and not is_prose:
        raise NotApplicable("check_error", f"the grammar of this {name} command is not known")
    return f"this is no {name} command that is known"
