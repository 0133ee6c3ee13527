"""Whether the output is well formed: JSON, XML, HTML, SQL.

Each check takes the whole output; `allow_fence` also accepts it inside of one Markdown code
block, as chat models like to write it. The score is 1 or 0, `value` says the same.
"""

# ruff: noqa: PLC0415 - parsers that few requests need are imported on first use

from __future__ import annotations

import io
import re
from abc import abstractmethod
from typing import ClassVar, Literal
from xml.sax import SAXException, handler, xmlreader

import orjson
from pydantic import Field

from assay.criteria.base import Check, Finding
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

FAULTS_SHOWN_MAX = 5
MESSAGE_CHARS_MAX = 200
FENCE = "```"
FENCE_OPENED = re.compile(r"```[\w+-]{0,32}\s*")
DOCUMENT = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype|html)\b", re.DOTALL | re.IGNORECASE)


class _Format(Check):
    """A text that parses, or does not."""

    family: ClassVar[str] = "format"
    scale: ClassVar[str] = "0 or 1"

    allow_fence: bool = Field(default=False, description="Accept the text in a ``` block.")

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        fault = self.fault(_unfenced(text) if self.allow_fence else text)
        if fault is None:
            return Finding(1.0, value=True, explanation=f"valid {self.type}")
        return Finding(0.0, value=False, explanation=f"not valid {self.type}: {_cut(fault)}")

    @abstractmethod
    def fault(self, text: str) -> str | None:
        """What is wrong with the text; None where nothing is."""


@criterion
class Json(_Format):
    """1 where the output is a single JSON value, else 0.

    Strict: no comments, trailing commas, NaN or text around it; nested at most 1,024 deep.
    `root` asks for an object or an array. Source: RFC 8259.
    """

    example: ClassVar = {"output": '{"city": "Paris"}', "criteria": [{"type": "json"}]}
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_chars_max: ClassVar[int] = 100_000

    type: Literal["json"]
    root: Literal["any", "object", "array"] = "any"

    def fault(self, text: str) -> str | None:
        try:
            value = orjson.loads(text)
        except ValueError as error:
            return str(error)
        wanted = {"any": object, "object": dict, "array": list}[self.root]
        return None if isinstance(value, wanted) else f"its root is not an {self.root}"


@criterion
class Xml(_Format):
    """1 where the output is a well-formed XML document with well-formed namespaces, else 0.

    Nothing is expanded or fetched: a document type declaration is a fault, whatever it declares.
    An encoding declaration is ignored, the text is Unicode already. Source: XML 1.0 (Fifth
    Edition); Namespaces in XML 1.0.
    """

    inline_chars_max: ClassVar[int] = 10_000
    example: ClassVar = {
        "output": "<note><to>Ada</to><body>Hello</note>",
        "criteria": [{"type": "xml"}],
    }
    example_result: ClassVar = {"score": 0.0, "passed": False}

    type: Literal["xml"]

    def fault(self, text: str) -> str | None:
        from defusedxml.common import DefusedXmlException
        from defusedxml.expatreader import DefusedExpatParser

        parser = DefusedExpatParser(forbid_dtd=True)
        parser.setFeature(handler.feature_namespaces, True)
        source = xmlreader.InputSource()
        source.setCharacterStream(io.StringIO(text.lstrip("\ufeff")))
        try:
            parser.parse(source)
        except DefusedXmlException:
            return "a document type declaration is not accepted"
        except (SAXException, ValueError) as error:
            return str(error)
        return None


@criterion
class Html(_Format):
    """1 where the output is HTML with at least one element and no parse error, else 0.

    A text that begins with a doctype or `<html>` is read as a document, any other as content of
    a body. Parse errors are those of the HTML standard: elements left open or closed twice,
    stray end tags, duplicate attributes, bad character references; closing tags that the
    standard lets authors omit are no error. Unknown elements and attributes are not looked at.
    Source: https://html.spec.whatwg.org/multipage/parsing.html#parse-errors, by html5lib.
    """

    example: ClassVar = {
        "output": "<p>Hello <b>world</b></p>",
        "criteria": [{"type": "html"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_chars_max: ClassVar[int] = 0  # a millisecond for each 1,000 characters

    type: Literal["html"]

    def fault(self, text: str) -> str | None:
        import html5lib

        parser = html5lib.HTMLParser(namespaceHTMLElements=False)
        tree = parser.parse(text) if DOCUMENT.match(text) else parser.parseFragment(text)
        if parser.errors:
            shown = [
                f"{code} at line {line}, column {column}"
                for (line, column), code, _ in parser.errors[:FAULTS_SHOWN_MAX]
            ]
            return "; ".join(shown)
        # Comments are children too; their tag is a function.
        return None if any(isinstance(each.tag, str) for each in tree) else "it has no element"


@criterion
class Sql(_Format):
    """1 where the output is one or more SQL statements that parse, else 0.

    `dialect` decides the grammar; without one it is generic SQL. Only syntax is looked at: no
    table needs to exist. Of commands that are the database's own (EXPLAIN, VACUUM …) only the
    first word is checked. Parsed by sqlglot, https://sqlglot.com.
    """

    example: ClassVar = {
        "output": "SELECT name FROM users WHERE id = $1",
        "criteria": [{"type": "sql", "dialect": "postgres"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_chars_max: ClassVar[int] = 0  # pure Python, and 35 MB that the service need not hold

    type: Literal["sql"]
    dialect: (
        Literal[
            "athena",
            "bigquery",
            "clickhouse",
            "databricks",
            "doris",
            "duckdb",
            "hive",
            "mysql",
            "oracle",
            "postgres",
            "presto",
            "redshift",
            "snowflake",
            "spark",
            "sqlite",
            "starrocks",
            "teradata",
            "trino",
            "tsql",
        ]
        | None
    ) = Field(default=None, description="The database; absent: generic SQL.")

    def fault(self, text: str) -> str | None:
        import sqlglot
        from sqlglot import expressions

        try:
            statements = [each for each in sqlglot.parse(text, dialect=self.dialect) if each]
        except sqlglot.errors.SqlglotError as error:
            return str(error)
        except RecursionError:
            # Whether it parses is not known then: no verdict may be made of it.
            raise NotApplicable(
                "check_error", "the output is nested too deeply to be parsed"
            ) from None
        if not statements:
            return "it has no statement"
        # The parser takes a lone word for a column: prose must not count as a query.
        lone = (expressions.Condition, expressions.Alias)
        if any(isinstance(each, lone) for each in statements):
            return "an expression is not a statement"
        return None


def _unfenced(text: str) -> str:
    opening, newline, rest = text.strip().partition("\n")
    if newline and rest.endswith(FENCE) and FENCE_OPENED.fullmatch(opening):
        return rest.removesuffix(FENCE)
    return text


def _cut(fault: str) -> str:
    # Parsers underline the fault with terminal colours.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", fault)
    return plain if len(plain) <= MESSAGE_CHARS_MAX else plain[:MESSAGE_CHARS_MAX] + "…"
