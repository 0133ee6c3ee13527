"""Whether the output is well formed: JSON, XML, HTML, SQL.

Each check reads the whole output; with `allow_fence` the output may also be one Markdown code
block, as chat models often write. The score is 1 or 0, and `value` is the same as a boolean.
"""

# ruff: noqa: PLC0415 - parsers that few requests need are imported on first use

from __future__ import annotations

import io
import json
import re
from abc import abstractmethod
from itertools import islice
from typing import Any, ClassVar, Literal
from xml.sax import SAXException, handler, xmlreader

import orjson
from pydantic import Field

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding, shortened
from assay.criteria.deterministic.normalization import without_fence
from assay.criteria.deterministic.sql_dialects import dialect_fault
from assay.criteria.deterministic.sql_grammars import postgres_fault, sqlite_fault
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

FAULTS_SHOWN_MAX = 5
TAG_IN_ERROR = re.compile(
    r"Tag\(?.*?kind: (\w+), name: Atom\(\W*(.*?)\W* .*(?= in insertion)", re.DOTALL
)
"""A tag as html5ever prints it in a parse error."""
TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
DOCUMENT = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype|html)\b", re.DOTALL | re.IGNORECASE)


class _FormatCheck(Check):
    """1 where the output parses, else 0."""

    family: ClassVar[str] = "format"
    scale: ClassVar[str] = "0 or 1"

    valid: ClassVar[str]
    """The smallest valid text."""

    allow_fence: bool = Field(default=False, description="Accept the text in a ``` block.")

    def load(self) -> None:
        self.fault(self.valid)

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
    inline_work_max: ClassVar[int] = 100_000

    valid: ClassVar[str] = "1"

    type: Literal["json"]
    root: Literal["any", "object", "array"] = "any"

    def fault(self, text: str) -> str | None:
        try:
            value = _json_value(text)
        except ValueError as error:
            return str(error)
        root_type = {"any": object, "object": dict, "array": list}[self.root]
        return None if isinstance(value, root_type) else f"its root is not an {self.root}"


def _json_value(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        if "infinity" not in str(error):
            raise
    return json.loads(text, parse_int=float)  # a number may be of any size


@criterion
class Xml(_FormatCheck):
    """1 where the output is a well-formed XML document with well-formed namespaces, else 0.

    No entity is expanded and nothing is fetched: any document type declaration is a fault. An
    encoding declaration is ignored, because the text is already Unicode. Source: XML 1.0 (Fifth
    Edition); Namespaces in XML 1.0.
    """

    inline_work_max: ClassVar[int] = 5_000
    example: ClassVar = {
        "output": "<note><to>Ada</to><body>Hello</note>",
        "criteria": [{"type": "xml"}],
    }
    example_result: ClassVar = {"score": 0.0, "passed": False}

    valid: ClassVar[str] = "<a/>"

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
    Source: https://html.spec.whatwg.org/multipage/parsing.html#parse-errors, by html5ever.
    """

    example: ClassVar = {
        "output": "<p>Hello <b>world</b></p>",
        "criteria": [{"type": "html"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_work_max: ClassVar[int] = 0  # quadratic in the depth of nesting: 0.5 s at 10,000

    valid: ClassVar[str] = "<p>"

    type: Literal["html"]

    def fault(self, text: str) -> str | None:
        import markupever

        is_document = DOCUMENT.match(text) is not None
        options = markupever.HtmlOptions(
            full_document=is_document,
            fragment_context=None if is_document else "body",
            exact_errors=True,
        )
        parser = markupever.Parser(options)
        parser.process(text)
        parser.finish()
        faults = list(islice(parser.errors(), FAULTS_SHOWN_MAX))
        if faults:
            return "; ".join(TAG_IN_ERROR.sub(r"\1 <\2>", fault) for fault in faults)
        children = parser.into_dom().root().children()
        has_element = any(isinstance(child, markupever.dom.Element) for child in children)
        return None if has_element else "it has no element"


@criterion
class Sql(_FormatCheck):
    """1 where the output is one or more SQL statements that parse, else 0.

    `dialect` selects the grammar; without it, that is generic SQL. Only the syntax is checked: no
    table needs to exist. `postgres` is checked by PostgreSQL's own parser (libpg_query), `sqlite`
    by SQLite's, and the others by sqlglot, https://sqlglot.com, with refusals of what it forgives.
    Of those, a command of the database (CREATE TRIGGER …) whose grammar is not known is unscored.
    """

    example: ClassVar = {
        "output": "SELECT name FROM users WHERE id = $1",
        "criteria": [{"type": "sql", "dialect": "postgres"}],
    }
    example_result: ClassVar = {"score": 1.0, "passed": True}
    inline_work_max: ClassVar[int] = 0  # pure Python, and 35 MB that the service need not hold

    valid: ClassVar[str] = "SELECT 1"

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
        if self.dialect == "postgres":
            return postgres_fault(text)
        return sqlite_fault(text) if self.dialect == "sqlite" else dialect_fault(text, self.dialect)
