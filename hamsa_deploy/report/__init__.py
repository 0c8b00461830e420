"""Reports for people and for machines: one HTML file per bundle, Markdown, and JUnit XML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hamsa_deploy.parity.verdict import ParityReport
from hamsa_deploy.report.document import PARITY, Document, bundle_facts, document_of
from hamsa_deploy.report.junit import junit_from_document
from hamsa_deploy.report.markdown import markdown_from_document
from hamsa_deploy.report.page import html_from_document
from hamsa_deploy.report.parity_section import section_from_report
from hamsa_deploy.report.provenance import provenance
from hamsa_runtime.bundle import open_bundle
from hamsa_runtime.errors import InputError

__all__ = ["FORMS", "html_from_document", "html_from_parity"]

# The forms of a report, by the suffix of its files: one line each.
FORMS: dict[str, Callable[[Document], str]] = {
    ".html": html_from_document,
    ".md": markdown_from_document,
    ".xml": junit_from_document,
}


def html_from_parity(report: ParityReport, data: Any = None) -> str:
    """A comparison that was made from Python, as one HTML file.

    Args:
        report: the comparison. If its bundle is still there, the report says what is in it.
        data: the images that were compared, to show the worst of them.
    """
    manifest = facts = None
    if report.bundle is not None:
        try:
            manifest, facts = open_bundle(report.bundle).manifest, bundle_facts(report.bundle)
        except InputError:
            manifest = facts = None
    labels = None if manifest is None else manifest.labels
    section = section_from_report(report, manifest=manifest, data=data, labels=labels)
    return html_from_document(document_of(facts, {PARITY: {**provenance([]), **section}}))
