"""JUnit XML, as systems of continuous integration read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from assay.reports.text import printable, printable_lines


@dataclass(frozen=True, slots=True)
class JUnitCase:
    """One case: what went wrong, if anything did, in a `message` and at length in `text`."""

    classname: str
    name: str
    outcome: Literal["passed", "failure", "error"]
    message: str = ""
    text: str = ""


def junit_xml(suite: str, cases: Iterable[JUnitCase], said: Iterable[str] = ()) -> str:
    """A suite of the cases; `said` are the lines of its output."""
    root = ET.Element("testsuite", name=printable(suite))
    outcomes: Counter[str] = Counter()
    for case in cases:
        outcomes[case.outcome] += 1
        names = {"classname": printable(case.classname), "name": printable(case.name)}
        element = ET.SubElement(root, "testcase", names)
        if case.outcome != "passed":
            element = ET.SubElement(element, case.outcome, message=printable(case.message))
        elif case.text:
            element = ET.SubElement(element, "system-out")
        element.text = printable_lines(case.text)
    root.attrib |= {
        "tests": str(outcomes.total()),
        "failures": str(outcomes["failure"]),
        "errors": str(outcomes["error"]),
    }
    ET.SubElement(root, "system-out").text = "\n".join(map(printable, said))
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"
