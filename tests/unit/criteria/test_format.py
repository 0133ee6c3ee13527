"""Formats by their own specifications' examples, and by hostile ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.criteria.deterministic.formats import Html, Json, Sql, Xml
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

BILLION_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(
        f'<!ENTITY lol{n} "{f"&lol{n - 1 or str()};" * 10}">'  # ten of the one before
        for n in range(1, 10)
    )
    + "]><lolz>&lol9;</lolz>"
)


def found(check, text: str):
    finding = check.check(Case(text))
    assert finding.value is (finding.score == 1)
    return finding


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a": [1, -0.5e3, null, true, "é\\u00e9"]}', True),
        ('"text"', True),
        (" 1 ", True),
        ("", False),
        ("{'a': 1}", False),
        ('{"a": 1,}', False),
        ("NaN", False),
        ("[1] trailing", False),
        ("01", False),
        ('```json\n{"a": 1}\n```', False),
        ("[" * 100_000 + "]" * 100_000, False),
        ("9" * 400, True),
        (f"[{'9' * 400},]", False),
    ],
)
def test_json_is_rfc_8259(text, valid):
    """Strictly one value, with nothing around it."""
    assert found(Json(type="json"), text).score == valid


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(st.characters(codec="utf-8")),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
        max_leaves=10,
    )
)
def test_whatever_json_writes_is_json(value):
    """Every value that the standard library writes is accepted, and its truncated text is not."""
    text = json.dumps([value])
    assert found(Json(type="json"), text).score == 1
    assert found(Json(type="json"), text[:-1]).score == 0


def test_json_may_have_to_be_an_object():
    """`root` requires the type of the top-level value."""
    assert found(Json(type="json", root="object"), "{}").score == 1
    assert found(Json(type="json", root="array"), "{}").score == 0
    assert found(Json(type="json", root="object"), "[]").score == 0


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (Json(type="json", allow_fence=True), "{}"),
        (Xml(type="xml", allow_fence=True), "<a/>"),
        (Html(type="html", allow_fence=True), "<p>x</p>"),
        (Sql(type="sql", allow_fence=True), "SELECT 1"),
    ],
)
def test_a_fence_is_accepted_where_it_is_allowed(check, text):
    """With `allow_fence` the text may be bare or in one code block, without prose around it."""
    fence = f"```{check.type}\n{text}\n```\n"
    assert found(check, text).score == 1
    assert found(check, fence).score == 1
    if check.type != "html":  # to HTML a fence is text like any other
        assert found(check.model_copy(update={"allow_fence": False}), fence).score == 0
        assert found(check, f"Here you are:\n{fence}").score == 0


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("<a/>", True),
        ('<?xml version="1.0"?>\n<a xmlns:x="u"><x:b c="d">é &amp; &#233;</x:b></a>', True),
        ('<?xml version="1.0" encoding="utf-16"?><a>é</a>', True),
        ("\ufeff<a/>", True),
        ("", False),
        ("text", False),
        ("<a>", False),
        ("<a><b></a></b>", False),
        ("<a/><b/>", False),
        ("<a b='1' b='2'/>", False),
        ("<x:a/>", False),
        ("<a>&unknown;</a>", False),
        ("<a>\ud800</a>", False),
    ],
)
def test_xml_is_well_formed_with_namespaces(text, valid):
    """As XML 1.0 and Namespaces in XML define it."""
    assert found(Xml(type="xml"), text).score == valid


@pytest.mark.parametrize(
    "text",
    [
        BILLION_LAUGHS,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        "<!DOCTYPE a><a/>",
    ],
)
def test_xml_with_a_document_type_is_refused_before_anything_expands(text):
    """No entity is expanded and nothing is read or fetched."""
    assert "document type" in found(Xml(type="xml"), text).explanation


def test_deeply_nested_xml_is_only_text():
    """Nesting uses no stack."""
    assert found(Xml(type="xml"), "<a>" * 100_000 + "</a>" * 100_000).score == 1


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("<p>Hello <b>world</b></p>", True),
        ("<!doctype html><title>t</title><p>omitted end tags are fine", True),
        (
            "<!-- note -->\n<!DOCTYPE html><html><head><title>t</title></head><body></body></html>",
            True,
        ),
        ("<ul><li>one<li>two</ul>", True),
        ("<br><img src=x><custom-element></custom-element>", True),
        ("just prose", False),
        ("<!-- only a comment -->", False),
        ("<div>", False),
        ("</p>", False),
        ("<b><i>x</b></i>", False),
        ("<a href=x href=y>z</a>", False),
        ("<p>a &amp b</p>", False),
        ("<table><p>x</p></table>", False),
        ("<html><p>no doctype</p></html>", False),
        ("<p>R&D &nope; is none</p>", False),
        ("<p>R&D costs</p>", True),
        ('<a href="?a=1&copy=2&b">x</a>', True),
        ("<template><tr><td>x</td></tr></template>", True),
        ("<select><option>a<hr><button><selectedcontent></button></select>", False),
        (
            "<select><button><selectedcontent></selectedcontent></button><option>a<hr></select>",
            True,
        ),
        ("<search><dialog open><p>x</dialog></search>", True),
        ("<svg viewBox='0 0 1 1'><path d='M0 0'/></svg>", True),
        ("<script>if (a < b && c) x()</script>", True),
        ("<p>5 < 6</p>", False),
        ("<p>&#150;</p>", False),
        ("<p>\x01</p>", False),
        ('<p a=b"c>x</p>', False),
        ("<tr><td>x</td></tr>", False),
        ("<div/>", False),
        ("<textarea>x", False),
        ("<!-- a -- b --><p>x", True),
        ("<!-- open", False),
    ],
)
def test_html_has_no_parse_error_of_the_standard(text, valid):
    """The parse errors of the HTML standard decide."""
    assert found(Html(type="html"), text).score == valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("SELECT a, count(*) FROM t WHERE b = 'x' GROUP BY a HAVING count(*) > 1", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a UNION ALL SELECT 2;", True),
        ("INSERT INTO t (a) VALUES (1); DELETE FROM t;", True),
        ("CREATE TABLE t (a INT PRIMARY KEY)", True),
        ("", False),
        ("-- only a comment", False),
        ("SELECT * FROM", False),
        ("SELEC * FROM t", False),
        ("Paris is nice", False),
        ("hello", False),
        ("'unclosed", False),
    ],
)
def test_sql_is_statements_that_parse(text, valid):
    """Prose that parses as an expression is not a statement."""
    assert found(Sql(type="sql"), text).score == valid


VALID_SQL = {
    None: ["EXPLAIN SELECT 1", "SHOW TABLES", "START TRANSACTION", "CALL p(1)", "VALUES (1)"],
    "postgres": [
        "SELECT DISTINCT ON (a) a FROM t",
        "VACUUM",
        "SELECT 1;;",
        "EXPLAIN ANALYZE SELECT 1",
    ],
    "sqlite": [
        "PRAGMA hard_heap_limit = 1",
        "ALTER TABLE t ADD COLUMN a INT",
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT ';' -- ;",
        "CREATE TABLE other.t (a INT)",
        "SELECT * FROM a JOIN b WHERE x = ? AND y = :y",
        "EXPLAIN QUERY PLAN SELECT 1",
    ],
    "mysql": [
        "SELECT `a` FROM `t` LIMIT 1, 2",
        "INSERT INTO t VALUES ()",
        "DESCRIBE t",
        "TRUNCATE t",
    ],
    "bigquery": ["SELECT a, FROM t", "SELECT * EXCEPT (a) FROM `p.d.t`"],
    "snowflake": ["SELECT $1:a.b::string, FROM t", "SHOW WAREHOUSES"],
    "tsql": ["DELETE t WHERE a = 1", "EXEC dbo.p @a = 1", "SELECT TOP 10 [a] FROM t"],
    "duckdb": ["FROM t", "SELECT f(1,)", "LOAD httpfs"],
    "hive": ["FROM t INSERT OVERWRITE TABLE s SELECT a"],
}


@pytest.mark.parametrize(
    ("dialect", "text"), [(d, t) for d, texts in VALID_SQL.items() for t in texts]
)
def test_sql_of_a_dialect_is_valid(dialect, text):
    """Commands, placeholders and the dialect's own forms."""
    assert found(Sql(type="sql", dialect=dialect), text).score == 1


@pytest.mark.parametrize(
    "dialect", [None, "postgres", "sqlite", "mysql", "oracle", "trino", "tsql"]
)
@pytest.mark.parametrize(
    "text",
    [
        "SELECT a, FROM t",
        "SELECT f(1,) FROM t",
        "SELECT a FROM t GROUP BY",
        "SELECT a FROM t GROUP BY a,",
        "SELECT a FROM t ORDER BY",
        "SELECT a FROM t WHERE",
        "SELECT a b c FROM t",
        "SELECT * t",
        "SELECT * FROM a JOIN b ON",
        "SELECT * FROM (SELECT 1",
        "SELECT CASE WHEN a THEN b FROM t",
        "SELECT 'it's' FROM t",
        "INSERT INTO t (a,) VALUES (1)",
        "INSERT INTO t",
        "UPDATE t SET",
        "UPDATE t SET WHERE a = 1",
        "CREATE TABLE t (a INT,)",
        "SELECT 1; thanks",
    ],
)
def test_sql_that_no_database_takes_is_not_valid(dialect, text):
    """A missing operand, a trailing comma, or words that are no part of a statement."""
    assert found(Sql(type="sql", dialect=dialect), text).score == 0


@pytest.mark.parametrize("dialect", [None, "postgres", "sqlite", "mysql", "snowflake", "spark"])
@pytest.mark.parametrize(
    "text",
    [
        "I cannot answer that.",
        "Describe the users table",
        "Set the value to 5",
        "Call me later!",
        "Comment on this",
        "Show me all users",
        "Explain the query",
        "Grant him access",
        "Use the force",
        "Copy that",
        "Commit to it",
        "Update the table",
        "Delete all users",
        "Drop the table",
        "Create a table for users",
        "Alter the plan",
        "Merge the branches",
        "With great power comes great responsibility",
        "Values matter",
        "Begin with this",
        "Here is the query: SELECT 1",
    ],
)
def test_prose_is_never_sql(dialect, text):
    """Not even where its first word is a command."""
    assert found(Sql(type="sql", dialect=dialect), text).score == 0


def test_sql_of_a_command_without_a_known_grammar_is_no_verdict():
    """MySQL has triggers, and no library has their grammar."""
    text = "CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1"
    with pytest.raises(NotApplicable, match="not known"):
        found(Sql(type="sql", dialect="mysql"), text)


@pytest.mark.parametrize(
    "text",
    ["ALTER TABLE t ADD COLUMN a INT,", "CREATE TABLE other.t (a,)", "CREATE INDEX i ON t (a,)"],
)
def test_sqlite_reads_a_statement_to_its_end(text):
    """Though its compiler looks for tables and databases before that."""
    assert found(Sql(type="sql", dialect="sqlite"), text).score == 0


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_no_text_breaks_a_database_grammar(text):
    """Whatever the output, SQL is valid or not."""
    for dialect in ("postgres", "sqlite"):
        assert found(Sql(type="sql", dialect=dialect), text).score in {0, 1}


@pytest.mark.parametrize(
    ("dialect", "text", "score"),
    [
        ("postgres", "recursion", 0),
        ("postgres", "maximum recursion", 0),
        ("postgres", 'SELECT 1 "memory exhausted', 0),
        ("sqlite", "parser stack overflow", 0),
        ("sqlite", "SELECT clause FROM t", 1),
        ("sqlite", "SELECT [syntax error], [too big] FROM t", 1),
        ("sqlite", "SELECT [near]() FROM [join type]", 1),
        ("sqlite", "CREATE TABLE t (a, FOREIGN KEY ([b join type]) REFERENCES u)", 1),
        ("sqlite", "SELECT * FROM a CROSS FULL JOIN b", 0),
        ("sqlite", "SELECT 1 ORDER BY 1 UNION SELECT 2", 0),
        ("sqlite", "SELECT * FROM a NATURAL JOIN b ON 1", 0),
        ("sqlite", "SELECT 1 LIMIT 1 UNION SELECT 2", 0),
    ],
)
def test_what_the_output_says_is_not_taken_for_the_words_of_the_grammar(dialect, text, score):
    """Messages of a parser quote the text; its names decide nothing."""
    assert found(Sql(type="sql", dialect=dialect), text).score == score


def test_sql_too_deep_to_be_parsed_is_no_verdict():
    """Balanced parentheses are valid SQL: where the parser gives up, there is no score of 0."""
    deep = 5_000
    for dialect, opening in ((None, "("), ("postgres", "1+("), ("sqlite", "(")):
        with pytest.raises(NotApplicable) as caught:
            found(Sql(type="sql", dialect=dialect), f"SELECT {opening * deep}1{')' * deep}")
        assert caught.value.reason == "check_error"


def test_sql_depends_on_the_dialect():
    """Back-quoted names are MySQL's, and a fault in PostgreSQL."""
    text = "SELECT `a` FROM `t`"
    assert found(Sql(type="sql", dialect="mysql"), text).score == 1
    assert found(Sql(type="sql", dialect="postgres"), text).score == 0


def test_every_dialect_we_offer_exists():
    """The parser knows every dialect in the schema."""
    names = Sql.model_json_schema()["properties"]["dialect"]["anyOf"][0]["enum"]
    assert len(names) > 10
    for name in names:
        assert found(Sql(type="sql", dialect=name), "SELECT 1").score == 1


@given(text=st.text(max_size=60))
def test_no_text_breaks_a_parser(text):
    """Whatever the output, the finding is 0 or 1."""
    for check in (Json(type="json"), Xml(type="xml"), Html(type="html")):
        assert found(check, text).score in {0, 1}
