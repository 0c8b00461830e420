"""The forms of a report, each with the suffix of its files: one line each."""

from __future__ import annotations

from collections.abc import Callable

from hamsa_deploy.report.document import Document
from hamsa_deploy.report.junit import junit_from_document
from hamsa_deploy.report.markdown import markdown_from_document
from hamsa_deploy.report.page import html_from_document

FORMS: dict[str, Callable[[Document], str]] = {
    ".html": html_from_document,
    ".md": markdown_from_document,
    ".xml": junit_from_document,
}
