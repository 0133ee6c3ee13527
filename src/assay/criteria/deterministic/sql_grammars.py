"""What is wrong with a text as SQL, by the grammar of the database itself.

PostgreSQL's comes with libpg_query, SQLite's with Python.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from assay.domain.errors import NotApplicable

NO_STATEMENT: Final = "it has no statement"
GAVE_UP = re.compile(
    r"maximum recursion|parser stack overflow|memory exhausted"
    r"|expression tree is too large|string or blob too big",
    re.IGNORECASE,
)
"""How a message begins; anywhere else it may quote the output, which may say anything."""

COMMENTS = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?(?:\*/|$))*", re.DOTALL)
EXPLAIN = re.compile(r"EXPLAIN\s+(?:QUERY\s+PLAN\s+)?", re.IGNORECASE)
MISSING = re.compile(r"unknown database (?P<database>\w+)|no such table: (?:main\.)?(?P<table>\w+)")
REFUSED_BY_SQLITE = re.compile(
    r'near ".*": syntax error|syntax error|incomplete input|unrecognized token'
    r"|unknown (?:or unsupported )?join type|(?:an? |the )?[A-Z]+(?: [A-Z]+)* (?:clause|join) ",
    re.DOTALL,
)
"""How it begins. Other messages of SQLite are about tables that a database may have."""
STATEMENT_TRIES_MAX = 4


def postgres_fault(text: str) -> str | None:
    """By PostgreSQL's own parser."""
    import pgparse  # noqa: PLC0415 - imported on first use, as all parsers

    try:
        return None if pgparse.parse(text.replace("\0", "\ufffd")) else NO_STATEMENT
    except (pgparse.PGQueryError, UnicodeEncodeError, RecursionError) as error:
        return unless_too_large(str(error))


def sqlite_fault(text: str) -> str | None:
    """By SQLite's own parser: each statement is compiled, and none is run."""
    if "\0" in text or (not text.isascii() and text.encode(errors="replace").decode() != text):
        return "it has a character that no SQL may have"
    statements = list(_sqlite_statements(text))
    faults = map(_sqlite_statement_fault, statements)
    return next(filter(None, faults), None) if statements else NO_STATEMENT


def _sqlite_statements(text: str) -> Iterator[str]:
    """The statements, where a semicolon in a string, a comment or a trigger ends none."""
    start = 0
    for end in (*(mark.end() for mark in re.finditer(";", text)), len(text)):
        if end == len(text) or sqlite3.complete_statement(text[start:end]):
            statement = COMMENTS.sub("", text[start:end], count=1)
            start = end
            if statement.strip("; \t\r\n"):
                yield EXPLAIN.sub("", statement, count=1) if EXPLAIN.match(statement) else statement


def _sqlite_statement_fault(statement: str) -> str | None:
    message = preparation = ""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        # Some pragmas act when they are compiled, and for the whole process.
        database.set_authorizer(_refuse_pragmas)
        for _ in range(STATEMENT_TRIES_MAX):
            try:
                database.execute(preparation)
                database.execute(f"EXPLAIN {statement}")
            except (sqlite3.Error, sqlite3.Warning) as error:
                message = str(error)
            else:
                return None
            # ALTER and CREATE TRIGGER look for their table before the rest is parsed.
            missing = MISSING.search(message)
            if missing is None:
                break
            name = f'"{missing["database"] or missing["table"]}"'
            is_database = missing["database"] is not None
            preparation = f"ATTACH '' AS {name}" if is_database else f"CREATE TABLE {name} (x)"
    refused = REFUSED_BY_SQLITE.match(message) or GAVE_UP.match(message)
    return unless_too_large(message) if refused else None


def _refuse_pragmas(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_PRAGMA else sqlite3.SQLITE_OK


def unless_too_large(message: str) -> str:
    """The message, unless the parser gave up: then there is no verdict, but `NotApplicable`."""
    if GAVE_UP.match(message):
        raise too_deep()
    return message


def too_deep() -> NotApplicable:
    return NotApplicable("check_error", "the output is nested too deeply to be parsed")
