"""Whether the output is well formed: JSON, XML, HTML, SQL.

Each check reads the whole output; with `allow_fence` the output may also be one Markdown code
block, as chat models often write. The score is 1 or 0, and `value` is the same as a boolean.
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
from assay.criteria.deterministic.findings import binary_finding, shortened
from assay.criteria.deterministic.normalization import without_fence
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

FAULTS_SHOWN_MAX = 5
TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DOCUMENT = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype|html)\b", re.DOTALL | re.IGNORECASE)


class _FormatCheck(Check):
    """1 where the output parses, else 0."""

    family: ClassVar[str] = "format"
    scale: ClassVar[str] = "0 or 1"

    allow_fence: bool = Field(default=False, description="Accept the text in a ``` block.")

    def check(self, case: Case) -> Finding:
        text = output_text(case)
        fault = self.fault(without_fence(text) if self.allow_fence else text)
        if fault is None:
            return binary_finding(True, f"valid {self.type}")
        # sqlglot underlines the fault with terminal colours.
        plain = TERMINAL_COLOUR.sub("", fault)
        return binary_finding(False, f"not valid {self.type}: {shortened(plain)}")

    @abstractmethod
    def fault(self, text: str) -> str | None:
        """What is wrong with the text; None where it is well formed."""


@criterion
class Json(_FormatCheck):
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
        root_type = {"any": object, "object": dict, "array": list}[self.root]
        return None if isinstance(value, root_type) else f"its root is not an {self.root}"


@criterion
class Xml(_FormatCheck):
    """1 where the output is a well-formed XML document with well-formed namespaces, else 0.

    No entity is expanded and nothing is fetched: any document type declaration is a fault. An
    encoding declaration is ignored, because the text is already Unicode. Source: XML 1.0 (Fifth
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
class Html(_FormatCheck):
    """1 where the output is HTML with at least one element and no parse error, else 0.

    A text that begins with a doctype or `<html>` is parsed as a document, any other as content
    of a body. Parse errors are those of the HTML standard: elements left open or closed twice,
    stray end tags, duplicate attributes, bad character references. Omitting a closing tag that
    the standard makes optional is no error. Unknown elements and attributes are accepted.
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
            return "; ".join(
                f"{code} at line {line}, column {column}"
                for (line, column), code, _ in parser.errors[:FAULTS_SHOWN_MAX]
            )
        # Comments are children too; their tag is a function.
        has_element = any(isinstance(child.tag, str) for child in tree)
        return None if has_element else "it has no element"


@criterion
class Sql(_FormatCheck):
    """1 where the output is one or more SQL statements that parse, else 0.

    `dialect` selects the grammar; without it, that is generic SQL. Only the syntax is checked: no
    table needs to exist. Of a database's own commands (EXPLAIN, VACUUM …) only the first word is
    checked. Parsed by sqlglot, https://sqlglot.com.
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
            parsed = sqlglot.parse(text, dialect=self.dialect)
        except sqlglot.errors.SqlglotError as error:
            return str(error)
        except RecursionError:
            # The text may still be valid SQL, so this is no verdict.
            raise NotApplicable(
                "check_error", "the output is nested too deeply to be parsed"
            ) from None
        statements = [statement for statement in parsed if statement is not None]
        if not statements:
            return "it has no statement"
        # The parser reads a single word as a column, but prose is not a query.
        expression = (expressions.Condition, expressions.Alias)
        if any(isinstance(statement, expression) for statement in statements):
            return "an expression is not a statement"
        return None
