"""JUnit XML: as the schema of Jenkins and GitLab has it, one test for each limit."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from hamsa_deploy.report.document import document_of
from hamsa_deploy.report.junit import junit_from_document
from hamsa_deploy.report.parity_section import section_from_error
from hamsa_runtime.errors import ParityError

from .comparisons import HOSTILE, PROVENANCE, STRICT, document, facts, layers, report, section

# Attributes of each element that the schema requires, and the elements in it, in order.
REQUIRED = {
    "testsuites": set(),
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname", "time"},
    "failure": {"message", "type"},
}
INSIDE = {
    "testsuites": ["testsuite"],
    "testsuite": ["properties", "testcase"],
    "properties": ["property"],
    "testcase": ["failure"],
    "property": [],
    "failure": [],
}


def parsed(text: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)  # noqa: S314  # our own text
    assert root.tag == "testsuites"
    for element in root.iter():
        assert set(element.attrib) == REQUIRED[element.tag]
        order = [INSIDE[element.tag].index(child.tag) for child in element]
        assert order == sorted(order)
    for suite in root:
        cases, failures = suite.findall("testcase"), suite.findall("testcase/failure")
        assert (int(suite.attrib["tests"]), int(suite.attrib["failures"])) == (len(cases), len(failures))
    return root


def messages(root: ElementTree.Element) -> dict[str, str | None]:
    """Name of each test -> the message of its failure, or None."""
    cases = list(root.iter("testcase"))
    found = {case.attrib["name"]: case.find("failure") for case in cases}
    assert len(found) == len(cases)
    return {name: None if each is None else each.attrib["message"] for name, each in found.items()}


def test_one_test_for_each_limit_and_one_for_the_layers() -> None:
    root = parsed(junit_from_document(document(thresholds=STRICT, layers=layers(passed=False))))
    assert messages(root) == {
        "max relative error at most 0.06": report(STRICT).failures[0],
        "cosine at least 0.99": report(STRICT).failures[1],
        "top-1 agreement at least 0.7": None,
        "labels and preprocessing are those of the reference": None,
        "no layer leaves its band": "first divergence: head, node node_b, model.py:2",
    }
    body = next(root.iter("failure")).text or ""
    assert "worst images:\n  2: relative error 1.0e+00" in body
    properties = {each.attrib["name"]: each.attrib["value"] for each in root.iter("property")}
    assert properties["manifest.json sha256"] == "0" * 64
    assert properties["version of torch"] == "2"


def test_all_is_well() -> None:
    root = parsed(junit_from_document(document(layers=layers())))
    assert set(messages(root).values()) == {None}
    assert len(messages(root)) == 5


def test_what_fails_whatever_the_limits_are() -> None:
    found = section() | {"other_failures": ["labels: in another order"], "verdict": "failed"}
    root = parsed(junit_from_document(document_of(facts(), {"parity": found})))
    assert [each for each in messages(root).values() if each] == ["labels: in another order"]


def test_a_comparison_that_broke_off_is_a_failed_test() -> None:
    error = ParityError("output 'logits': NaN", expected="finite values")
    section = {**PROVENANCE, **section_from_error(error, "int8")}
    root = parsed(junit_from_document(document_of(facts(), {"parity": section})))
    assert messages(root) == {"outputs can be compared": "output 'logits': NaN"}


def test_names_are_text_whatever_they_hold() -> None:
    found = section(thresholds=STRICT) | {"command": HOSTILE}
    for row in found["worst"]["logits"]:
        row["name"] = HOSTILE
    root = parsed(junit_from_document(document_of(facts(name=HOSTILE), {"parity": found})))
    assert "</script><img src=x onerror=alert(1)>" in (next(root.iter("failure")).text or "")
