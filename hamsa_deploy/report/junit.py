"""A comparison as JUnit XML, which GitLab, Jenkins and others show as tests: one for each limit, and for the layers.

testsuites > testsuite > properties > property (name, value)
                       > testcase (classname, name, time) > failure (message, type)
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Comment, Element, SubElement, indent, tostring

from hamsa_deploy.report.document import PARITY, Document, title_of
from hamsa_deploy.report.files import MARK
from hamsa_deploy.report.markup import printable
from hamsa_deploy.report.wording import allowed_text, value_text

Case = tuple[str, str, str, str]
"""Class, name, message of the failure ("" if it passed), and its body."""


def junit_from_document(document: Document) -> str:
    """The whole file. Only what hamsa-parity found has a verdict; speed has none."""
    found = document["sections"][PARITY]
    name = title_of(document)
    cases = [*_limit_cases(found), *_other_cases(found), *_layer_cases(found)]
    counts = {"tests": str(len(cases)), "failures": str(sum(bool(case[2]) for case in cases)), "errors": "0"}
    root = Element("testsuites")
    root.append(Comment(f" {MARK} "))
    written = datetime.datetime.fromisoformat(found["written"].replace(" UTC", "")).isoformat()
    names = {"name": printable(f"hamsa-parity: {name}"), "timestamp": written, "time": "0"}
    suite = SubElement(root, "testsuite", {**names, **counts, "skipped": "0"})
    properties = SubElement(suite, "properties")
    for key, value in _properties(document, found):
        SubElement(properties, "property", name=printable(key), value=printable(value))
    for case in cases:
        _add(suite, case, name)
    indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{tostring(root, encoding='unicode')}\n"


def _add(suite: Element, case: Case, bundle: str) -> None:
    group, name, message, body = map(printable, case)
    where = f"{bundle.replace('.', '_')}.{group}"
    element = SubElement(suite, "testcase", classname=printable(where), name=name, time="0")
    if message:
        SubElement(element, "failure", message=message, type="ParityError").text = body


def _limit_cases(found: Mapping[str, Any]) -> Iterator[Case]:
    for check in found["limits"]:
        name = f"{check['words']} {allowed_text(check['limit'], check['is_upper'])}"
        text = f"found {value_text(check['metric'], check['value'])}\n{_worst(found, check['output'])}"
        yield check["output"], name, check["failure"], text


def _worst(found: Mapping[str, Any], output: str) -> str:
    lines = [f"  {row['name']}: relative error {row['relative_error']:.1e}" for row in found["worst"][output]]
    return "\n".join(["worst images:", *lines, *([f"try: {found['way_out']}"] if found["way_out"] else [])])


def _other_cases(found: Mapping[str, Any]) -> Iterator[Case]:
    """What is wrong whatever the limits are; and a comparison that broke off, which checked none of them."""
    if not found["limits"]:
        yield "comparison", "outputs can be compared", *_broken_off(found)
        return
    failures = found["other_failures"]
    yield "bundle", "labels and preprocessing are those of the reference", "; ".join(failures), "\n".join(failures)


def _broken_off(found: Mapping[str, Any]) -> tuple[str, str]:
    if found["verdict"] == "passed":
        return "", ""
    message = "; ".join(found["sentences"])
    return message, f"{message}\nexpected: {found.get('expected', '')}\nlikely cause: {found.get('cause', '')}"


def _layer_cases(found: Mapping[str, Any]) -> Iterator[Case]:
    layers = found["layers"]
    if layers is None:
        return
    divergence = layers["divergence"]
    if divergence is None:
        yield "layers", "no layer leaves its band", "", ""
        return
    message = f"first divergence: {divergence['module']}, node {divergence['node']}, {divergence['source']}"
    body = f"{message}\n{divergence['stage']}: {divergence['finding']}"
    yield "layers", "no layer leaves its band", message, body


def _properties(document: Document, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if document["bundle"] is not None:
        yield "bundle", document["bundle"]["folder"]
        yield "manifest.json sha256", document["bundle"]["manifest_sha256"]
    yield "reference", found.get("compared_with") or found["reference"]
    yield "images", str(found["images"])
    yield "command", found["command"]
    yield "machine", found["machine"]
    for package, version in found["versions"].items():
        yield f"version of {package}", version
